"""What a search is asked to do beyond its space: the options of the search command, with their defaults."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from sed_model.core import cli

DEFAULT_TOP_K = 3


@dataclass(frozen=True)
class SearchOptions:
    """A field an option, as `python -m trainables.search --help` explains it; None: the space's, or no limit.

    Attributes:
        command: what the user typed; the run folder tells how it was made.
        teachers: runs whose models have labelled into the run's `taught`; none: `teacher` has its own labels.
        overrides: `key=value` of each --set.
        time_budget: in seconds.
        stages: names with commas between them.
        track: mlflow, mlflow:URI, wandb or none; None: as the run that is gone on with.
        is_last: whether the search ends its command, and tells what to type next.
    """

    command: str
    space: str | None = None
    data: Path | None = None
    out: Path = Path("runs")
    name: str | None = None
    teacher: Path | None = None
    teachers: tuple[Path, ...] = ()
    resume: bool = False
    num_trials: int | None = None
    time_budget: float | None = None
    epoch_budget: int | None = None
    stages: str | None = None
    epochs_scale: float | None = None
    searcher: str | None = None
    scheduler: str | None = None
    cost: str | None = None
    warm_start: tuple[Path, ...] = ()
    seed: int | None = None
    overrides: tuple[str, ...] = ()
    max_concurrent: int | None = None
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    workers_per_trial: int | None = None
    address: str | None = None
    storage: str | None = None
    track: str | None = None
    dry_run: bool = False
    dashboard: bool = True
    top_k: int | None = None
    finalists: int | None = None
    refit_folds: tuple[int, ...] | None = None
    pseudo_labels: bool = True
    is_last: bool = True

    @property
    def n_workers(self) -> int:
        """Workers a trial. By default one Ray Train worker where trials have a GPU (they last long), none elsewhere.

        A Ray Train worker costs 30 s a trial.
        """
        return int(self.gpus_per_trial > 0) if self.workers_per_trial is None else self.workers_per_trial


def add_trial_resources(arguments: argparse._ActionsContainer) -> None:
    """What trials get, and where they run: options of a search, and of the searches of a student."""
    add = arguments.add_argument
    add("--max-concurrent", type=cli.positive_int, metavar="N", help="trials at a time (as many as fit)")
    add("--cpus-per-trial", type=cli.positive_int, default=1, metavar="N", help="CPUs per trial or worker (1)")
    add("--gpus-per-trial", type=cli.nonnegative_float, default=0.0, metavar="X", help="GPUs per trial or worker (0)")
    add(
        "--workers-per-trial",
        type=cli.workers,
        metavar="N",
        help="data-parallel workers; 0: inside the trial (auto: 1 with GPUs, else 0)",
    )
    add("--address", help="a running Ray cluster: auto, or host:6379 (default: a local Ray)")
