"""The audio cache as its readers see it: samples, energies, what is decoded anew, and files that cannot be read."""

import multiprocessing
import os
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sed_model.audio import cache_build
from sed_model.audio.cache import AudioCache, cache_home, open_cache
from sed_model.config.sed_config import Data
from sed_model.core.errors import AudioError, DataError
from tests.sed_model.decoded_clips import RATE, Clips


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


def test_a_changed_middle_of_equal_size_and_time_is_decoded_anew(clips: Clips) -> None:
    """The first and last 64 KiB, the size and the time of modification stay as they were."""
    quiet, loud = np.zeros(20 * RATE), np.zeros(20 * RATE)
    loud[10 * RATE : 11 * RATE] = 0.5
    for wave, level in ((quiet, 0), (loud, 16384)):
        clips.write("long.wav", wave)
        os.utime(clips.root / "long.wav", ns=(10**18, 10**18))
        assert clips.open("long.wav").samples("long.wav", 10 * RATE, RATE).max() == level


def test_caches_of_earlier_releases_are_named_and_not_read(clips: Clips, caplog: pytest.LogCaptureFixture) -> None:
    clips.open("short.wav", "steps.wav")
    index = clips.folders[0] / "index.npz"
    with np.load(index) as stored:
        arrays = dict(stored)
    np.savez(index, **{**arrays, "header": np.array([1, RATE])})
    old = clips.folders[0].rename(clips.folders[0].with_name("0" * 32))
    assert set(clips.open("short.wav", "steps.wav").samples("short.wav")) == {8192}
    assert f"1 audio caches of earlier releases (0.00 GB) are no longer read, and can be deleted: {old}" in caplog.text
    assert len(clips.folders) == 2


def test_recordings_that_change_while_they_are_decoded_are_refused(
    clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_and_change(*arguments: Any) -> None:
        cache_build.build(*arguments)
        clips.write("short.wav", np.full(RATE // 2, 0.5))

    monkeypatch.setattr("sed_model.audio.cache.build", build_and_change)
    with pytest.raises(DataError, match="changed while they were decoded; start again"):
        clips.open("short.wav")
    monkeypatch.undo()
    assert set(clips.open("short.wav").samples("short.wav")) == {16384}
    assert len(clips.folders) == 1


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


def test_views_stay_valid_when_pages_are_handed_back(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sed_model.audio.cache.RESIDENT_LIMIT_BYTES", 1000)
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
