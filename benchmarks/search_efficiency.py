"""How many epochs a search needs: recorded learning curves replayed through the real searcher and scheduler.

    python benchmarks/search_efficiency.py [--seeds 30] [--plot docs/pictures/search_efficiency.png]
    python benchmarks/search_efficiency.py --trials 8       (how good the best of a small search is)

A point that a searcher draws trains like the nearest recorded point of benchmarks/curves/esc10_mini.csv that its search
has not used yet: a training is not repeated. All methods start from the base configuration, run four trials at a time,
and are judged by the epochs until their best trial is within 1 % of the best of the table. A search that stopped the
best trials too early counts with all the epochs that the table gave it. Small searches run two trials at a time, and
are judged by their best score.

- random: independent draws, every trial to its end
- stock: Ray's OptunaSearch and ASHA as they come, with our first rung: stopped trials count as complete
- ours: SedSearcher and Asha
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
from _result import print_result
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from sed_model.config.stages import plan_stages
from trainables.searching.asha import Asha
from trainables.searching.searcher import SedSearcher
from trainables.spaces.distributions import Choice
from trainables.spaces.load import load_space
from trainables.spaces.rungs import rung_epochs
from trainables.spaces.search_space import SearchSpace
from trainables.spaces.settings import AshaSettings

CURVES = Path(__file__).parent / "curves"
METRIC = "best_macro_auc"
NO_TUNE: Any = None
"""The schedulers of trials that are replayed do not ask for it."""
WITHIN = 0.99
N_AT_A_TIME = 4
SMALL_AT_A_TIME = 2
SHOWN_EPOCHS = 720
TABLE = CURVES / "esc10_mini.csv"
LABELS = {
    "random": "random search",
    "stock": "OptunaSearch + ASHA",
    "ours": "SedSearcher + Asha",
}
TARGETS = {"random": 2.0, "stock": 1.0}


class RecordedCurves:
    """Macro AUC after each epoch of the recorded points, found by their place in the space."""

    def __init__(self, table: pd.DataFrame, space: SearchSpace, n_trials: int | None = None) -> None:
        self.space = space
        self._n_most = len(table) if n_trials is None else n_trials
        names = [name for name in table.columns if name.startswith("auc_")]
        # As trials report them: the best so far, which begins anew after the cross-entropy stage.
        stages = np.split(table[names].to_numpy(), [plan_stages(space.base, space.search.stages)[0].last_epoch], axis=1)
        self.curves = np.hstack([np.maximum.accumulate(scores, axis=1) for scores in stages])
        self._places = np.array([self._place(row) for row in table.to_dict("records")])
        self._unused = np.ones(len(table), dtype=bool)

    @property
    def best(self) -> float:
        return float(self.curves[:, -1].max())

    @property
    def left(self) -> int:
        """How many more trials a search may have."""
        return self._n_most - int((~self._unused).sum())

    def curve(self, values: dict[str, Any]) -> np.ndarray:
        """Best score so far after each epoch, of the unused recorded point nearest to `values`."""
        distances = np.abs(self._places - self._place(values)).sum(axis=1)
        nearest = np.where(self._unused, distances, np.inf).argmin()
        self._unused[nearest] = False
        return np.asarray(self.curves[nearest])

    def _place(self, values: dict[Any, Any]) -> np.ndarray:
        """Coordinates: ranges from 0 to 1 (rates by their logarithm), choices one coordinate a value, 0 or a half."""
        place: list[float] = []
        for parameter in self.space.parameters:
            value, known = values[parameter.key], parameter.distribution
            if isinstance(known, Choice):
                place += [0.5 * (value == choice) for choice in known.values]  # noqa: PD011
            elif known.kind == "loguniform":
                place.append(np.log(value / known.low) / np.log(known.high / known.low))
            else:
                place.append((value - known.low) / (known.high - known.low))
        return np.array(place)


@dataclass
class Running:
    trial: Any
    curve: np.ndarray
    epoch: int = 0


def replay(
    searcher: Any, scheduler: TrialScheduler, recorded: RecordedCurves, n_at_a_time: int = N_AT_A_TIME
) -> np.ndarray:
    """Best score of the search after each of its epochs, as Tune would run it."""
    running: list[Running] = []
    best, history, n_trials = 0.0, [], 0
    while recorded.left or running:
        while recorded.left and len(running) < n_at_a_time:
            trial: Any = SimpleNamespace(trial_id=f"trial{n_trials}", config={"number": n_trials})
            point = searcher.suggest(trial.trial_id)
            values = point["values"] if "values" in point else flat(point)
            trial.config |= {"drawn_by": point.get("drawn_by")}
            scheduler.on_trial_add(NO_TUNE, trial)
            running.append(Running(trial, recorded.curve(values)))
            n_trials += 1
        for run in list(running):
            run.epoch += 1
            score = float(run.curve[run.epoch - 1])
            best = max(best, score)
            history.append(best)
            finished = run.epoch == len(run.curve)
            result = {METRIC: score, "epoch": run.epoch, "training_iteration": run.epoch, "finished": finished}
            stop = scheduler.on_trial_result(NO_TUNE, run.trial, result) == TrialScheduler.STOP
            if stop or finished:
                searcher.on_trial_complete(run.trial.trial_id, result)
                running.remove(run)
            else:
                searcher.on_trial_result(run.trial.trial_id, result)
    return np.array(history)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a nested point."""
    values: dict[str, Any] = {}
    for name, value in tree.items():
        values |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return values


def searcher_and_scheduler(method: str, seed: int, space: SearchSpace, folder: Path) -> tuple[Any, TrialScheduler]:
    plans = plan_stages(space.base, space.search.stages)
    asha = Asha(space.search.scheduler or AshaSettings(), plans)
    if method == "stock":
        first = [space.base_point()]

        def draw(trial: optuna.Trial) -> None:
            space.suggest(trial)

        stock = OptunaSearch(draw, METRIC, "max", points_to_evaluate=first, seed=seed)
        scheduler: TrialScheduler = AsyncHyperBandScheduler(
            "epoch",
            max_t=plans[-1].last_epoch,
            grace_period=rung_epochs(AshaSettings(), plans)[0],
            reduction_factor=3,
        )
        scheduler.set_search_properties(METRIC, "max")
        return stock, scheduler
    kind = "random" if method == "random" else "optuna"
    settings = space.search.model_copy(update={"seed": seed, "searcher": kind})
    ours = SedSearcher(replace(space, search=settings), folder / "optuna.journal")
    if method == "random":
        return ours, FIFOScheduler()
    asha.set_search_properties(METRIC, "max")
    return ours, asha


def search(method: str, seed: int, n_trials: int | None = None) -> np.ndarray:
    """Best score after each epoch of one search: of the whole table, or a small one of so many trials."""
    space = load_space(CURVES / "space.yaml")
    recorded = RecordedCurves(pd.read_csv(TABLE), space, n_trials)
    if n_trials is not None:
        space = replace(space, search=space.search.model_copy(update={"num_trials": n_trials}))
    with tempfile.TemporaryDirectory() as folder:
        searcher, scheduler = searcher_and_scheduler(method, seed, space, Path(folder))
        return replay(searcher, scheduler, recorded, N_AT_A_TIME if n_trials is None else SMALL_AT_A_TIME)


def epochs_to(target: float, history: np.ndarray) -> int:
    """Epochs until the search has reached the target; all of them where it never does."""
    reached = np.flatnonzero(history >= target)
    return int(reached[0]) + 1 if len(reached) else len(history)


def padded(history: np.ndarray, n_epochs: int) -> np.ndarray:
    """A search that has used up the table stays where it is."""
    return np.pad(history, (0, n_epochs - len(history)), mode="edge")


def plot(histories: dict[str, np.ndarray], target: float, path: Path) -> None:
    """Median over the seeds with the band from the 10th to the 90th percentile."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for method, curves in histories.items():
        low, middle, high = np.percentile(curves, [10, 50, 90], axis=0)
        epochs = np.arange(1, curves.shape[1] + 1)
        axes.plot(epochs, middle, label=LABELS[method])
        axes.fill_between(epochs, low, high, alpha=0.15, linewidth=0)
    axes.axhline(target, color="black", linewidth=0.8, linestyle="--", label="within 1 % of the best")
    best = max(curves.max() for curves in histories.values())
    axes.set(xlabel="epochs trained in all", ylabel="best macro AUC so far", ylim=(best - 0.1, best + 0.005))
    axes.set_xlim(0, SHOWN_EPOCHS)
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, help="searches of so many trials: their best scores")
    parser.add_argument("--plot", type=Path, help="write the curves as a picture")
    options = parser.parse_args()
    if options.trials is not None:
        return small_searches(options.trials, options.seeds)
    table = pd.read_csv(TABLE)
    recorded = RecordedCurves(table, load_space(CURVES / "space.yaml"))
    target = WITHIN * recorded.best
    runs = [(method, seed) for method in LABELS for seed in range(options.seeds)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(search, *zip(*runs, strict=True)))
    histories: dict[str, Any] = {}
    spent: dict[str, list[int]] = {}
    for (method, _), history in zip(runs, results, strict=True):
        histories.setdefault(method, []).append(padded(history, recorded.curves.size))
        spent.setdefault(method, []).append(epochs_to(target, history))
    if options.plot:
        plot({method: np.array(curves) for method, curves in histories.items()}, target, options.plot)
    holds = [report(method, spent, goal) for method, goal in TARGETS.items()]
    return 0 if all(holds) else 1


def small_searches(n_trials: int, n_seeds: int) -> int:
    """One JSON line: the mean of the best scores of each method, with its standard error."""
    facts: dict[str, list[float]] = {}
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for method in LABELS:
            histories = pool.map(search, [method] * n_seeds, range(n_seeds), [n_trials] * n_seeds)
            best = np.array([history[-1] for history in histories])
            facts[method] = [best.mean(), best.std(ddof=1) / np.sqrt(n_seeds)]
    holds = facts["ours"][0] >= facts["stock"][0]
    return 0 if print_result(f"best score of {n_trials} trials, {n_seeds} seeds", holds=holds, digits=4, **facts) else 1


def report(method: str, spent: dict[str, list[int]], target: float) -> bool:
    """One JSON line: mean epochs to the target of another method over ours, with a bootstrap interval."""
    plain, ours = np.array(spent[method]), np.array(spent["ours"])
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(ours), size=(2000, len(ours)))
    low, high = np.percentile(plain[drawn].mean(axis=1) / ours[drawn].mean(axis=1), [2.5, 97.5])
    ratio = plain.mean() / ours.mean()
    return print_result(
        f"epochs to 1 % of the best, {LABELS[method]} over {LABELS['ours']}",
        plain=plain.mean(),
        ours=ours.mean(),
        unit="epochs",
        ratio=ratio,
        interval_95=[low, high],
        medians=[np.median(plain), np.median(ours)],
        target=target,
        holds=ratio >= target,
    )


if __name__ == "__main__":
    raise SystemExit(main())
