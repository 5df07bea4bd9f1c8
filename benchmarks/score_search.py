"""Does a search pay? What it delivers against the default, and against as much training of the default.

    python benchmarks/score_search.py --data DIR [--data DIR ..] --weights FILE --out DIR [--first-seed 200] [--seeds 5]

It runs the search as a user would, and scores on the test soundscapes, by which nothing is chosen:

- D: the default, trained once; its best epoch by the labelled soundscapes
- N: one model of the default, trained as finalists are: on parts of the labelled soundscapes, without choosing an epoch
- N_k: the mean of such models of the default with other seeds, as many as the epochs of the whole search pay for, but
  at most 12: the seeds of a data set share them, and the score of a mean grows as its models' less a share of 1 / k
- today: the search's best trial by its validation score
- S: what the search delivers; S1: its single model

The search tries a portfolio first that was learnt on the other sets' tables alone, where these are recorded
(benchmarks/tables). A search that was broken off goes on; what is done is only scored. Rows of score_search.jsonl
beside this file are there already, of earlier sittings: 30 minutes a data set and seed on 2 idle cores, and a quarter
of an hour a data set for the models of the default.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
import yaml
from score_trial import score
from tables.portfolio import TEST, as_yaml, choose, leads_of
from tables.record import OF_SET
from tables.summary import read_tables

from sed_model.clips.training_data import open_training_data
from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import plan_stages
from sed_model.core.files import write_text
from sed_model.data.recordings import read_data_folder
from sed_model.run_folder.folder import RunFolder
from sed_model.train.fit import FitJob, fit
from trainables.labelling.run_members import members_of
from trainables.on_ray.cluster import ALLOCATOR_ENVIRONMENT
from trainables.searching.finalists import N_PARTS, changes_for
from trainables.spaces.load import load_space

ROWS = Path(__file__).with_suffix(".jsonl")
"""A line for each data set and seed that has been scored, with the day and the product's version."""
TABLES = Path(__file__).parent / "tables"
SPACE = TABLES / "space.yaml"
N_POINTS = 8
COLUMNS = ("D", "N", "N_k", "today", "S", "S1")
OTHER_SEEDS = 10_000
"""The first seed of the models of N_k."""
MAX_DEFAULTS = 12
"""They cost as much as the search, which more of them would hardly change."""


@dataclass(frozen=True)
class Job:
    """A data set and a seed."""

    data: Path
    seed: int
    weights: Path
    out: Path
    num_trials: int

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.out / f"{self.data.name}-{self.seed}")

    @property
    def defaults(self) -> Path:
        """Where models of the default are, for all searches of the data set."""
        return self.out / f"{self.data.name}-default"

    @property
    def settings(self) -> dict[str, Any]:
        return {"model.weights": str(self.weights), "seed": self.seed, **OF_SET.get(self.data.name, {})}


def space_without(job: Job) -> Path:
    """The space with a portfolio that was learnt on the other sets' tables; without one where there are none."""
    others = [table for table in read_tables(TABLES) if table.name != job.data.name]
    place, portfolio = job.out / f"space-{job.data.name}.yaml", job.out / f"portfolio-{job.data.name}.yaml"
    tree = yaml.safe_load(SPACE.read_text(encoding="utf-8"))
    tree["base"] = str(SPACE.parent / tree["base"])
    if others:
        leads = leads_of(others, TEST)
        text = as_yaml(others, leads, choose(leads, N_POINTS), "benchmarks/score_search.py")
        write_text(portfolio, text)
        tree["search"]["portfolio"] = str(portfolio)
    write_text(place, yaml.safe_dump(tree, sort_keys=False))
    return place


def search(job: Job) -> None:
    """The search of the job, from its start or where it broke off."""
    place = ("--out", job.out, "--name", job.run.path.name, "--no-pseudo-labels", "--max-concurrent", 2)
    words: tuple[object, ...] = ("--resume", *place)
    if not job.run.search_file.is_file():
        sets = [word for name, value in job.settings.items() for word in ("--set", f"{name}={value}")]
        budget = ("--num-trials", job.num_trials, "--seed", job.seed)
        words = ("--space", space_without(job), "--data", job.data, *budget, *place, *sets)
    command = [sys.executable, "-m", "trainables.search", *map(str, words)]
    subprocess.run(command, check=True, stdout=sys.stderr)


def train_all(configs: dict[Path, SedConfig], data_dir: Path) -> list[Path]:
    """The folders, once the model of its configuration is trained in each; two at a time, as trials are."""
    left = {folder: config for folder, config in configs.items() if not (folder / "done").is_file()}
    os.environ.update(ALLOCATOR_ENVIRONMENT)  # as the search's workers have
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(train, config, folder, data_dir) for folder, config in left.items()]):
            future.result()
    return list(configs)


def train(config: SedConfig, folder: Path, data_dir: Path) -> Path:
    """The folder, once the model of a configuration is trained in it."""
    torch.set_num_threads(1)
    if not (folder / "done").is_file():
        data = open_training_data(read_data_folder(data_dir, config.data.target_s), config, progress=False)
        for _ in fit(FitJob(config, plan_stages(config, load_space(SPACE).search.stages), folder), data):
            pass
        (folder / "done").touch()
        print(f"{folder} is trained", file=sys.stderr, flush=True)
    return folder


def n_trainings(run: RunFolder, epochs: int) -> int:
    """How many trainings of the default the epochs of a search's trials and finalists pay for, as far as they count."""
    spent = sum(row["epochs"] or 0 for row in (*run.read_trials(), *run.read_refits()))
    return min(MAX_DEFAULTS, max(1, round(spent / epochs)))


def trained_defaults(job: Job, default: SedConfig, n_models: int) -> list[Path]:
    """Folders of models of the default, each with another seed, on the parts in turn."""
    configs = {}
    for number in range(n_models):
        part = {"data.fold": number % N_PARTS, "seed": OTHER_SEEDS + number}
        configs[job.defaults / f"{number:03d}"] = as_finalist(default).with_overrides(part)
    return train_all(configs, job.data)


def as_finalist(default: SedConfig) -> SedConfig:
    search = load_space(SPACE).search
    return default.with_overrides(changes_for(default, search.stages, search.finalist_epochs_scale))


def kept_rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()] if ROWS.is_file() else []


def keep(row: dict[str, Any]) -> None:
    write_text(ROWS, "".join(json.dumps(kept) + "\n" for kept in [*kept_rows(), row]))


def score_job(job: Job) -> dict[str, Any]:
    """The row of the job, as ROWS keeps it."""
    name, others = job.data.name, [row for row in kept_rows() if row["data"] == job.data.name]
    if done := next((row for row in others if row["seed"] == job.seed), None):
        return done
    search(job)
    default = load_space(SPACE, job.settings).base
    epochs = plan_stages(as_finalist(default), load_space(SPACE).search.stages)[-1].last_epoch
    k = n_trainings(job.run, epochs)
    (plain,) = score(train_all({job.defaults / f"plain-{job.seed}": default}, job.data), job.data).values()
    row: dict[str, Any] = {"data": name, "seed": job.seed, "k": k, "D": plain}
    shared = [of_defaults(other) for other in others if other["k"] == k]
    row |= shared[0] if shared else score_defaults(job, default, k)
    trials = [trial for trial in job.run.read_trials() if trial["macro_auc"] is not None]
    best = max(trials, key=lambda trial: trial["macro_auc"])
    (row["today"],) = score([job.run.trial(best["number"])], job.data).values()
    row["S"] = score(members_of(job.run.path).folders, job.data, ensemble=True)["ensemble"]
    (row["S1"],) = score(members_of(job.run.path, single=True).folders, job.data).values()
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
    keep(rounded | {"date": date.today().isoformat(), "version": product_version()})
    return rounded


def of_defaults(row: dict[str, Any]) -> dict[str, float]:
    """What all searches of a data set share."""
    return {column: row[column] for column in ("N", "N_k")}


def score_defaults(job: Job, default: SedConfig, k: int) -> dict[str, float]:
    scores = score(trained_defaults(job, default, k), job.data, ensemble=True)
    of_mean = scores.pop("ensemble")
    return {"N": statistics.mean(scores.values()), "N_k": of_mean}


def product_version() -> str:
    command = ["git", "-C", str(ROWS.parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def judged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line per data set: the means, and whether the search pays."""
    by_set = defaultdict(list)
    for row in rows:
        by_set[row["data"]].append(row)
    lines = []
    for name, mine in by_set.items():
        mean = {column: statistics.mean(row[column] for row in mine) for column in COLUMNS}
        worse = sum(row["S"] < row["D"] for row in mine)
        holds = mean["S"] >= mean["D"] + 0.04 and mean["S"] >= mean["N_k"] + 0.01 and mean["S1"] >= mean["D"] + 0.02
        rounded = {column: round(value, 4) for column, value in mean.items()}
        lines.append({"data": name, "seeds": len(mine), **rounded, "S below D": worse, "holds": holds and worse <= 1})
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="run folders and models; a broken run goes on here")
    parser.add_argument("--num-trials", type=int, default=12)
    parser.add_argument(
        "--first-seed", type=int, default=200, help="seeds that nothing was tuned on (200; 100 chose who is a finalist)"
    )
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(2)
    rows = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for data in options.data:
            place = (data.absolute(), seed, options.weights.absolute(), options.out.absolute(), options.num_trials)
            rows.append(score_job(Job(*place)))
            print(json.dumps(rows[-1]), flush=True)
    lines = judged(rows)
    for line in lines:
        print(json.dumps(line), flush=True)
    return 0 if all(line["holds"] for line in lines) else 1


if __name__ == "__main__":
    raise SystemExit(main())
