"""`--dry-run`: what a search would do, and where, without doing it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sed_model.audio.cache import cache_home
from sed_model.config.stages import plan_stages
from trainables.on_ray.cluster import ClusterInfo
from trainables.searching.recorder import describe_draw
from trainables.searching.resources import at_a_time, memory_slots, memory_text, slots, unused_gpus
from trainables.searching.searcher import SedSearcher
from trainables.searching.setup import Prepared
from trainables.spaces.rungs import describe_rungs
from trainables.spaces.search_space import space_size
from trainables.trials.trial import SearchJob

N_POINTS = 3


def print_dry_run(prepared: Prepared, cluster: ClusterInfo, max_concurrent: int | None) -> None:
    """Print the machines, the trials, the files, and the first points; nothing is written."""
    lines = [
        *machine_lines(prepared.job, cluster),
        *filter(None, [unused_gpus(prepared.job, cluster)]),
        "",
        *trial_lines(prepared, cluster, max_concurrent),
        "",
        *file_lines(prepared.job, several=len(cluster.machines) > 1),
        "",
        *(f"trial {number}: {text}" for number, text in first_points(prepared)),
    ]
    print(
        "\n".join(lines) + "\n\ndry run: no trial was started, no run folder written; leave --dry-run out to search",
        flush=True,
    )


def machine_lines(job: SearchJob, cluster: ClusterInfo) -> list[str]:
    """One line per machine: what it has, and how many trials, or workers of trials, it holds."""
    what = "workers" if job.workers_per_trial > 1 else "trials"
    return [
        f"{node.name:<40} {node.cpus:>4g} CPUs {node.gpus:>3g} GPUs   room for {slots(job, node)} {what}"
        + ("" if memory_slots(job, node) == slots(job, node) else f", memory for {memory_slots(job, node)}")
        for node in cluster.machines
    ]


def trial_lines(prepared: Prepared, cluster: ClusterInfo, max_concurrent: int | None) -> list[str]:
    """How many trials, of how many epochs, how many at a time, with which resources."""
    space, job = prepared.space, prepared.job
    settings = space.search
    plans = plan_stages(space.base, job.stages, job.epochs_scale)
    n_at_once = at_a_time(job, cluster, max_concurrent, settings.num_trials)
    workers = f"{job.workers_per_trial} Ray Train workers" if job.workers_per_trial else "one process"
    stages = ", ".join(f"{plan.name} {plan.epochs}" for plan in plans)
    stopped = "none" if settings.scheduler is None else "ASHA, which stops the weak ones early"
    return [
        f"trials           {settings.num_trials} of up to {plans[-1].last_epoch} epochs ({stages})",
        f"at a time        {n_at_once}, each {workers} with {job.cpus_per_trial} CPUs and {job.gpus_per_trial:g} GPUs",
        f"memory           {memory_text(job, cluster, max_concurrent, settings.num_trials)}",
        f"searcher         {settings.searcher}, seed {settings.seed}; scheduler: {stopped}",
        f"rungs            {describe_rungs(settings.scheduler, plans)}",
        f"space            {space.name}, {len(space.parameters)} parameters: {space_size(space)}",
    ]


def file_lines(job: SearchJob, several: bool) -> list[str]:
    """Where each kind of file goes."""
    if job.storage is not None:
        trials = f"{job.storage}; model, predictions and events also in {job.run_dir / 'trials'} when a trial has ended"
    else:
        trials = f"{job.run_dir / 'trials'}" + (", a folder that all machines share" if several else "")
    return [
        f"recordings       {job.data_dir}" + (", on every machine" if several else ""),
        f"audio cache      {cache_home(job.space.base.data)}" + (", on every machine" if several else ""),
        f"tables, journal  {job.run_dir}",
        f"trials' files    {trials}",
    ]


def first_points(prepared: Prepared) -> list[tuple[int, str]]:
    """Number, values and way of drawing of the first trials: drawn by the searcher itself, from a copy."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "optuna.journal"
        if prepared.run.journal.is_file():
            shutil.copyfile(prepared.run.journal, journal)
        searcher = SedSearcher(prepared.space, journal, None, prepared.earlier, portfolio=prepared.portfolio)
        left = prepared.space.search.num_trials - len(searcher.finished())
        points: Sequence[Any] = [searcher.suggest(str(place)) for place in range(min(N_POINTS, left))]
        return [(point["number"], describe_draw(point)) for point in points]
