"""What a teacher heard, read back: means between times, damage, resuming, bad audio."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest

from sed_model.clips.embedding_build import hearing_plan, survey
from sed_model.clips.embedding_cache import EmbeddingCache, open_embeddings
from sed_model.clips.embeddings import EmbeddingSource
from sed_model.core.errors import AudioError, ConfigError, DataError
from sed_model.teacher.description import TeacherDescription
from sed_model.teacher.runner import Teacher, load_teacher
from tests.hostile import overwritten, refusal
from tests.sed_model.decoded_clips import Clips
from tests.teachers import tiny_teacher


@pytest.fixture
def description(tmp_path: Path) -> TeacherDescription:
    """Of a model that hears windows of a second, every half second: their mean, first and last sample."""
    return tiny_teacher(tmp_path, ".onnx", window_s=1.0, hop_s=0.5)


@pytest.fixture
def teacher(description: TeacherDescription) -> Teacher:
    return load_teacher(description, is_tried=True)


@pytest.fixture
def cache(clips: Clips, teacher: Teacher) -> EmbeddingCache:
    """Of steps.wav (seconds of 0, .1, .5, .5, 0, .2) and short.wav (half a second of .25)."""
    return opened(clips, teacher, "short.wav", "steps.wav")


def opened(clips: Clips, teacher: Teacher | TeacherDescription, *paths: str, **settings: object) -> EmbeddingCache:
    changed = clips.settings.model_copy(update=settings)
    return open_embeddings(clips.root, paths, teacher, changed, [3, 1], progress=False)


def entries(cache: EmbeddingCache) -> list[Path]:
    return sorted(cache.index.parent.glob("*.heard"))


MEANS = {
    "windows inside": (1.0, 3.0, 0.3),  # .1, .3, .5
    "times that are off by a rounding": (1.001, 2.999, 0.3),
    "the whole recording": (0.0, 6.0, 2.5 / 11),
    "beyond the end": (5.0, 99.0, 0.2),
    "none inside, the nearest has half of it": (1.7, 2.3, 0.3),
    "none inside, and of the nearest too little": (1.8, 2.2, None),
    "after the end": (7.0, 8.0, None),
}


@pytest.mark.parametrize(("start_s", "end_s", "expected"), MEANS.values(), ids=MEANS)
def test_the_mean_between_two_times(
    cache: EmbeddingCache, start_s: float, end_s: float, expected: float | None
) -> None:
    mean = cache.mean("steps.wav", start_s, end_s)
    if expected is None:
        assert mean is None
    else:
        assert mean is not None
        assert (mean.shape, mean.dtype) == ((3,), np.float32)
        assert mean[0] == pytest.approx(expected, abs=2e-3)


def test_a_clip_has_the_mean_of_the_matched_logits_too(cache: EmbeddingCache) -> None:
    """Windows at 1 and 1.5 s: means of .1 and .3, first samples of .1 and .1, last ones of .1 and .5."""
    clip = cache.clip("steps.wav", 1.0, 2.5)
    assert clip is not None
    np.testing.assert_allclose(clip[0], [0.2, 0.1, 0.3], atol=2e-3)
    np.testing.assert_allclose(clip[1], [0.2 + 0.1 + 0.3, 2 * 0.1], atol=2e-3)


@pytest.mark.parametrize("end_s", [0.5, 0.3, 5.0])
def test_a_short_recording_is_known_where_half_of_it_is_asked_for(cache: EmbeddingCache, end_s: float) -> None:
    mean = cache.mean("short.wav", 0.0, end_s)
    assert mean is not None
    assert mean[0] == pytest.approx(0.25, abs=1e-3)


def test_a_cache_is_an_embedding_source(cache: EmbeddingCache) -> None:
    assert isinstance(cache, EmbeddingSource)
    assert (cache.name, cache.dim, cache.n_matched, len(cache)) == ("tiny", 3, 2, 2)
    assert "steps.wav" in cache
    assert cache.mean("absent.wav", 0.0, 1.0) is None


def test_a_cache_pickles_as_its_name(cache: EmbeddingCache) -> None:
    cache.mean("steps.wav", 0.0, 6.0)
    pickled = pickle.dumps(cache)
    assert len(pickled) < 400
    copy = pickle.loads(pickled)  # noqa: S301 - its own
    np.testing.assert_array_equal(copy.mean("steps.wav", 0.0, 6.0), cache.mean("steps.wav", 0.0, 6.0))


def test_what_is_there_is_not_heard_again(clips: Clips, cache: EmbeddingCache, description: TeacherDescription) -> None:
    written_ns = [path.stat().st_mtime_ns for path in entries(cache)]
    content = description.path.read_bytes()
    again = opened(clips, description, "steps.wav")
    assert [path.stat().st_mtime_ns for path in entries(again)] == written_ns
    assert again.index != cache.index
    assert description.path.read_bytes() == content


def test_another_folder_with_the_same_recording_hears_it_no_more(
    clips: Clips, cache: EmbeddingCache, teacher: Teacher, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.wav").write_bytes((clips.root / "steps.wav").read_bytes())
    other = open_embeddings(tmp_path / "other", ["x.wav"], teacher, clips.settings, [3, 1], progress=False)
    assert len(entries(cache)) == 2
    np.testing.assert_array_equal(other.mean("x.wav", 0.0, 6.0), cache.mean("steps.wav", 0.0, 6.0))


@pytest.mark.parametrize("place", [0.0, 0.3, 0.999])
def test_a_damaged_entry_is_heard_again(
    clips: Clips, cache: EmbeddingCache, teacher: Teacher, place: float, caplog: pytest.LogCaptureFixture
) -> None:
    before = [path.read_bytes() for path in entries(cache)]
    overwritten(entries(cache)[1], place, b"\xff\x01"[: 1 + (place < 0.9)])
    assert entries(cache)[1].read_bytes() != before[1]
    with caplog.at_level(logging.WARNING):
        again = opened(clips, teacher, "short.wav", "steps.wav")
    assert "damaged" in caplog.text
    assert [path.read_bytes() for path in entries(again)] == before


def test_damage_under_a_reader_is_told(cache: EmbeddingCache) -> None:
    for path in entries(cache):
        path.write_bytes(b"")
    refusal(lambda: cache.mean("steps.wav", 0.0, 1.0), ".heard", "damaged", "start again", kind=DataError)


def test_a_damaged_index_is_written_again(clips: Clips, cache: EmbeddingCache, teacher: Teacher) -> None:
    cache.index.write_bytes(b"PK\3\4")
    refusal(lambda: EmbeddingCache(cache.index), str(cache.index), "open them again", kind=DataError)
    assert opened(clips, teacher, "short.wav", "steps.wav").index == cache.index


def test_what_a_killed_build_left_is_taken_up(clips: Clips, cache: EmbeddingCache, teacher: Teacher) -> None:
    kept, lost = entries(cache)
    kept_ns, content = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    half = lost.with_name(f".{lost.name}.0123.tmp")
    half.write_bytes(content[:50])
    again = opened(clips, teacher, "short.wav", "steps.wav")
    assert [path.read_bytes() == content for path in entries(again)].count(True) == 1
    assert kept.stat().st_mtime_ns == kept_ns
    assert not half.exists()


def test_a_disk_that_cannot_be_written_is_no_matter_where_all_is_heard(
    clips: Clips, cache: EmbeddingCache, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", lambda *_: pytest.fail("something is written"))
    monkeypatch.setattr(Path, "replace", lambda *_: pytest.fail("something is written"))
    assert opened(clips, teacher, "short.wav", "steps.wav").index == cache.index


# --- audio that cannot be decoded


@pytest.fixture
def bad_clips(clips: Clips) -> Clips:
    """Two files beside the good ones that are no audio, and one that is named and not there (gone.wav)."""
    (clips.root / "noise.wav").write_bytes(b"no audio")
    (clips.root / "empty.wav").write_bytes(b"")
    return clips


BAD = ("noise.wav", "empty.wav", "gone.wav")


def test_bad_audio_fails_and_all_of_it_is_listed(bad_clips: Clips, teacher: Teacher) -> None:
    message = refusal(lambda: opened(bad_clips, teacher, "short.wav", *BAD), *BAD, kind=AudioError)
    assert "3 of 4 audio files" in message
    assert "data.on_bad_audio=skip" in message
    assert "gone.wav: the file is not there" in message


def test_bad_audio_is_skipped_and_counted(bad_clips: Clips, teacher: Teacher, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):  # heard, and found there
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            cache = opened(bad_clips, teacher, "short.wav", *BAD, on_bad_audio="skip")
        assert "3 of 4 audio files" in caplog.text
        assert "empty.wav, gone.wav, noise.wav" in caplog.text
        assert [one.path for one in cache.bad] == sorted(BAD)
        assert cache.mean("noise.wav", 0.0, 1.0) is None
        assert len(cache) == 1


def test_bad_audio_that_was_skipped_is_not_missing(bad_clips: Clips, teacher: Teacher) -> None:
    settings = bad_clips.settings.model_copy(update={"on_bad_audio": "skip"})
    opened(bad_clips, teacher, "short.wav", *BAD, on_bad_audio="skip")
    plan = hearing_plan(bad_clips.root, ["short.wav", *BAD], teacher.description, settings, [3, 1])
    assert survey(plan).missing == ()


def test_bad_audio_that_failed_is_tried_again(bad_clips: Clips, teacher: Teacher) -> None:
    refusal(lambda: opened(bad_clips, teacher, "short.wav", *BAD), kind=AudioError)
    plan = hearing_plan(bad_clips.root, ["short.wav", *BAD], teacher.description, bad_clips.settings, [3, 1])
    assert survey(plan).missing == ("empty.wav", "noise.wav")


def test_bad_audio_alone_fails_always(bad_clips: Clips, teacher: Teacher) -> None:
    refusal(lambda: opened(bad_clips, teacher, *BAD, on_bad_audio="skip"), "replace them.", kind=AudioError)


def test_a_teacher_that_cannot_be_loaded_is_told_before_anything_is_written(
    clips: Clips, description: TeacherDescription
) -> None:
    description.path.write_bytes(b"no model")
    refusal(lambda: opened(clips, description, "short.wav"), str(description.path), kind=ConfigError)
