"""The driver of a large search: searcher, scheduler and recorder without Ray, and all of it with Ray.

Trials are imaginary: they report made-up scores at once. What is measured is what the driver does for each.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import ray
from _scale import N_NODES, N_TRIALS, Points, block_means, rss_mb, timed
from ray.cluster_utils import Cluster
from ray.tune.schedulers import TrialScheduler

from sed_model.config.stages import StagePlan, plan_stages
from sed_model.run_folder.folder import RunFolder
from trainables.on_ray.cluster import prepare_environment, ray_session
from trainables.search import parse
from trainables.searching.asha import Asha
from trainables.searching.recorder import Recorder
from trainables.searching.searcher import SedSearcher
from trainables.searching.setup import Prepared
from trainables.searching.tune_run import search
from trainables.spaces.load import load_space, with_settings
from trainables.spaces.search_space import SearchSpace
from trainables.spaces.settings import AshaSettings
from trainables.trials.trial import SearchJob

SPACE = "full.yaml"
BLOCKS = 5
"""Costs are averaged over so many parts of a search."""
NODES_START_WITHIN_S = 600
PARTS = ("draw", "report", "schedule", "record")

Out = TypeVar("Out")


class Clock:
    """CPU time of this process by what it was spent for, summed up to each trial that ended."""

    def __init__(self) -> None:
        self._ms: defaultdict[str, float] = defaultdict(float)
        self.after_trial: list[dict[str, float]] = []

    def run(self, part: str, work: Callable[..., Out], *arguments: Any) -> Out:
        start_s = time.process_time()
        try:
            return work(*arguments)
        finally:
            self._ms[part] += 1000 * (time.process_time() - start_s)

    def trial_ended(self) -> None:
        self.after_trial.append({part: self._ms[part] for part in PARTS})


class ImaginaryTrial:
    """What Tune knows of a trial, and what the trial would report after each epoch."""

    error_file = None

    def __init__(self, place: int) -> None:
        self.trial_id = f"trial{place}"
        self.config: dict[str, Any] = {}
        self.epoch, self._best = 0, 0.0
        self._rng = np.random.default_rng(place)
        self._quality = self._rng.uniform(0.5, 0.9)

    def train(self, plans: list[StagePlan]) -> dict[str, Any]:
        self.epoch += 1
        score = float(self._quality * (1 - math.exp(-self.epoch / 4)) + self._rng.normal(0, 0.01))
        self._best = max(self._best, score)
        return imaginary_report(self.epoch, score, self._best, [(plan.name, plan.last_epoch) for plan in plans])


def imaginary_report(epoch: int, score: float, best: float, stages: list[tuple[str, int]]) -> dict[str, Any]:
    return {
        "stage": next(name for name, last in stages if epoch <= last), "epoch": epoch, "stage_epoch": epoch,
        "epochs": stages[-1][1], "train_loss": 0.5, "val_loss": 0.5, "macro_auc": score, "best_macro_auc": best,
        "best_stage": "train_bce", "best_epoch": epoch,
        "lr": 1e-3, "samples_per_s": 50.0, "finished": epoch == stages[-1][1], "params_m": 4.0,
        "cpu_ms_per_window": 20.0, "time_total_s": 10.0 * epoch, "training_iteration": epoch, "note": "",
    }  # fmt: skip


@dataclass(frozen=True)
class Driver:
    """The parts of a search that Tune calls."""

    searcher: SedSearcher
    scheduler: Asha
    recorder: Recorder
    plans: list[StagePlan]
    clock: Clock

    def start(self, trial: ImaginaryTrial) -> None:
        point = self.clock.run("draw", self.searcher.suggest, trial.trial_id)
        assert isinstance(point, dict)
        trial.config = point
        self.clock.run("schedule", self.scheduler.on_trial_add, None, trial)
        self.clock.run("record", self.recorder.on_trial_start, 0, [], trial)

    def step(self, trial: ImaginaryTrial) -> bool:
        """Train an epoch; whether that was the trial's last one."""
        result = trial.train(self.plans)
        self.clock.run("record", self.recorder.on_trial_result, 0, [], trial, result)
        decision = self.clock.run("schedule", self.scheduler.on_trial_result, None, trial, result)
        ends = bool(decision == TrialScheduler.STOP or result["finished"])
        if ends:
            self.clock.run("report", self.searcher.on_trial_complete, trial.trial_id, result)
            self.clock.run("record", self.recorder.on_trial_complete, 0, [], trial)
        else:
            self.clock.run("report", self.searcher.on_trial_result, trial.trial_id, result)
        self.clock.run("record", self.recorder.on_step_end, 0, [])
        return ends


def replay(driver: Driver, n_trials: int, at_a_time: int) -> None:
    """The search as Tune runs it, without Ray."""
    running: list[ImaginaryTrial] = []
    n_started = 0
    while n_started < n_trials or running:
        while n_started < n_trials and len(running) < at_a_time:
            running.append(ImaginaryTrial(n_started))
            driver.start(running[-1])
            n_started += 1
        for trial in list(running):
            if driver.step(trial):
                running.remove(trial)
                driver.clock.trial_ended()


def measure_driver(n_trials: int, folder: Path) -> Mapping[str, Points]:
    """What the driver's own parts cost for a trial, and what they leave behind."""
    space = with_settings(load_space(Path(SPACE)), {"num_trials": n_trials})
    plans = plan_stages(space.base, space.search.stages, space.search.epochs_scale)
    scheduler = Asha(space.search.scheduler or AshaSettings(), plans)
    scheduler.set_search_properties("best_macro_auc", "max")
    run, clock = RunFolder(folder), Clock()
    recorder = Recorder(run, space.config, n_trials, {})
    driver = Driver(SedSearcher(space, run.journal), scheduler, recorder, list(plans), clock)
    with contextlib.redirect_stdout(io.StringIO()), patch.object(os, "fsync", side_effect=os.fsync) as fsync:
        replay(driver, n_trials, at_a_time=N_NODES)
    recorder.flush()
    waits = {"driver, waits for the disk": {n_trials: fsync.call_count / n_trials}}
    return trial_costs(clock.after_trial) | waits | journal_growth(space, run, n_trials)


def trial_costs(after_trial: Sequence[Mapping[str, float]]) -> dict[str, Points]:
    """Only while each trial that ends makes room for one that is drawn: not the first round, nor the last one."""
    sums = {part: [row[part] for row in after_trial[N_NODES:-N_NODES]] for part in PARTS}
    sums["together"] = [math.fsum(column) for column in zip(*sums.values(), strict=True)]
    return {f"driver, {part}": block_means(totals, BLOCKS, N_NODES) for part, totals in sums.items()}


def journal_growth(space: SearchSpace, run: RunFolder, n_trials: int) -> dict[str, Points]:
    """Size of the study's file, and how long a resumed search takes to read it."""
    lines = run.journal.read_bytes().splitlines(keepends=True)
    megabytes, seconds = {}, {}
    for size in (n_trials // 4, n_trials // 2, n_trials):
        part = run.path / "part.journal"
        part.write_bytes(b"".join(lines[: len(lines) * size // n_trials]))
        megabytes[size] = part.stat().st_size / 1e6
        _, seconds[size] = timed(SedSearcher, space, part)
    return {"optuna.journal": megabytes, "optuna.journal, read by a resumed search": seconds}


class Marks(io.StringIO):
    """Standard output that notes when trials start and end, in the driver's CPU time and by the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.starts_s: list[float] = []
        self.ends_s: list[float] = []
        self.cpu_ms: list[float] = []

    def write(self, text: str) -> int:
        if re.match(r"trial_\d+ starts", text):
            self.starts_s.append(time.monotonic())
        if re.search(r"of \d+ trials", text):
            self.ends_s.append(time.monotonic())
            self.cpu_ms.append(1000 * time.process_time())
        return super().write(text)


def measure_tune(n_trials: int, folder: Path) -> Mapping[str, Points]:
    """The search command's search on a cluster of this machine, whose nodes have CPUs in name only."""
    n_nodes, trials_a_node = (N_NODES, 1) if n_trials >= N_TRIALS else (2, 4)
    prepare_environment()
    node = {"num_cpus": trials_a_node, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    for _ in range(n_nodes - 1):
        cluster.add_node(wait=False, **node)
    cluster.wait_for_nodes(timeout=NODES_START_WITHIN_S)
    marks = Marks()
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no benchmarks/
    try:
        with ray_session(cluster.address) as info, contextlib.redirect_stdout(marks):
            search(imaginary_search(folder, n_trials), info, parse([]), imaginary_trial_of)
    finally:
        cluster.shutdown()
    n_slots = min(n_nodes * trials_a_node, n_trials)
    steady = marks.cpu_ms[n_slots:-n_slots]
    steady_s = marks.ends_s[-n_slots] - marks.ends_s[n_slots]
    return {
        "driver, with Ray Tune": block_means(steady, BLOCKS, n_slots),
        "first trials, all started after": {n_slots: marks.starts_s[n_slots - 1] - marks.starts_s[0]},
        "trials that end": {n_trials: len(steady) / steady_s},
        "driver, memory": {n_trials: rss_mb()},
        "files of Tune and tables": {n_trials: sum(path.is_file() for path in folder.rglob("*")) / n_trials},
    }


def imaginary_search(folder: Path, n_trials: int) -> Prepared:
    """A search that has no data: its trials need none."""
    space = with_settings(load_space(Path(SPACE)), {"num_trials": n_trials})
    job = SearchJob(
        space=space, data_dir=folder, run_dir=folder / "run", stages=space.search.stages,
        epochs_scale=space.search.epochs_scale, cpus_per_trial=1, gpus_per_trial=0, workers_per_trial=0,
    )  # fmt: skip
    data: Any = None
    return Prepared(RunFolder(folder / "run"), space, job, data, record={})


def imaginary_trial_of(job: SearchJob) -> Callable[..., None]:
    """A trainable that does not import torch: 64 processes that did would not fit here."""
    plans = plan_stages(job.space.base, job.stages, job.epochs_scale)
    stages = [(str(plan.name), plan.last_epoch) for plan in plans]
    report = imaginary_report

    def trial(point: Mapping[str, Any]) -> None:  # pickled by its content: a worker imports none of this
        import math
        import random

        from ray import tune

        rng = random.Random(point["number"])
        quality, best = rng.uniform(0.5, 0.9), 0.0
        for epoch in range(1, stages[-1][1] + 1):
            score = quality * (1 - math.exp(-epoch / 4)) + rng.gauss(0, 0.01)
            best = max(best, score)
            tune.report(report(epoch, score, best, stages))

    return trial
