"""A round of students against its teacher: on the same windows, by a bootstrap over their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sed_model.core.errors import CheckpointError
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.out_of_fold import score
from sed_model.run_folder.predictions import write_predictions
from tests.windows import Windows
from trainables.searching.round_scores import lead_of, predictions_of, score_of

TARGETS = np.random.default_rng(0).integers(0, 2, (40, 2)).astype(np.float32)


def write_run(run: Path, error: float, files: list[int]) -> Path:
    """A run of one trial: the truth with so much noise, a file's windows after another's."""
    noise = np.random.default_rng(1).random(TARGETS.shape)
    rows = np.concatenate([np.arange(4) + 4 * file for file in files])
    folder = RunFolder(run).trial(0)
    RunFolder(run).write_tables([{"trial_id": folder.name, "number": 0, "status": "complete", "macro_auc": 0.5}], [])
    starts = np.tile(np.arange(4) * 5.0, len(files))
    windows = Windows([f"{file}.ogg" for file in np.repeat(files, 4)], starts, starts + 5, TARGETS[rows])
    said = ((1 - error) * TARGETS + error * noise)[rows].astype(np.float32)
    write_predictions(folder / "oof.parquet", windows, said, ("a", "b"))
    return run


def test_windows_are_compared_whatever_their_order(tmp_path: Path) -> None:
    teacher = write_run(tmp_path / "teacher", 0.75, list(range(10)))
    student = write_run(tmp_path / "student", 0.4, list(range(9, -1, -1)))

    lead = lead_of(student, teacher)

    assert score_of(student) == 1
    assert lead.mean == pytest.approx(1 - score_of(teacher))
    assert lead.p_better == 1
    assert lead_of(teacher, student).p_better == 0


def test_a_round_is_compared_by_its_own_metric(tmp_path: Path) -> None:
    """The teacher was searched by macro AUC: it is scored anew by the student's."""
    teacher = write_run(tmp_path / "teacher", 0.75, list(range(10)))
    student = write_run(tmp_path / "student", 0.4, list(range(10)))
    (row,) = RunFolder(student).read_trials()
    RunFolder(student).write_tables([row | {"cmap": 0.3}], [])

    said = predictions_of(teacher)
    assert lead_of(student, teacher).mean == pytest.approx(1 - score(said, "cmap"))
    assert score_of(teacher) == score(said, "macro_auc") != score(said, "cmap")


def test_a_round_without_a_model_is_named(tmp_path: Path) -> None:
    row = {"trial_id": "trial_0000", "number": 0, "status": "failed", "macro_auc": None}
    RunFolder(tmp_path / "run").write_tables([row], [])
    with pytest.raises(CheckpointError, match="run: no trial has a model"):
        score_of(tmp_path / "run")


def test_a_round_is_no_better_than_itself(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 0.75, list(range(10)))
    assert (lead_of(run, run).mean, lead_of(run, run).p_better) == (0, 0.5)


def test_what_both_were_validated_on_counts(tmp_path: Path) -> None:
    """A student without finalists has heard three of four parts: only the fourth compares."""
    teacher = write_run(tmp_path / "teacher", 0.75, list(range(10)))
    student = write_run(tmp_path / "student", 0.75, [8, 9, 2])

    assert (lead_of(student, teacher).mean, lead_of(student, teacher).p_better) == (0, 0.5)


def test_rounds_that_were_validated_on_other_windows_do_not_compare(tmp_path: Path) -> None:
    teacher, student = write_run(tmp_path / "teacher", 0.5, [0, 1, 2]), write_run(tmp_path / "student", 0.5, [3, 4])
    with pytest.raises(CheckpointError, match="student: was validated on other windows than teacher; train the round"):
        lead_of(student, teacher)
