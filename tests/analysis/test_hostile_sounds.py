"""Front ends and recordings that cannot be drawn or played."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from analysis.windows import LIMITS, Clip, FrontEnd, front_end_of, log_mel, read_clip
from tests.analysis.conftest import FRONT_END
from tests.hostile import NO_FILES, in_time

NUMBERS = [None, "x", [1], {}, math.nan, math.inf, -1, 1e12, 10**400]


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: str(value)[:8])
@pytest.mark.parametrize("name", LIMITS)
def test_a_front_end_beyond_its_limits_draws_nothing(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"front_end.*{name}"):
        front_end_of({"front_end": FRONT_END | {name: value}})


@pytest.mark.parametrize("section", [None, [], "x", 3])
def test_a_front_end_that_is_no_mapping_draws_nothing(section: Any) -> None:
    with pytest.raises(ValueError, match="no front_end"):
        front_end_of({"front_end": section})


def test_a_band_above_half_the_sample_rate_draws_nothing() -> None:
    with pytest.raises(ValueError, match="half the sample rate"):
        front_end_of({"front_end": FRONT_END | {"f_max_hz": 9_000}})


@pytest.mark.parametrize("put", [*NO_FILES.values(), lambda path: None], ids=[*NO_FILES, "nothing"])
def test_a_recording_that_is_no_file_is_not_played(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "x.wav")
    with in_time(), pytest.raises(ValueError, match="no such file"):
        read_clip(tmp_path / "x.wav", 0.0, 5.0)


@pytest.mark.parametrize("rate_hz", [1, 7, 999, 1_000_001, 2**31 - 1])
def test_a_recording_of_an_odd_rate_is_not_played(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(100), rate_hz)
    with pytest.raises(ValueError, match=f"sample rate is {rate_hz} Hz"):
        read_clip(tmp_path / "x.wav", 0.0, 5.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_recording_without_end_is_not_played(tmp_path: Path, value: float) -> None:
    soundfile.write(tmp_path / "x.wav", np.full(1_000, value, np.float32), 8_000, subtype="FLOAT")
    with pytest.raises(ValueError, match="NaN or Inf"):
        read_clip(tmp_path / "x.wav", 0.0, 5.0)


def test_a_prime_sample_rate_is_drawn_in_time_and_memory() -> None:
    clip = Clip(np.random.default_rng(0).normal(0, 0.1, 999_983).astype(np.float32), 999_983)
    with in_time():
        assert log_mel(clip, FrontEnd(16_000, 512, 160, 32, 50.0, 8_000.0, 80.0)).shape == (32, 101)
