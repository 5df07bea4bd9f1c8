"""The full recipe against the plain one on the test soundscapes: equal model and epochs, several seeds.

    python benchmarks/score_recipe.py --data DIR --weights FILE [--seeds 3] [--jobs 2] [--out DIR]

Plain: BCE only, no augmentation. Full: cross-entropy, BCE and finetuning stages, all augmentations. Nothing is chosen
on the test soundscapes: each run keeps its best epoch by the labelled train soundscapes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from score_trial import score

from sed_model.clips.training_data import open_training_data
from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import plan_stages
from sed_model.core.errors import UserError
from sed_model.data.recordings import read_data_folder
from sed_model.train.fit import FitJob, fit

BACKBONE = "tf_efficientnet_lite0"
PLAIN: dict[str, Any] = {
    "stages.train_bce.epochs": 12,
    "stages.train_bce.lr": 1e-3,
    "stages.train_bce.secondary_weight": None,
    "augment.wave.prob": 0,
    "augment.spec.prob": 0,
    "augment.mix.prob": 0,
}
FULL: dict[str, Any] = {
    "stages.pretrain_ce.epochs": 5,
    "stages.pretrain_ce.lr": 1e-3,
    "stages.train_bce.epochs": 5,
    "stages.train_bce.lr": 1e-3,
    "stages.finetune.epochs": 2,
    "stages.finetune.lr": 3e-4,
}
RECIPES = {"plain": (PLAIN, ("train_bce",)), "full": (FULL, ("pretrain_ce", "train_bce", "finetune"))}


@dataclass(frozen=True)
class Run:
    recipe: str
    seed: int
    data: Path
    weights: Path
    out: Path


def train(run: Run) -> dict[str, Any]:
    """Train one recipe with one seed; its validation and test scores."""
    torch.set_num_threads(1)
    overrides, stages = RECIPES[run.recipe]
    config = SedConfig().with_overrides(
        {"model.backbone": BACKBONE, "model.weights": str(run.weights), "seed": run.seed, **overrides}
    )
    data = open_training_data(read_data_folder(run.data), config, progress=False)
    folder = run.out / f"{run.recipe}_{run.seed}"
    for result in fit(FitJob(config, plan_stages(config, stages), folder), data):
        print(f"{folder.name} {result.stage} {result.epoch}: AUC {result.macro_auc:.4f}", file=sys.stderr, flush=True)
    (test_auc,) = score([folder], run.data).values()
    return {"recipe": run.recipe, "seed": run.seed, "val_auc": result.best_macro_auc, "test_auc": test_auc}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, help="keep the models here")
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp(prefix="score_recipe_"))
    runs = [
        Run(name, seed, options.data.absolute(), options.weights.absolute(), out.absolute())
        for seed in range(options.seeds)
        for name in RECIPES
    ]
    try:
        with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
            rows = list(pool.map(train, runs))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for row in rows:
        print(json.dumps(row))
    for name in RECIPES:
        scores = [row["test_auc"] for row in rows if row["recipe"] == name]
        spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
        print(json.dumps({"recipe": name, "test_auc_mean": statistics.mean(scores), "test_auc_sd": spread}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
