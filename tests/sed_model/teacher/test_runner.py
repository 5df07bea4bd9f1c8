"""Tiny models whose embedding is known by hand, in both runtimes; files that are none, and windows that do not fit."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from sed_model.core.errors import ConfigError
from sed_model.teacher import runner
from sed_model.teacher.description import TeacherDescription
from sed_model.teacher.runner import load_teacher
from tests.hostile import refusal
from tests.teachers import WRITERS, describe, tiny_teacher

both = pytest.mark.parametrize("suffix", WRITERS)
RAMP = np.arange(8, dtype=np.float32) / 8
"""Its mean is 7/16, its first sample 0, its last one 7/8."""


@both
def test_embedding_and_logits_of_windows(tmp_path: Path, suffix: str) -> None:
    teacher = load_teacher(tiny_teacher(tmp_path, suffix), is_tried=True)
    assert (teacher.dim, teacher.n_logits) == (3, 4)
    heard = teacher.hear(np.stack([RAMP, np.full(8, 0.5, np.float32)]))
    np.testing.assert_allclose(heard.embeddings, [[0.4375, 0, 0.875], [0.5, 0.5, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(heard.logits, [[0.4375, 0, 2.625, 1.3125], [0.5, 1, 1.5, 1.5]], rtol=1e-6)


@both
def test_a_description_without_logits_gives_none(tmp_path: Path, suffix: str) -> None:
    teacher = load_teacher(tiny_teacher(tmp_path, suffix, logits=None, labels=None), is_tried=True)
    assert teacher.n_logits == 0
    assert teacher.hear(RAMP[None]).logits.shape == (1, 0)


@both
def test_no_windows_give_no_rows(tmp_path: Path, suffix: str) -> None:
    heard = load_teacher(tiny_teacher(tmp_path, suffix), is_tried=True).hear(np.empty((0, 8), np.float32))
    assert (heard.embeddings.shape, heard.logits.shape) == ((0, 3), (0, 4))


@both
def test_a_teacher_pickles_as_its_description(tmp_path: Path, suffix: str) -> None:
    teacher = load_teacher(tiny_teacher(tmp_path, suffix), is_tried=True)
    copy = pickle.loads(pickle.dumps(teacher))  # noqa: S301 - its own
    np.testing.assert_array_equal(copy.hear(RAMP[None]).logits, teacher.hear(RAMP[None]).logits)
    assert len(pickle.dumps(teacher)) < 2_000


def refused_file(description: TeacherDescription, *words: str) -> str:
    return refusal(lambda: load_teacher(description), str(description.file), *words, kind=ConfigError)


NO_MODELS = {"nothing": b"", "text": b"no model at all", "zeros": bytes(2_000), "a head alone": b"\x1c\0\0\0TFL3"}


@both
@pytest.mark.parametrize("content", NO_MODELS.values(), ids=NO_MODELS)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    description = tiny_teacher(tmp_path, suffix)
    description.path.write_bytes(content)
    refused_file(description, "is no model of one input of 8 samples", "give another file")


@both
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    description = tiny_teacher(tmp_path, suffix)
    content = description.path.read_bytes()
    description.path.write_bytes(content[: int(share * len(content))])
    refused_file(description, "give another file")


@both
def test_the_other_runtime_s_file_is_refused(tmp_path: Path, suffix: str) -> None:
    (other,) = set(WRITERS) - {suffix}
    description = describe(WRITERS[other](tmp_path / "tiny", 8).rename(tmp_path / f"tiny{suffix}"))
    refused_file(description, "is no model", "give another file")


@both
def test_a_window_of_another_length_is_refused(tmp_path: Path, suffix: str) -> None:
    description = describe(WRITERS[suffix](tmp_path / f"tiny{suffix}", 9))
    refused_file(description)


@both
def test_a_tensor_that_is_not_there_is_named_with_the_nearest(tmp_path: Path, suffix: str) -> None:
    description = tiny_teacher(tmp_path, suffix, embedding="embeding")
    refused_file(description, "'embeding'", "did you mean embedding?", "logits")


@both
def test_labels_of_another_model_are_refused(tmp_path: Path, suffix: str) -> None:
    description = tiny_teacher(tmp_path, suffix)
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    refusal(lambda: load_teacher(description), "4 logits", "2 labels", kind=ConfigError)


@both
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_says_no_numbers_is_refused(tmp_path: Path, suffix: str, value: float) -> None:
    weights = np.full((3, 8), value, np.float32)
    teacher = load_teacher(describe(WRITERS[suffix](tmp_path / f"tiny{suffix}", 8, weights)), is_tried=True)
    refusal(lambda: teacher.hear(RAMP[None]), "tiny", "NaN or Inf", "damaged", kind=ConfigError)


@both
def test_a_runtime_that_is_not_installed_is_named_with_the_repair(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PACKAGES", dict.fromkeys(WRITERS, "no_such_runtime"))
    description = tiny_teacher(tmp_path, suffix)
    refusal(lambda: load_teacher(description), "no-such-runtime", "pip install '.[teacher]'", kind=ConfigError)
