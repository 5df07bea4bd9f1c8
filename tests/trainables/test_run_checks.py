"""The checks of the chaos script: each fault that they look for is made here, and has to be found."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from _run_checks import Ledger, problems_of

from sed_model.run_folder.folder import RunFolder
from trainables.searching.searcher import STUDY_NAME, open_journal

pytestmark = pytest.mark.slow  # a finished search
Rows = list[dict[str, Any]]
N_TRIALS = 8


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> RunFolder:
    """A copy of the finished run."""
    return RunFolder(Path(shutil.copytree(finished_run, tmp_path / "run")))


def test_nothing_is_wrong_with_a_finished_run(run: RunFolder) -> None:
    ledger = Ledger(run.path)

    assert problems_of(run.path, N_TRIALS) == []
    assert (ledger.look(), len(ledger), ledger.look()) == ([], N_TRIALS, [])


def change_status(trials: Rows, curves: Rows) -> None:
    trials[0]["status"] = "pruned" if trials[0]["status"] == "complete" else "complete"


def raise_score(trials: Rows, curves: Rows) -> None:
    trials[0]["macro_auc"] += 0.01


def lose_an_epoch(trials: Rows, curves: Rows) -> None:
    del curves[0]


def change_an_epoch(trials: Rows, curves: Rows) -> None:
    curves[0]["macro_auc"] = 0.0


def lose_a_trial(trials: Rows, curves: Rows) -> None:
    del trials[-1]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (change_status, r"trial_0000: (pruned|complete) in the table, (PRUNED|COMPLETE) in the journal"),
        (raise_score, "trial_0000: has the score .*, its curve reaches"),
        (lose_an_epoch, r"trial_0000: ran \d epochs, its curve has \[2"),
        (change_an_epoch, "trial_0000: Optuna was told another curve"),
        (lose_a_trial, r"trials.parquet has the numbers \[0, 1, 2, 3, 4, 5, 6\]"),
    ],
)
def test_tables_that_do_not_fit_together(run: RunFolder, change: Callable[[Rows, Rows], None], problem: str) -> None:
    trials, curves = run.read_trials(), run.read_curves()
    change(trials, curves)
    run.write_tables(trials, curves)

    assert any(re.match(problem, found) for found in problems_of(run.path, N_TRIALS))


def test_what_was_left_over(run: RunFolder) -> None:
    (run.trial(3) / "state.pt").touch()
    (run.path / ".trials.parquet.1234.tmp").touch()

    assert problems_of(run.path, N_TRIALS) == [
        "left over: .trials.parquet.1234.tmp", "left over: trials/trial_0003/state.pt",
    ]  # fmt: skip


def test_a_model_of_another_epoch(run: RunFolder) -> None:
    (run.trial(2) / "model.safetensors").write_bytes(b"")

    (problem,) = problems_of(run.path, N_TRIALS)
    assert problem.startswith("trial_0002: ")
    assert "does not match the checksum" in problem


def test_a_trial_that_runs_on_in_the_study(run: RunFolder) -> None:
    optuna.load_study(study_name=STUDY_NAME, storage=open_journal(run.journal)).ask()

    assert problems_of(run.path, N_TRIALS) == ["optuna.journal has the numbers [0, 1, 2, 3, 4, 5, 6, 7, 8]"]


def test_a_board_of_other_trials(run: RunFolder) -> None:
    lines = run.leaderboard.read_text().splitlines()
    run.leaderboard.write_text("\n".join([lines[0], lines[2], lines[1], *lines[3:]]))

    assert problems_of(run.path, N_TRIALS) == ["leaderboard.csv does not rank what trials.parquet holds"]


def test_a_trial_that_has_ended_is_remembered(run: RunFolder) -> None:
    ledger = Ledger(run.path)
    assert ledger.look() == []
    trials = run.read_trials()
    trials[1]["duration_s"] += 1
    (run.trial(2) / "model.safetensors").write_bytes(b"")
    run.write_tables([row for row in trials if row["number"] != 5], run.read_curves())

    assert sorted(ledger.look()) == [
        "trial_0001: had ended, and has changed",
        "trial_0002: had ended, and has changed",
        "trial_0005: had ended, and is lost",
    ]
