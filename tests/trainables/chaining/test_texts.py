"""What a chain tells: plans and summaries as they are printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainables.chaining.budget import Costs, Plan, Wanted
from trainables.chaining.ledger import Done, Record, Step
from trainables.chaining.options import ChainOptions
from trainables.chaining.texts import plan_lines, span, summary_lines

WANTED = Wanted(
    n_trials=40, n_finalists=3, n_rounds=3, trial_epochs=14, mean_trial_epochs=8, finalist_epochs=30, student_epochs=12
)
CHAIN = ChainOptions("chain", data=Path("/d/birds"), out=Path("/runs"), hours=10)


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0 s"), (99.4, "99 s"), (100, "2 min"), (5900, "98 min"), (7500, "2 h 05 min")]
)
def test_a_time_is_told_in_the_unit_that_fits(seconds: float, told: str) -> None:
    assert span(seconds) == told


def test_before_anything_is_measured_the_plan_tells_shares() -> None:
    lines = plan_lines(CHAIN, WANTED, Record(settings={}), None)

    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert cells[2] == ["search", "from 2 h 42 min", "up to 40 trials in all, of 14 epochs", "/runs/birds"]
    assert cells[3][1:3] == ["up to 3 h 36 min", "up to 3 best and the default, 4 trainings of 30 epochs each"]
    assert cells[5][1] == "up to 2 h 42 min"
    assert cells[7] == ["kaggle", "part of 60 min", "models, graphs, code and a notebook", "/runs/birds-chain/kaggle"]


def test_then_it_tells_what_fits_and_what_is_done() -> None:
    steps = {"first trials": Step(began_s=0, ended_s=1200), "search": Step(began_s=1200, ended_s=4800)}
    costs = Costs(epoch_s=40, at_a_time=2)
    record = Record(settings={}, wanted=WANTED, costs=costs, n_first_trials=2, steps=steps)
    plan = Plan(20, search_until_s=6000, n_finalists=1, finalists_s=4800, n_rounds=0, round_s=9000, end_s=3600)

    lines = plan_lines(CHAIN, WANTED, record, plan)

    assert lines[1].startswith("first trials     done, 20 min    ")
    assert lines[2].startswith("search           done, 60 min    20 trials in all, ")
    assert "about 80 min" in lines[3]
    assert "  1 best and the default, 4 trainings of 30 epochs each" in lines[3]
    assert lines[5].split() == ["students", "none", "-", "-"]


def test_the_summary_has_a_line_a_step_and_says_what_was_cut() -> None:
    steps = {
        "search": Step(began_s=0, ended_s=90, done=Done(score="0.8604", said="6 trials, the best is trial_0002")),
        "labels": Step(began_s=90, ended_s=95, done=Done(said="none: no unlabelled soundscapes")),
    }
    record = Record(settings={}, spent_s=600, steps=steps, cut={"search": "34 of 40 trials"})

    assert list(summary_lines(record, 3600)) == [
        "step    score   time",
        "search  0.8604  90 s  6 trials, the best is trial_0002",
        "labels  -       5 s   none: no unlabelled soundscapes",
        "scores: macro AUC on what validates, never on test data; each model scores only what it has not heard",
        "cut: 34 of 40 trials",
        "in all 10 min of 60 min",
    ]
