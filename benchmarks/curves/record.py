"""Record real learning curves: points of curves/space.yaml, each trained on a data folder, one CSV row each.

    python benchmarks/curves/record.py --data DIR --weights FILE --out benchmarks/curves/esc10_mini.csv [--points 180]

`benchmarks/search_efficiency.py` replays the table. Half a minute a point and core. A recording that was broken off
goes on with the points that are missing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import torch

from sed_model.clips.training_data import open_training_data
from sed_model.config.stages import plan_stages
from sed_model.core.errors import UserError
from sed_model.core.files import write_text
from sed_model.data.recordings import read_data_folder
from sed_model.train.fit import FitJob, fit
from trainables.spaces.load import load_space

SPACE_FILE = Path(__file__).parent / "space.yaml"


@dataclass(frozen=True)
class Point:
    number: int
    values: dict[str, Any]
    data: Path
    weights: Path


def draw_points(n_points: int, seed: int) -> list[dict[str, Any]]:
    """A Sobol sequence: it covers the space more evenly than independent draws do."""
    space = load_space(SPACE_FILE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=seed))
        points = []
        for _ in range(n_points + 1):
            trial = study.ask()
            points.append(space.suggest(trial))
            study.tell(trial, 0.0)
    return points[1:]  # the first is an independent draw, by which the sampler learns the parameters


def train(point: Point) -> dict[str, Any]:
    """Train one point; its row of the table: number, values, macro AUC after each epoch."""
    torch.set_num_threads(1)
    space = load_space(SPACE_FILE, {"model.weights": str(point.weights)})
    config = space.config(point.values)
    data = open_training_data(read_data_folder(point.data), config, progress=False)
    plans = plan_stages(config, space.search.stages)
    with tempfile.TemporaryDirectory() as folder:
        curve = {f"auc_{r.epoch}": round(r.macro_auc, 5) for r in fit(FitJob(config, plans, Path(folder)), data)}
    return {"number": point.number, **point.values, **curve}  # noqa: PD011


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--points", type=int, default=180)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows: list[Any] = pd.read_csv(options.out).to_dict("records") if options.out.exists() else []
    done = {row["number"] for row in rows}
    points = [
        Point(number, values, options.data.absolute(), options.weights.absolute())
        for number, values in enumerate(draw_points(options.points, options.seed))
        if number not in done
    ]
    try:
        with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
            for future in as_completed([pool.submit(train, point) for point in points]):
                rows.append(future.result())
                table = pd.DataFrame(rows).sort_values("number")
                write_text(options.out, table.to_csv(index=False, float_format="%.6g"))
                print(f"{len(rows)} of {options.points} points", file=sys.stderr, flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
