"""Builds of the audio cache that break off, fail or meet: what is decoded again, and what is left behind."""

import multiprocessing
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sed_model.audio import cache_build
from sed_model.audio.cache import AudioCache, cache_home
from sed_model.audio.decoding import decode
from sed_model.core.errors import DataError
from tests.sed_model.decoded_clips import RATE, Clips
from tests.sed_model.mp3_in_wav import mp3_frames, write_mp3_in_wav


def test_what_a_dead_builder_left_is_cleaned_away(clips: Clips) -> None:
    clips.open("short.wav")
    home = cache_home(clips.settings)
    (home / f"building-{clips.folders[0].name}").mkdir()
    (home / "building-0123456789abcdef").mkdir()
    (home / "building-0123456789abcdef" / "samples.int16").write_bytes(b"half")
    clips.open("steps.wav")
    shutil.rmtree(clips.folders[0])
    clips.open("short.wav")
    clips.open("steps.wav")
    assert len(clips.folders) == 2
    assert not list(home.glob("building-*"))


def watch_decoding(monkeypatch: pytest.MonkeyPatch, interrupted_at: str = "") -> list[str]:
    """The files that are decoded from now on; one of them may be where somebody presses Ctrl-C."""
    names: list[str] = []

    def watched(path: Path, *settings: Any) -> np.ndarray:
        if path.name == interrupted_at:
            raise KeyboardInterrupt
        names.append(path.name)
        return decode(path, *settings)

    monkeypatch.setattr(cache_build, "decode", watched)
    return names


def interrupt(clips: Clips, many: tuple[str, ...]) -> Path:
    """Break off a build at the ninth file, r08.wav; its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        watch_decoding(patch, interrupted_at="r08.wav")
        with pytest.raises(KeyboardInterrupt):
            clips.open(*many, on_bad_audio="skip")
    return clips.folders[0]


@pytest.fixture
def many(clips: Clips) -> tuple[str, ...]:
    """Twelve recordings from 0.1 to 1.2 s; the sixth is no audio."""
    names = tuple(f"r{number:02d}.wav" for number in range(12))
    for number, name in enumerate(names):
        clips.write(name, np.full((number + 1) * RATE // 10, number / 16))
    (clips.root / names[5]).write_text("no audio")
    return names


def check_many(clips: Clips, many: tuple[str, ...]) -> None:
    cache = clips.open(*many, on_bad_audio="skip")
    assert [bad.path for bad in cache.bad] == ["r05.wav"]
    for number, name in enumerate(many):
        if number != 5:
            assert cache.samples(name).tolist() == [number * 2048] * ((number + 1) * RATE // 10)
    np.testing.assert_allclose(cache.energies("r10.wav"), [(10 / 16) ** 2])
    assert sorted(path.name for path in clips.folders[0].iterdir()) == [
        "energies.float32",
        "index.npz",
        "samples.int16",
    ]
    assert len(clips.folders) == 1


def test_an_interrupted_build_decodes_only_the_rest(
    clips: Clips, many: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(clips, many)

    decoded = watch_decoding(monkeypatch)
    check_many(clips, many)
    assert sorted(decoded) == ["r08.wav", "r09.wav", "r10.wav", "r11.wav"]


def die_at_the_ninth_file(clips: Clips, many: tuple[str, ...]) -> None:
    def decode_or_die(path: Path, *settings: Any) -> np.ndarray:
        if path.name == "r08.wav":
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(path, *settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        patch.setattr(cache_build, "decode", decode_or_die)
        clips.open(*many, on_bad_audio="skip")


def test_a_killed_build_goes_on(clips: Clips, many: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    process = multiprocessing.get_context("spawn").Process(target=die_at_the_ninth_file, args=(clips, many))
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL

    decoded = watch_decoding(monkeypatch)
    check_many(clips, many)
    # The eighth was decoded; the process may have died before it wrote that.
    assert sorted(set(decoded) - {"r07.wav"}) == ["r08.wav", "r09.wav", "r10.wav", "r11.wav"]


@pytest.mark.parametrize(
    ("victim", "cut_bytes", "n_decoded"),
    [
        ("done.jsonl", 10, 5),  # in the line of r07
        ("samples.int16", 2, 5),  # the machine failed before the last sample of r07 was on its disk
        ("samples.int16", None, 12),
        ("energies.float32", None, 4),  # only r09 and longer ones last a second
        ("done.jsonl", None, 12),
    ],
)
def test_what_a_broken_off_build_has_lost_is_decoded_again(
    clips: Clips, many: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, victim: str, cut_bytes: int | None,
    n_decoded: int,
) -> None:  # fmt: skip
    left = interrupt(clips, many) / victim
    os.truncate(left, 0 if cut_bytes is None else left.stat().st_size - cut_bytes)

    decoded = watch_decoding(monkeypatch)
    check_many(clips, many)
    assert len(decoded) == n_decoded


def test_samples_of_a_broken_off_build_that_were_lost_are_decoded_again(clips: Clips, many: tuple[str, ...]) -> None:
    """A machine that fails may leave zeros in the place of the last samples."""
    left = interrupt(clips, many) / "samples.int16"
    content = left.read_bytes()
    left.write_bytes(content[:-100] + bytes(100))

    check_many(clips, many)


def test_a_failed_build_leaves_nothing_behind(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); set data.cache_dir"):
        clips.open("short.wav")
    assert clips.folders == []


def test_a_disk_that_is_too_small_is_refused_before_decoding(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(clips.root)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"decoding 1 recordings needs 0\.00 GB, but .* has 0\.00 GB free; set data"):
        clips.open("steps.wav")
    assert clips.folders == []


def test_builders_of_one_key_take_turns(clips: Clips) -> None:
    opened: list[AudioCache] = []
    threads = [threading.Thread(target=lambda: opened.append(clips.open("short.wav", "steps.wav"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [cache.n_samples("steps.wav") for cache in opened] == [6 * RATE] * 4
    assert len(clips.folders) == 1


def test_files_that_are_shorter_than_they_say_are_counted(clips: Clips, caplog: pytest.LogCaptureFixture) -> None:
    wave = 0.3 * np.sin(np.arange(7_840) / 3)
    stream = b"".join(mp3_frames(clips.root / "x.mp3", wave, RATE))
    write_mp3_in_wav(clips.root / "padded.wav", stream[:-30], RATE)
    cache = clips.open("padded.wav", "short.wav")
    assert cache.n_samples("padded.wav") == 15 * 576
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 2 audio files are up to 0.08 s shorter than they say, as MP3 is; they are read"
    ]
