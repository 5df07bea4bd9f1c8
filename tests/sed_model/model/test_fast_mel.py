"""The fast log-mel has the values of the torchaudio one."""

from typing import Any

import numpy as np
import pytest
import torch
from numba import njit

from sed_model.config.sed_config import FrontEnd
from sed_model.model.fast_mel import FastMel, scale_power
from sed_model.model.frontend import LogMel
from sed_model.model.mel_kernels import compiled

RATE_HZ = 32_000
FRONT_ENDS = [
    FrontEnd(),
    FrontEnd(n_fft=1024, hop_length=320, n_mels=64, f_min_hz=50, f_max_hz=14_000, top_db=100),
    FrontEnd(sample_rate_hz=16_000, n_fft=1000, hop_length=250, n_mels=40, f_max_hz=8000),
]


def clip(n_samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time_s = np.arange(n_samples) / RATE_HZ
    return (0.2 * np.sin(9000 * time_s**2) + 0.01 * rng.standard_normal(n_samples)).astype(np.float32)


@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=lambda f: f"n_fft={f.n_fft}")
@pytest.mark.parametrize("n_samples", [5000, 32_000, 50_001])
def test_equal_to_torchaudio(front_end: FrontEnd, n_samples: int) -> None:
    waveform = clip(n_samples)
    wanted = LogMel(front_end).by_torchaudio(torch.from_numpy(waveform)[None])[0].numpy()
    np.testing.assert_allclose(FastMel(front_end).log_mel(waveform), wanted, atol=2e-5)


def test_scale_is_relative_to_the_loudest_point() -> None:
    power = np.array([[1.0, 0.1], [1e-4, 1e-12]], np.float32)  # 0, -10 dB; -40, -120 dB
    np.testing.assert_allclose(scale_power(power, 80.0), [[1, 0.5], [0.875, 0]], atol=1e-6)


@pytest.mark.parametrize("ratio", [0.8, 0.97, 1.1, 1.26])
def test_a_pitch_ratio_moves_a_tone_and_keeps_its_power(ratio: float) -> None:
    tone = np.sin(2 * np.pi * 3000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    moved = np.sin(2 * np.pi * 3000 * ratio * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    mel = FastMel(FrontEnd())
    got, wanted = mel.mel_power(tone, pitch_ratio=ratio)[10:-10], mel.mel_power(moved)[10:-10]
    assert abs(int(got.mean(axis=0).argmax()) - int(wanted.mean(axis=0).argmax())) <= 1
    assert got.sum() == pytest.approx(float(wanted.sum()), rel=0.08)  # a third of a dB


def test_a_rate_moves_events_in_time() -> None:
    clicks = np.zeros(4 * RATE_HZ, np.float32)
    clicks[RATE_HZ] = 1  # at 1 s, frame 62.5
    mel = FastMel(FrontEnd())
    level = mel.mel_power(clicks, rate=0.5).sum(axis=1)
    assert int(level.argmax()) == pytest.approx(125, abs=1)
    assert len(level) == 1 + len(clicks) // 512


def test_what_lies_after_the_end_of_a_faster_clip_is_silent() -> None:
    level = FastMel(FrontEnd()).mel_power(clip(4 * RATE_HZ), rate=2.0).sum(axis=1)
    assert (level[:125] > 0).all()
    assert not level[126:].any()


def test_loops_are_compiled_where_nothing_can_be_kept() -> None:
    """A function without a file has no place for its cache either, as one in a folder that cannot be written."""
    names: dict[str, Any] = {}
    exec("def double(x):\n    return 2 * x", names)  # noqa: S102
    with pytest.raises(RuntimeError, match="no locator available"):
        njit(cache=True)(names["double"])
    assert compiled(nogil=True)(names["double"])(21) == 42
