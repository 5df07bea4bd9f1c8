from dataclasses import replace
from pathlib import Path

import pytest

from analysis.costs import cost, cost_by_status, cpus_per_trial, pareto_front
from analysis.tables import Run, read_run


def with_command(run: Run, command: str) -> Run:
    return replace(run, search=run.search | {"command": command})


def test_core_hours_and_what_pruning_saved(tiny_run: Path) -> None:
    run = with_command(read_run(tiny_run), "python -m trainables.search --cpus-per-trial 4")

    row = cost(run).iloc[0]

    # 14 epochs of 30 s; two trials stopped three epochs early.
    assert row["core_hours"] == pytest.approx(4 * 14 * 30 / 3600)
    assert row["hours_saved"] == pytest.approx(6 * 30 / 3600)


@pytest.mark.parametrize(
    ("command", "cpus"),
    [
        ("search --cpus-per-trial=2 --workers-per-trial 3", 6),
        ("search --workers-per-trial auto", 1),
        ("search --name 'it is", 1),
        ("", 1),
    ],
)
def test_cpus_are_those_of_the_command(tiny_run: Path, command: str, cpus: int) -> None:
    assert cpus_per_trial(with_command(read_run(tiny_run), command)) == cpus


def test_cost_by_status(tiny_run: Path) -> None:
    table = cost_by_status(read_run(tiny_run)).set_index("status")

    assert table["n_trials"].to_dict() == {"complete": 3, "pruned": 2, "failed": 1, "running": 1}
    assert table["epochs"].to_dict() == {"complete": 12, "pruned": 2, "failed": 0, "running": 0}


def test_the_front_is_by_cost_without_failed_trials(run: Run) -> None:
    front = pareto_front(run)

    assert front["trial_id"].tolist() == ["trial_0002", "trial_0000", "trial_0005", "trial_0001", "trial_0003"]
    assert front["on_front"].tolist() == [True, True, False, True, True]
    assert pareto_front(replace(run, trials=run.trials.assign(status="failed"))).empty
