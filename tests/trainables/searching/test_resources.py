"""How many trials a cluster's memory holds, what is told of it, and what trials reserve."""

from __future__ import annotations

from pathlib import Path

import pytest

from sed_model.config.sed_config import SedConfig
from trainables.on_ray.cluster import ClusterInfo, Node
from trainables.searching.dry_run import machine_lines
from trainables.searching.resources import (
    at_a_time,
    memory_note,
    memory_text,
    memory_to_reserve,
    trial_resources,
)
from trainables.spaces.search_space import SearchSpace
from trainables.trials.trial import SearchJob

GB = 10**9
OWL, WREN = Node("a", "owl (10.0.0.1)", 8, 0, 10 * GB), Node("b", "wren (10.0.0.2)", 4, 0, 5 * GB)
"""Of trials of 2 GB each memory holds 5 and 2, and cores 8 and 4."""
SHORT = ClusterInfo(12, 0, "", (OWL, WREN))


def job_of(trial_bytes: int, workers: int = 0) -> SearchJob:
    space = SearchSpace("x", SedConfig())
    return SearchJob(space, Path("data"), Path("run"), ("pretrain_ce",), 1.0, 1, 0, workers, trial_bytes=trial_bytes)


@pytest.mark.parametrize(
    ("trial_gb", "asked", "n_trials", "expected"),
    [(2, None, 40, 7), (2, None, 6, 6), (2, 12, 40, 12), (2, 20, 40, 12), (11, None, 40, 1), (0, None, 40, 12)],
)
def test_no_more_trials_at_once_than_find_memory_unless_asked_for(
    trial_gb: int, asked: int | None, n_trials: int, expected: int
) -> None:
    """5 on owl and 2 on wren; a single one always runs, and where nothing is known the cores decide."""
    assert at_a_time(job_of(trial_bytes=trial_gb * GB), SHORT, asked, n_trials) == expected


def test_what_one_machine_lacks_another_does_not_lend() -> None:
    job = job_of(trial_bytes=4 * GB)  # 2 on owl, 1 on wren, where together there would be room for 3.75

    assert at_a_time(job, SHORT, None, 40) == 3
    assert [line.rpartition("room")[2] for line in machine_lines(job, SHORT)] == [
        " for 8 trials, memory for 2", " for 4 trials, memory for 1"
    ]  # fmt: skip


def test_the_workers_of_a_trial_each_find_memory() -> None:
    job = job_of(workers=2, trial_bytes=2 * GB)

    assert at_a_time(job, SHORT, None, 40) == 3  # of 7 workers
    assert memory_text(job, SHORT, 3, 40) == "a trial takes about 4 GB; 3 at once need 12 GB of 15 GB free"


SMALLER = "lower optim.batch_size or data.window_s, or choose a smaller model.backbone"


@pytest.mark.parametrize(
    ("trial_gb", "asked", "expected"),
    [
        (1.25, None, "a trial takes about 1.2 GB; 12 at once need 15 GB of 15 GB free"),
        (2, 7, "a trial takes about 2 GB; 7 at once need 14 GB of 15 GB free"),
        (2, 9, "a trial takes about 2 GB; 9 at once need 18 GB of 15 GB free: too little; --max-concurrent 7 fits"),
        (2, None, "a trial takes about 2 GB; 7 at once need 14 GB of 15 GB free, too little for 12, which there are "
         f"cores for; {SMALLER}, or insist with --max-concurrent 12"),
        (11, None, f"a trial takes about 11 GB; 1 at once need 11 GB of 15 GB free: perhaps too little; {SMALLER}"),
        (0, None, "not estimated for trials with GPUs"),
    ],
)  # fmt: skip
def test_what_trials_take_of_the_memory_is_told(trial_gb: float, asked: int | None, expected: str) -> None:
    job = job_of(trial_bytes=round(trial_gb * GB))

    assert memory_text(job, SHORT, asked, 40) == expected
    assert (memory_note(job, SHORT, asked, 40) == f"note: memory: {expected}") is ("little" in expected)


@pytest.mark.parametrize(
    ("trial_gb", "asked", "cluster", "reserved"),
    [
        (2, None, SHORT, {"CPU": 1, "memory": 2 * GB}),
        (11, None, SHORT, {"CPU": 1, "memory": 10 * GB}),  # or no machine would ever take it
        (2, 9, SHORT, {"CPU": 1}),
        (2, None, ClusterInfo(8, 0, "", (OWL,)), {"CPU": 1}),  # the number of trials is enough there
    ],
)
def test_on_several_machines_a_trial_reserves_its_memory(
    trial_gb: int, asked: int | None, cluster: ClusterInfo, reserved: dict[str, float]
) -> None:
    job = job_of(trial_bytes=trial_gb * GB)

    assert trial_resources(job, memory_to_reserve(job, cluster, asked)) == reserved
