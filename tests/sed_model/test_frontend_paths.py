"""The ways to a log-mel - compiled loops, library calls, a graph - give the same values, of each clip alone."""

import copy
import pickle

import pytest
import torch
from torch import Tensor

from sed_model.config.sed_config import FrontEnd
from sed_model.model.frontend import InputImages, LogMel

SETTINGS = FrontEnd(sample_rate_hz=16_000, n_fft=512, hop_length=256, n_mels=40, f_min_hz=100, f_max_hz=8_000)
PATHS = ["forward", "by_torchaudio"]


def clips(n_clips: int = 6, n_samples: int = 16_000) -> Tensor:
    """Sweeps in noise, each ten times as loud as the one before."""
    generator = torch.Generator().manual_seed(0)
    time_s = torch.arange(n_samples) / 16_000
    sweep = torch.sin(9_000 * time_s**2) + 0.1 * torch.randn(n_clips, n_samples, generator=generator)
    return sweep * 10.0 ** torch.arange(1 - n_clips, 1)[:, None]


def test_both_paths_agree() -> None:
    mel = LogMel(SETTINGS)
    torch.testing.assert_close(mel(clips()), mel.by_torchaudio(clips()), rtol=0, atol=1e-5)


def test_both_paths_agree_on_both_resolutions() -> None:
    short = LogMel(SETTINGS, short=True)
    for n_samples in (16_000, 15_999, 16_128):  # an even and an odd number of half hops
        part = clips(n_samples=n_samples)
        torch.testing.assert_close(short(part), short.by_torchaudio(part), rtol=0, atol=1e-5)
    assert InputImages(SETTINGS, multi_resolution=True)(clips()).shape == (6, 2, 40, 63)


@pytest.mark.parametrize("path", PATHS)
def test_a_clip_does_not_depend_on_its_batch(path: str) -> None:  # fault 3
    log_mel = getattr(LogMel(SETTINGS), path)
    batch = log_mel(clips())
    for number, alone in enumerate(clips().split(1)):
        torch.testing.assert_close(batch[number], log_mel(alone)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_int16_is_full_scale_32768(path: str) -> None:
    log_mel = getattr(LogMel(SETTINGS), path)
    samples = (clips() * 2e4).to(torch.int16)
    torch.testing.assert_close(log_mel(samples), log_mel(samples / 32_768), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_are_read_as_float32(dtype: torch.dtype) -> None:
    mel = LogMel(SETTINGS)
    assert torch.equal(mel(clips().to(dtype)), mel(clips().to(dtype).float()))


def test_any_layout_will_do() -> None:
    mel = LogMel(SETTINGS)
    assert torch.equal(mel(clips().T.contiguous().T), mel(clips()))
    assert torch.equal(mel(clips().requires_grad_()), mel(clips()))
    assert mel(clips()[:0]).shape == (0, 40, 63)


def test_threads_change_nothing() -> None:
    mel, n_threads = LogMel(SETTINGS), torch.get_num_threads()
    one = mel(clips())
    try:
        torch.set_num_threads(2)
        assert torch.equal(mel(clips()), one)
    finally:
        torch.set_num_threads(n_threads)


@pytest.mark.parametrize("path", PATHS)
def test_a_clip_that_is_not_finite_stays_so_and_alone(path: str) -> None:
    samples = clips(2)
    samples[0, 100] = torch.nan
    out = getattr(LogMel(SETTINGS), path)(samples)
    assert out[0].isnan().any()
    assert out[1].isfinite().all()


def test_copies_and_pickles_work_after_use() -> None:
    mel = LogMel(SETTINGS)
    wanted = mel(clips())
    assert torch.equal(copy.deepcopy(mel)(clips()), wanted)
    assert torch.equal(pickle.loads(pickle.dumps(mel))(clips()), wanted)  # noqa: S301 (made here)
    assert not mel.state_dict()


def test_it_can_be_exported() -> None:
    mel = LogMel(SETTINGS)
    program = torch.export.export(mel, (clips(2),), strict=False)
    other = clips(3)[1:].flip(0)  # than the samples of the export
    torch.testing.assert_close(program.module()(other), mel(other), rtol=0, atol=1e-5)
