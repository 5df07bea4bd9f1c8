from dataclasses import replace
from pathlib import Path

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.pareto import pareto_front
from analysis.tables import Run, read_run


def run_of(points: list[tuple[float, float]]) -> Run:
    trials = pd.DataFrame(points, columns=["macro_auc", "cpu_ms_per_window"]).assign(status="complete", params_m=1.0)
    trials["number"] = range(len(trials))
    trials["trial_id"] = trials["number"].map("t{}".format)
    return Run(Path(), {}, trials, pd.DataFrame())


def test_a_dearer_trial_that_is_no_better_is_not_on_the_front(tiny_run: Path) -> None:
    front = pareto_front(read_run(tiny_run))

    assert front["trial_id"].tolist() == ["trial_0002", "trial_0000", "trial_0005", "trial_0001", "trial_0003"]
    assert front["on_front"].tolist() == [True, True, False, True, True]


def test_trials_equal_in_both_share_the_front() -> None:
    assert pareto_front(run_of([(0.8, 10.0), (0.8, 10.0), (0.8, 11.0)]))["on_front"].tolist() == [True, True, False]


def test_failed_trials_are_left_out(tiny_run: Path) -> None:
    run = read_run(tiny_run)

    assert pareto_front(replace(run, trials=run.trials.assign(status="failed"))).empty


grid = st.tuples(st.integers(0, 5).map(lambda score: score / 5), st.integers(1, 5).map(float))


@settings(deadline=None)
@given(st.lists(grid, min_size=1, max_size=20))
def test_the_front_is_what_no_other_trial_dominates(points: list[tuple[float, float]]) -> None:
    front = pareto_front(run_of(points))

    for row in front.itertuples():
        dominated = any(
            score >= row.macro_auc
            and cost <= row.cpu_ms_per_window
            and (score, cost) != (row.macro_auc, row.cpu_ms_per_window)
            for score, cost in points
        )
        assert row.on_front != dominated
