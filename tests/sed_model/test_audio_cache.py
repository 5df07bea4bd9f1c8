import multiprocessing
import os
import pickle
import shutil
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile

from sed_model import cache_build
from sed_model.audio_cache import AudioCache, cache_home, decode, open_cache
from sed_model.config import Data
from sed_model.errors import AudioError, DataError

RATE = 8_000


class Clips(NamedTuple):
    root: Path
    settings: Data

    def open(self, *paths: str, **settings: object) -> AudioCache:
        return open_cache(self.root, paths, RATE, self.settings.model_copy(update=settings), progress=False)

    def write(self, name: str, wave: np.ndarray) -> None:
        soundfile.write(self.root / name, wave, RATE, subtype="PCM_16")

    @property
    def folders(self) -> list[Path]:
        """Finished caches and what builders left behind."""
        return sorted(path for path in cache_home(self.settings).iterdir() if path.is_dir() and path.name != "keys")


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    """Files short.wav (0.5 s of 0.25), steps.wav (seconds of 0, .1, .5, .5, 0, .2) and a folder for the cache."""
    made = Clips(tmp_path / "data", Data(cache_dir=tmp_path / "cache"))
    made.root.mkdir()
    made.write("short.wav", np.full(RATE // 2, 0.25))
    made.write("steps.wav", np.repeat([0, 0.1, 0.5, 0.5, 0, 0.2], RATE))
    return made


def test_samples_are_the_decoded_int16(clips: Clips) -> None:
    cache = clips.open("short.wav", "steps.wav")
    assert cache.sample_rate_hz == RATE
    assert cache.n_samples("short.wav") == RATE // 2
    assert cache.samples("short.wav").dtype == np.int16
    assert set(cache.samples("short.wav")) == {8192}
    assert cache.samples("steps.wav", 2 * RATE - 2, 4).tolist() == [3276, 3276, 16384, 16384]


def test_samples_end_where_the_recording_ends(clips: Clips) -> None:
    cache = clips.open("short.wav", "steps.wav")
    assert len(cache.samples("short.wav", RATE // 2 - 10, 100)) == 10
    assert len(cache.samples("short.wav", RATE, 100)) == 0


def test_samples_are_a_read_only_view(clips: Clips) -> None:
    view = clips.open("short.wav").samples("short.wav")
    assert not view.flags.owndata
    assert not view.flags.writeable


def test_energies_are_the_mean_squares_of_whole_seconds(clips: Clips) -> None:
    cache = clips.open("short.wav", "steps.wav")
    np.testing.assert_allclose(cache.energies("steps.wav"), [0, 0.01, 0.25, 0.25, 0, 0.04], rtol=1e-3, atol=1e-12)
    assert len(cache.energies("short.wav")) == 0


@pytest.mark.parametrize(
    ("window_s", "start_s"),
    [(1.0, 2), (2.0, 2), (3.0, 1), (1.5, 2), (5.0, 1), (6.0, 0), (10.0, 0), (0.5, 2)],
)
def test_the_loudest_window_starts_at_a_whole_second(clips: Clips, window_s: float, start_s: int) -> None:
    assert clips.open("steps.wav").loudest_start("steps.wav", window_s) == start_s * RATE


def test_the_loudest_window_of_a_short_clip_is_its_start(clips: Clips) -> None:
    assert clips.open("short.wav").loudest_start("short.wav", 5.0) == 0


def test_long_recordings_are_cut_at_max_recording_s(clips: Clips) -> None:
    assert clips.open("steps.wav", max_recording_s=5.0).n_samples("steps.wav") == 5 * RATE


def test_loud_samples_are_clipped_and_do_not_wrap(clips: Clips) -> None:
    soundfile.write(clips.root / "loud.wav", np.array([1.5, -1.5, 1.0]), RATE, subtype="FLOAT")
    assert clips.open("loud.wav").samples("loud.wav").tolist() == [32767, -32768, 32767]


def test_only_paths_that_were_asked_for_are_in_it(clips: Clips) -> None:
    cache = clips.open("short.wav")
    assert "short.wav" in cache
    assert "steps.wav" not in cache
    assert len(cache) == 1


def test_an_unchanged_folder_is_decoded_once(clips: Clips) -> None:
    clips.open("short.wav", "steps.wav")
    before = {path: path.stat().st_mtime_ns for path in clips.folders[0].iterdir()}
    clips.open("steps.wav", "short.wav", "short.wav")
    assert {path: path.stat().st_mtime_ns for path in clips.folders[0].iterdir()} == before


def test_the_key_follows_content_and_not_place(clips: Clips, tmp_path: Path) -> None:
    clips.open("short.wav", "steps.wav")
    shutil.copytree(clips.root, tmp_path / "copy")
    open_cache(tmp_path / "copy", ["short.wav", "steps.wav"], RATE, clips.settings, progress=False)
    assert len(clips.folders) == 1
    clips.write("short.wav", np.full(RATE // 2, 0.5))
    assert set(clips.open("short.wav", "steps.wav").samples("short.wav")) == {16384}
    assert len(clips.folders) == 2


def test_other_sample_rates_are_other_caches(clips: Clips) -> None:
    clips.open("short.wav")
    assert open_cache(clips.root, ["short.wav"], 16_000, clips.settings, progress=False).n_samples("short.wav") == RATE


@pytest.mark.parametrize("victim", ["samples.int16", "energies.float32", "index.npz"])
@pytest.mark.parametrize("damage", ["truncated", "removed"])
def test_a_damaged_cache_is_built_again(clips: Clips, victim: str, damage: str) -> None:
    clips.open("short.wav", "steps.wav")
    path = clips.folders[0] / victim
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-2])
    else:
        path.unlink()
    assert set(clips.open("short.wav", "steps.wav").samples("short.wav")) == {8192}


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


def test_all_bad_files_are_listed_with_their_reasons(clips: Clips) -> None:
    (clips.root / "empty.ogg").write_bytes(b"")
    (clips.root / "text.ogg").write_text("no audio")
    with pytest.raises(AudioError) as caught:
        clips.open("short.wav", "empty.ogg", "text.ogg", "gone.ogg")
    message = str(caught.value)
    assert message.startswith(f"3 of 4 audio files in {clips.root} cannot be read:\n")
    assert "  empty.ogg: the file is empty (0 bytes)\n  gone.ogg: the file is not there\n" in message
    assert "  text.ogg: is no readable audio" in message
    assert message.endswith("set data.on_bad_audio=skip to leave them out.")


def test_bad_files_are_skipped_and_counted_on_request(clips: Clips, caplog: pytest.LogCaptureFixture) -> None:
    (clips.root / "empty.ogg").write_bytes(b"")
    for _ in range(2):
        cache = clips.open("short.wav", "empty.ogg", on_bad_audio="skip")
        assert [bad.path for bad in cache.bad] == ["empty.ogg"]
        assert "empty.ogg" not in cache
    assert "1 of 2 audio files" in caplog.text


def test_nothing_but_bad_files_fails_even_when_they_are_skipped(clips: Clips) -> None:
    (clips.root / "empty.ogg").write_bytes(b"")
    with pytest.raises(AudioError, match="1 of 1 audio files"):
        clips.open("empty.ogg", on_bad_audio="skip")


def test_a_mended_file_is_decoded(clips: Clips) -> None:
    (clips.root / "mended.wav").write_bytes(b"")
    with pytest.raises(AudioError):
        clips.open("mended.wav")
    clips.write("mended.wav", np.full(10, 0.25))
    assert clips.open("mended.wav").n_samples("mended.wav") == 10


def test_a_pickled_cache_is_small_and_maps_the_file_again(clips: Clips) -> None:
    cache = clips.open("short.wav", "steps.wav")
    data = pickle.dumps(cache)
    assert len(data) < 500
    again = pickle.loads(data)  # noqa: S301
    assert np.array_equal(again.samples("steps.wav"), cache.samples("steps.wav"))


def _sum_in_worker(cache: AudioCache) -> int:
    return int(cache.samples("steps.wav").sum())


def test_another_process_reads_the_same_samples(clips: Clips) -> None:
    cache = clips.open("steps.wav")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(_sum_in_worker, cache).result() == _sum_in_worker(cache)


def test_builders_of_one_key_take_turns(clips: Clips) -> None:
    opened: list[AudioCache] = []
    threads = [threading.Thread(target=lambda: opened.append(clips.open("short.wav", "steps.wav"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [cache.n_samples("steps.wav") for cache in opened] == [6 * RATE] * 4
    assert len(clips.folders) == 1


def test_views_stay_valid_when_pages_are_handed_back(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sed_model.audio_cache.RESIDENT_LIMIT_BYTES", 1000)
    cache = clips.open("short.wav", "steps.wav")
    view = cache.samples("short.wav")
    assert set(cache.samples("steps.wav", 2 * RATE, RATE)) == {16384}
    assert set(view) == {8192}


def test_the_cache_folder_comes_from_settings_then_environment_then_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SED_CACHE_DIR", str(tmp_path / "env"))
    assert cache_home(Data(cache_dir=tmp_path / "set")) == tmp_path / "set"
    assert cache_home(Data()) == tmp_path / "env"
    monkeypatch.delenv("SED_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_home(Data()) == tmp_path / ".cache" / "sed-search"


@pytest.mark.skipif(os.name != "posix", reason="permissions of other systems differ")
def test_a_cache_folder_that_cannot_be_made_is_refused(clips: Clips, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be written .* set data.cache_dir or SED_CACHE_DIR"):
        clips.open("short.wav", cache_dir=tmp_path / "file" / "cache")


def test_real_recordings_decode_without_a_bad_one(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "esc10_mini"
    paths = sorted(path.relative_to(root).as_posix() for path in (root / "train_audio").glob("*/*.ogg"))[:20]
    cache = open_cache(root, paths, 32_000, Data(cache_dir=tmp_path), progress=False)
    assert (len(cache), cache.bad) == (20, ())
    assert all(cache.n_samples(path) >= 2 * 32_000 for path in paths)
