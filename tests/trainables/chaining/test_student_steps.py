"""How many rounds of students a chain trains, and which one it keeps. The rounds themselves are test_student.py's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sed_model.run_folder.delivered import Lead
from trainables.chaining import student_steps as steps
from trainables.chaining.budget import Plan
from trainables.chaining.ledger import CHAIN_FILE, Ledger, Record, Step
from trainables.chaining.options import ChainOptions
from trainables.searching.rounds import Round

PLAN = Plan(n_trials=2, search_until_s=10, n_finalists=0, finalists_s=0, n_rounds=1, round_s=60, end_s=100)
GAIN, LITTLE, WORSE = (0.02, 0.9), (0.005, 0.6), (-0.02, 0.04)
"""Means and chances of leads whose error is 0.01."""


@pytest.fixture
def chain(tmp_path: Path) -> ChainOptions:
    return ChainOptions("chain", data=tmp_path / "data", out=tmp_path, name="run")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[int, str]]]:
    """Has rounds come to some leads; the numbers and teachers of those that are trained come back."""

    def lead_to(*leads: tuple[float, float]) -> list[tuple[int, str]]:
        asked: list[tuple[int, str]] = []

        def run_round(number: int, teacher: Path, *_: Any) -> Round:
            asked.append((number, teacher.name))
            mean, p_better = leads[number - 1]
            lead = Lead(mean=mean, se=0.01, p_better=p_better, shrunken=mean / 2)
            return Round(teacher.with_name(f"run-student-{number}"), "macro_auc", 0.8, lead)

        monkeypatch.setattr(steps, "run_round", run_round)
        monkeypatch.setattr(steps, "can_teach", lambda run: True)
        return asked

    return lead_to


@pytest.mark.parametrize(
    ("leads", "n_trained", "kept"),
    [((GAIN, GAIN, GAIN), 3, 3), ((GAIN, LITTLE, GAIN), 2, 2), ((LITTLE, GAIN, GAIN), 1, 1), ((GAIN, WORSE), 2, 1),
     ((WORSE,), 1, 0)],
)  # fmt: skip
def test_rounds_follow_while_they_gain_their_error_and_the_last_one_is_kept_unless_proven_worse(
    leads: tuple[tuple[float, float], ...], n_trained: int, kept: int, chain: ChainOptions, trained: Callable[..., Any]
) -> None:
    asked, ledger = trained(*leads), Ledger(chain.folder, chain.settings())
    steps.student_steps(chain, ledger, PLAN)

    assert asked == [(n, "run" if n == 1 else f"run-student-{n - 1}") for n in range(1, n_trained + 1)]
    assert ledger.record.kept_round == kept


def test_rounds_that_are_done_are_not_trained_again(chain: ChainOptions, trained: Callable[..., Any]) -> None:
    trained(GAIN, LITTLE)
    steps.student_steps(chain, Ledger(chain.folder, chain.settings()), PLAN)
    asked, again = trained(GAIN, LITTLE), Ledger(chain.folder, chain.settings())
    steps.student_steps(chain, again, PLAN)

    assert asked == []
    assert again.record.kept_round == 2


def test_a_round_that_does_not_fit_into_the_time_is_cut(
    tmp_path: Path, trained: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour less the 100 s of the end; the first round took 3000 s, and ended 3200 s after the chain began."""
    chain = ChainOptions("chain", data=tmp_path / "data", out=tmp_path, name="run", hours=1)
    asked, lead = trained(GAIN, GAIN), Lead(mean=0.02, se=0.01, p_better=0.9, shrunken=0.01)
    first = Step(began_s=200, ended_s=3200, done=steps.Done(lead=lead))
    chain.folder.mkdir()
    text = Record(settings=chain.settings(), spent_s=3200, steps={"student 1": first}).model_dump_json()
    (chain.folder / CHAIN_FILE).write_text(text)
    ledger = Ledger(chain.folder, chain.settings())
    steps.student_steps(chain, ledger, PLAN)

    assert asked == []
    assert ledger.record.kept_round == 1
    assert capsys.readouterr().out == "cut: student 2: a round takes about 50 min, and 5 min are left\n"


def test_without_labels_there_are_no_students(
    chain: ChainOptions,
    trained: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked, ledger = trained(GAIN), Ledger(chain.folder, chain.settings())
    monkeypatch.setattr(steps, "can_teach", lambda run: False)
    steps.student_steps(chain, ledger, PLAN)

    assert asked == []
    assert ledger.record.kept_round == 0
    assert "no students: run has no pseudo-labels that could teach" in capsys.readouterr().out
