"""What a foreign model teaches: models of ours with and without it, on the test soundscapes; several data sets.

    python benchmarks/score_teacher.py --data DIR --probe RUN [--data DIR --probe RUN ..] --weights FILE --out DIR

RUN is of `python -m trainables.probe --teacher NAME --data DIR`. Each is the default of benchmarks/tables, trained on
three of four parts of the labelled soundscapes, and keeps the mean of its last three epochs; at prediction none
hears with the foreign model. Nothing is chosen on the test soundscapes. All ways have as many epochs:

- without: no teacher
- labels: a last stage with the probe's labels of the unlabelled soundscapes, of those that have not heard the part
- frames: the term of `distil.weight` in all stages but the last, no labels
- both

A model takes 3 to 6 minutes on one core; --jobs at a time. A broken run goes on with what is missing in --out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from score_trial import score
from tables.record import OF_SET

from sed_model.config.sed_config import SedConfig, load_config
from sed_model.config.stages import plan_stages
from sed_model.core.errors import UserError
from sed_model.core.files import write_json
from sed_model.data.recordings import read_data_folder
from sed_model.train.fit import FitJob, fit
from trainables.searching.finalists import N_PARTS, changes_for
from trainables.trials.hearing import opened
from trainables.trials.teacher import find_teacher

BASE = Path(__file__).parent / "tables" / "base.yaml"
SUPERVISED = ("pretrain_ce", "train_bce", "finetune")
WITHOUT = {"stages.pretrain_ce.epochs": 3, "stages.train_bce.epochs": 15, "stages.finetune.epochs": 2}
LABELS = {
    "stages.pretrain_ce.epochs": 3,
    "stages.train_bce.epochs": 5,
    "stages.finetune.epochs": 2,
    "stages.pseudo.epochs": 10,
    "stages.pseudo.lr": 5e-4,
    "pseudo.prob": 0.9,
    "pseudo.replace_share": 0.55,
    "pseudo.join_share": 0.25,
    "pseudo.loss_power": 0.0,
}
WEIGHT = {"distil.weight": 1.0}
WAYS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "without": (WITHOUT, SUPERVISED),
    "labels": (LABELS, (*SUPERVISED, "pseudo")),
    "frames": (WITHOUT | WEIGHT, SUPERVISED),
    "both": (LABELS | WEIGHT, (*SUPERVISED, "pseudo")),
}


@dataclass(frozen=True)
class Row:
    """A model to train and score."""

    data: Path
    probe: Path
    way: str
    seed: int
    weights: Path
    out: Path

    @property
    def folder(self) -> Path:
        return self.out / f"{self.data.name}-{self.way}-{self.seed}"

    @property
    def config(self) -> SedConfig:
        changes, stages = WAYS[self.way]
        given = {"model.weights": str(self.weights), **OF_SET.get(self.data.name, {}), **changes}
        config = load_config(BASE).with_overrides(given)
        own = {"seed": self.seed, "data.fold": self.seed % N_PARTS}
        return config.with_overrides({**changes_for(config, stages, 1.0), **own})


def run_row(row: Row) -> dict[str, Any]:
    """Train the model unless it is there, and score it."""
    done = row.folder / "row.json"
    if not done.is_file():
        torch.set_num_threads(1)
        config, stages = row.config, WAYS[row.way][1]
        teacher = find_teacher(row.probe)
        labels = teacher.of(config.data)[1] if "pseudo" in stages else None
        data = opened(read_data_folder(row.data, config.data.target_s), config, labels, teacher.hearing)
        for _ in fit(FitJob(config, plan_stages(config, stages), row.folder, round=int(labels is not None)), data):
            pass
        (auc,) = score([row.folder], row.data).values()
        write_json(done, {"data": row.data.name, "way": row.way, "seed": row.seed, "macro_auc": round(auc, 4)})
    told: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
    return told


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line a data set and way: mean, spread, and the mean lead over `without` at the same seeds."""
    scores = {(row["data"], row["way"], row["seed"]): row["macro_auc"] for row in rows}
    lines = []
    for data, way in dict.fromkeys((row["data"], row["way"]) for row in rows):
        own = {seed: value for (where, how, seed), value in scores.items() if (where, how) == (data, way)}
        leads = [own[seed] - scores[data, "without", seed] for seed in own if (data, "without", seed) in scores]
        line = {"data": data, "way": way, "seeds": len(own), "macro_auc": round(statistics.mean(own.values()), 4)}
        line["sd"] = round(statistics.stdev(own.values()), 4) if len(own) > 1 else None
        lines.append(line | {"over without": round(statistics.mean(leads), 4) if leads else None})
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--probe", type=Path, action="append", required=True, help="one for each --data, in order")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="models; a broken run goes on here")
    parser.add_argument("--ways", default=",".join(WAYS), help="some of " + ",".join(WAYS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=700)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    weights, out = options.weights.absolute(), options.out.absolute()
    rows = [
        Row(data.absolute(), probe.absolute(), way, seed, weights, out)
        for seed in range(options.first_seed, options.first_seed + options.seeds)
        for data, probe in zip(options.data, options.probe, strict=True)
        for way in options.ways.split(",")
    ]
    told = []
    try:
        with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
            for row in pool.map(run_row, rows):
                told.append(row)
                print(json.dumps(row), flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in summary(told):
        print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
