"""Hostile audio: cut and damaged files, headers that lie, and what is no file: refused by name, without much memory."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.audio.audio_files import list_audio
from sed_model.audio.cache import open_cache
from sed_model.audio.decoding import BLOCK_VALUES, LOUDEST, decode, duration_s
from sed_model.augment.sound_folders import find_sounds
from sed_model.config.sed_config import Data
from tests.hostile import drawn, in_time, overwritten, places, refusal, refused
from tests.sed_model.sounds import N_SAMPLES, NOISE, RATE_HZ, WHOLE, encoded, flac_with, id3, wav_with, write

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


# --- headers

LIES = {
    "a rate of 0": ("wav", wav_with(24, "<I", 0)),
    "a rate of 1 Hz": ("wav", wav_with(24, "<I", 1)),
    "a rate of 2 GHz": ("wav", wav_with(24, "<I", 2**31 - 1)),
    "1024 channels": ("wav", wav_with(22, "<H", 1024)),
    "65535 channels": ("wav", wav_with(22, "<H", 65_535)),
    "24 bits": ("wav", wav_with(34, "<H", 24)),
    "4 GB of sound": ("wav", wav_with(40, "<I", 2**32 - 2)),  # one more stands for an open length
    "a long header": ("wav", wav_with(16, "<I", 2**31)),
    "no magic": ("wav", wav_with(0, "<I", 0)),
    "a FLAC rate of 0": ("flac", flac_with(rate_hz=0)),
    "a FLAC rate above 1 MHz": ("flac", flac_with(rate_hz=2**20 - 1)),
    "68 billion FLAC samples": ("flac", flac_with(total=2**36 - 1)),
}


@pytest.mark.parametrize(("suffix", "content"), LIES.values(), ids=LIES)
def test_a_header_that_lies_is_refused_and_takes_no_memory(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = write(tmp_path, f"lie.{suffix}", content)
    tracemalloc.start()
    try:
        refusal(lambda: decode(path, RATE_HZ), f"lie.{suffix}")
        refusal(lambda: decode(path, RATE_HZ, max_s=120), f"lie.{suffix}")
        assert tracemalloc.get_traced_memory()[1] < 8 * BLOCK_VALUES
    finally:
        tracemalloc.stop()


def test_the_header_of_an_mp3_counts_its_frames_behind_a_picture_too(tmp_path: Path) -> None:
    content = WHOLE["mp3"]
    path = write(tmp_path, "cut.mp3", id3(b"\xff\xfb" * 5_000) + content[: len(content) // 2])

    refusal(lambda: decode(path, RATE_HZ), "cut.mp3", "breaks off")


def flac_with_picture() -> bytes:
    content = WHOLE["flac"]
    picture = bytes(20_000)
    block = struct.pack(">II", 3, 9) + b"image/png" + bytes(4 + 16) + struct.pack(">I", len(picture)) + picture
    streaminfo_end = 4 + 4 + 34
    return content[:streaminfo_end] + b"\x06" + len(block).to_bytes(3, "big") + block + content[streaminfo_end:]


LONG = np.random.default_rng(1).normal(0, 0.1, 48_000)
ODD: dict[str, tuple[str, Callable[[], bytes], float]] = {
    "24 bits": ("wav", lambda: encoded("wav", subtype="PCM_24"), 0.5),
    "doubles": ("wav", lambda: encoded("wav", subtype="DOUBLE"), 0.5),
    "96 kHz": ("wav", lambda: encoded("wav", LONG, 96_000), 0.5),
    "8 channels": ("wav", lambda: encoded("wav", np.stack([NOISE] * 8, 1)), 0.5),
    "a picture in an MP3": ("mp3", lambda: id3(bytes(20_000)) + WHOLE["mp3"], 0.5),
    "a picture in a FLAC": ("flac", flac_with_picture, 0.5),
    "a WAV named ogg": ("ogg", lambda: WHOLE["wav"], 0.5),
    "an MP3 named wav": ("wav", lambda: WHOLE["mp3"], 0.5),
    "a RIFF without its size": ("wav", lambda: wav_with(4, "<I", 0), 0.5),
    "a FLAC of unknown length": ("flac", lambda: flac_with(total=0), 0.5),
    "one sample": ("wav", lambda: encoded("wav", NOISE[:1]), 1 / RATE_HZ),
}  # fmt: skip


@pytest.mark.parametrize(("suffix", "content", "expected_s"), ODD.values(), ids=ODD)
def test_an_odd_file_is_read_as_what_it_is(
    tmp_path: Path, suffix: str, content: Callable[[], bytes], expected_s: float
) -> None:
    wave = decode(write(tmp_path, f"odd.{suffix}", content()), RATE_HZ)

    assert len(wave) == pytest.approx(expected_s * RATE_HZ, abs=2)
    assert expected_s < 0.1 or 0.01 < float(np.std(wave)) < 0.2


def test_a_flac_of_unknown_length_is_read_from_anywhere_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, unknown = (
        write(tmp_path, name, content) for name, content in (("a.flac", WHOLE["flac"]), ("b.flac", flac_with(total=0)))
    )
    monkeypatch.setattr("sed_model.audio.decoding.BLOCK_VALUES", 998)

    assert duration_s(unknown) == duration_s(known) == N_SAMPLES / RATE_HZ
    for start_s, max_s in ((0.0, None), (0.125, 0.25), (0.4, 5.0), (0.4999, None)):
        np.testing.assert_array_equal(decode(unknown, RATE_HZ, max_s, start_s), decode(known, RATE_HZ, max_s, start_s))
    refusal(lambda: decode(unknown, RATE_HZ, start_s=0.5), "b.flac", "no samples from 0.5 s on")


@pytest.mark.parametrize("percent", [1, 5, 95])
def test_a_flac_of_unknown_length_that_breaks_off_is_refused(tmp_path: Path, percent: int) -> None:
    content = flac_with(total=0)
    path = write(tmp_path, "cut.flac", content[: len(content) * percent // 100])
    refusal(lambda: decode(path, RATE_HZ), "cut.flac")
    assert duration_s(path) == 0


def test_sounds_of_unknown_length_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "rain.flac", flac_with(total=0))
    assert [sound.duration_s for sound in find_sounds(tmp_path, "augment.wave.background_folder")] == [0.5]


def test_long_files_are_read_in_blocks_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "two.wav", encoded("wav", np.stack([NOISE, NOISE], 1), subtype="FLOAT"))
    at_once = decode(path, RATE_HZ)
    monkeypatch.setattr("sed_model.audio.decoding.BLOCK_VALUES", 998)

    np.testing.assert_array_equal(decode(path, RATE_HZ), at_once)
    np.testing.assert_array_equal(decode(path, RATE_HZ, max_s=0.25, start_s=0.125), at_once[1000:3000])


def test_the_cache_lists_every_hostile_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for number, (suffix, content) in enumerate(LIES.values()):
        write(root, f"{number}.{suffix}", content)
    names = sorted(path.name for path in root.iterdir())
    write(root, "good.wav", WHOLE["wav"])
    settings = Data(cache_dir=tmp_path / "cache", on_bad_audio="fail")

    message = refusal(lambda: open_cache(root, [*names, "good.wav"], RATE_HZ, settings, progress=False))
    assert [name for name in names if f"{name}: " not in message] == []
    assert "good.wav" not in message
    skipping = settings.model_copy(update={"on_bad_audio": "skip"})
    cache = open_cache(root, [*names, "good.wav"], RATE_HZ, skipping, progress=False)
    assert (len(cache), len(cache.bad)) == (1, len(names))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "data"]
