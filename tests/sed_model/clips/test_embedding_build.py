"""Windows of a recording, what a known model says of them, and which recordings are heard at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sed_model.clips.embedding_build import hear_file, heard, hearing_plan, loaded, survey
from sed_model.config.sed_config import Data
from sed_model.core.errors import ConfigError, DataError
from sed_model.teacher.description import TeacherDescription
from sed_model.teacher.runner import Teacher, load_teacher
from tests.hostile import refusal
from tests.sed_model.decoded_clips import RATE, Clips
from tests.teachers import describe, tiny_teacher, write_onnx


@pytest.fixture
def teacher(tmp_path: Path) -> Teacher:
    """Hears windows of a second, every half second: their mean, first and last sample."""
    return load_teacher(tiny_teacher(tmp_path, ".onnx", window_s=1.0, hop_s=0.5), is_tried=True)


def test_embeddings_and_logits_of_a_recording(teacher: Teacher) -> None:
    wave = np.repeat(np.float32([0.25, 0.5, 1.0]), [RATE, RATE, RATE // 4])
    entry = heard(teacher, wave, [3, 1])
    assert entry.starts_s.tolist() == [0, 0.5, 1, 1.25]
    assert entry.ends_s.tolist() == [1, 1.5, 2, 2.25]
    expected = [[0.25, 0.25, 0.25], [0.375, 0.25, 0.5], [0.5, 0.5, 0.5], [0.625, 0.5, 1.0]]
    np.testing.assert_allclose(entry.embeddings, expected, rtol=1e-3)
    np.testing.assert_allclose(entry.logits, [[0.75, 0.5], [1.125, 0.5], [1.5, 1], [2.125, 1]], rtol=1e-3)
    assert (entry.embeddings.dtype, entry.logits.dtype) == (np.float16, np.float16)


def test_a_short_recording_is_repeated_and_ends_where_it_ends(teacher: Teacher) -> None:
    entry = heard(teacher, np.repeat(np.float32([0, 1]), RATE // 4), [])
    assert (entry.starts_s.tolist(), entry.ends_s.tolist()) == ([0], [0.5])
    np.testing.assert_allclose(entry.embeddings, [[0.5, 0, 1]], rtol=1e-3)
    assert entry.logits.shape == (1, 0)


def test_what_is_too_large_for_16_bits_is_the_largest(tmp_path: Path) -> None:
    weights = np.zeros((3, RATE), np.float32)
    weights[0, 0] = 1e6
    loud = load_teacher(describe(write_onnx(tmp_path / "tiny.onnx", RATE, weights), 1.0), is_tried=True)
    entry = heard(loud, np.ones(RATE, np.float32), [3])
    assert entry.embeddings.tolist() == [[65504, 0, 0]]
    assert entry.logits.tolist() == [[65504]]


def test_hours_are_heard_in_batches(teacher: Teacher) -> None:
    entry = heard(teacher, np.repeat(np.arange(40, dtype=np.float32) / 40, RATE), [])
    np.testing.assert_allclose(entry.embeddings[::2, 0], np.arange(40) / 40, atol=1e-3)


OTHER = {
    "another hop": {"hop_s": 0.25},
    "another window": {"window_s": 0.9},
    "another rate": {"sample_rate_hz": 16_000},
    "another tensor": {"embedding": "logits"},
    "other logits": {"logits": "embedding"},
}


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_another_way_of_hearing_is_kept_apart(clips: Clips, teacher: Teacher, change: dict[str, object]) -> None:
    other = teacher.description.model_copy(update=change)
    plans = [hearing_plan(clips.root, ["short.wav"], one, clips.settings, [0]) for one in (teacher.description, other)]
    assert plans[0].folder != plans[1].folder


def test_another_file_and_other_matches_are_kept_apart_and_another_name_is_not(clips: Clips, teacher: Teacher) -> None:
    def folder(description: TeacherDescription, *columns: int) -> Path:
        return hearing_plan(clips.root, ["short.wav"], description, clips.settings, columns).folder

    description = teacher.description
    first = folder(description, 0, 1)
    assert first == folder(description.model_copy(update={"name": "other", "labels": None}), 0, 1)
    assert first != folder(description, 1, 0)
    with description.path.open("ab") as file:
        file.write(b"\0")
    assert first != folder(description, 0, 1)


def test_a_recording_that_two_names_share_is_heard_once(clips: Clips, teacher: Teacher) -> None:
    (clips.root / "copy.wav").write_bytes((clips.root / "short.wav").read_bytes())
    plan = hearing_plan(clips.root, ["short.wav", "copy.wav", "steps.wav"], teacher.description, clips.settings, [])
    assert survey(plan).missing == ("copy.wav", "steps.wav")
    assert hear_file(teacher, plan, "copy.wav") == ""
    assert survey(plan).missing == ("steps.wav",)
    assert survey(plan).dim == 3


def test_a_recording_that_changes_while_it_is_heard_is_refused(clips: Clips, teacher: Teacher) -> None:
    plan = hearing_plan(clips.root, ["short.wav"], teacher.description, clips.settings, [])
    clips.write("short.wav", np.full(RATE, 0.5))
    refusal(lambda: hear_file(teacher, plan, "short.wav"), "short.wav", "changed", "start again", kind=DataError)
    assert survey(plan).missing == ("short.wav",)


def test_logits_that_there_are_not_are_refused(clips: Clips, teacher: Teacher) -> None:
    plan = hearing_plan(clips.root, ["short.wav"], teacher.description, clips.settings, [1, 4])
    refusal(lambda: loaded(teacher, plan), "4 logits", "none at 4", kind=ConfigError)
    deaf = teacher.description.model_copy(update={"logits": None, "labels": None})
    refusal(lambda: hearing_plan(clips.root, [], deaf, clips.settings, [1]), "logits is null", kind=ConfigError)


def test_a_place_that_cannot_be_written_is_named(clips: Clips, teacher: Teacher, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Data(cache_dir=tmp_path / "file")
    refusal(lambda: hearing_plan(clips.root, [], teacher.description, settings, []), "SED_CACHE_DIR", kind=DataError)
