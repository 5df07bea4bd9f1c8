"""Hostile audio: cut and damaged files, samples that are none and what is no file are refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.audio.audio_files import list_audio
from sed_model.audio.decoding import LOUDEST, decode, duration_s
from sed_model.augment.sound_folders import find_sounds
from tests.hostile import drawn, in_time, overwritten, places, refusal, refused
from tests.sed_model.sounds import N_SAMPLES, RATE_HZ, WHOLE, encoded, write

# --- truncated


@pytest.mark.parametrize("suffix", WHOLE)
@pytest.mark.parametrize("percent", [0, 1, 5, 50, 95])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, percent: int) -> None:
    content = WHOLE[suffix]
    path = write(tmp_path, f"cut.{suffix}", content[: len(content) * percent // 100])

    refusal(lambda: decode(path, RATE_HZ), f"cut.{suffix}")


@pytest.mark.parametrize("suffix", WHOLE)
@drawn
@given(share=st.floats(0, 1))
def test_a_file_cut_anywhere_is_refused_or_nearly_whole(tmp_path: Path, suffix: str, share: float) -> None:
    path = write(tmp_path, f"cut.{suffix}", WHOLE[suffix][: round(len(WHOLE[suffix]) * share)])

    if not refused(lambda: decode(path, RATE_HZ), f"cut.{suffix}"):
        assert len(decode(path, RATE_HZ)) >= 0.98 * N_SAMPLES


@pytest.mark.parametrize("suffix", WHOLE)
@drawn
@given(place=places, data=st.binary(min_size=1, max_size=8))
def test_a_file_with_other_bytes_is_refused_or_finite(tmp_path: Path, suffix: str, place: float, data: bytes) -> None:
    path = write(tmp_path, f"odd.{suffix}", WHOLE[suffix])
    overwritten(path, place, data)

    if not refused(lambda: decode(path, RATE_HZ, max_s=5.0), f"odd.{suffix}"):
        assert np.abs(decode(path, RATE_HZ, max_s=5.0)).max() < 2 * LOUDEST


@drawn
@given(content=st.binary(max_size=200), suffix=st.sampled_from([*WHOLE, "opus"]))
def test_any_bytes_are_refused_or_finite(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = write(tmp_path, f"any.{suffix}", content)

    assert refused(lambda: decode(path, RATE_HZ), f"any.{suffix}") or np.isfinite(decode(path, RATE_HZ)).all()
    assert duration_s(path) >= 0


# --- samples that are none

SAMPLES = {
    "NaN": np.nan, "Inf": np.inf, "minus Inf": -np.inf, "the largest float": 3.4e38, "a million": 1e6,
    "an int16": 32_767.0,
}  # fmt: skip


@pytest.mark.parametrize("n_channels", [1, 8])
@pytest.mark.parametrize("value", SAMPLES.values(), ids=SAMPLES)
def test_samples_beyond_all_loudness_are_refused(tmp_path: Path, value: float, n_channels: int) -> None:
    wave = np.zeros((N_SAMPLES, n_channels), np.float32)
    wave[123] = value
    path = write(tmp_path, "loud.wav", encoded("wav", wave, subtype="FLOAT"))

    refusal(lambda: decode(path, RATE_HZ), "loud.wav", "samples")


def test_a_double_beyond_floats_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "loud.wav", encoded("wav", np.full(N_SAMPLES, 1e300), subtype="DOUBLE"))
    refusal(lambda: decode(path, RATE_HZ), "loud.wav")


# --- what is no file


def test_a_pipe_is_refused_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    refusal(lambda: decode(tmp_path / "pipe.wav", RATE_HZ), "pipe.wav", "no file")


@pytest.mark.parametrize(
    "name", ["a" * 300 + ".wav", "a\0.wav", "loop.wav", "nowhere/x.wav"], ids=lambda name: name[:9]
)
def test_a_name_without_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    refusal(lambda: decode(tmp_path / name, RATE_HZ), name)
    assert duration_s(tmp_path / name) == 0


def test_pipes_and_links_out_of_the_folder_are_no_recordings(tmp_path: Path) -> None:
    audio = tmp_path / "data" / "train_audio"
    audio.mkdir(parents=True)
    write(tmp_path, "secret.wav", WHOLE["wav"])
    os.mkfifo(audio / "pipe.wav")
    (audio / "up.wav").symlink_to("../../secret.wav")
    (audio / "host.wav").symlink_to("/etc/hostname")
    (audio / "zero.wav").symlink_to("/dev/zero")
    (audio / "loop.wav").symlink_to("loop.wav")
    (audio / "round").symlink_to(".")
    (audio / "out").symlink_to("../..")
    write(audio, "in.wav", WHOLE["wav"])
    with in_time():
        listing = list_audio(tmp_path / "data", "train_audio")

    assert list(listing.sizes) == ["train_audio/in.wav"]
    assert listing.others == ("train_audio/pipe.wav",)
    assert {Path(path).name for path in listing.outside} == {"up.wav", "host.wav", "zero.wav", "loop.wav", "out"}


def test_a_pipe_in_a_folder_of_sounds_is_no_sound(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    refusal(lambda: find_sounds(tmp_path, "augment.wave.room_folder"), "augment.wave.room_folder", "no audio")
