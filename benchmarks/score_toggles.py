"""Each toggle of the model on and off, one at a time, on the test soundscapes: several data sets, several seeds.

    python benchmarks/score_toggles.py --data DIR [--data DIR ..] --weights FILE --out DIR [--only TOGGLE ..]

Each row trains `benchmarks/toggles.yaml` with one key changed. Nothing is chosen on the test soundscapes: a run keeps
its best epoch by the labelled train soundscapes. Rows that `--out` holds already are not trained again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from score_trial import score

from sed_model.clips.training_data import open_training_data
from sed_model.config.sed_config import load_config
from sed_model.config.stages import plan_stages
from sed_model.core.errors import UserError
from sed_model.core.files import write_json
from sed_model.data.recordings import read_data_folder
from sed_model.train.fit import FitJob, fit

CONFIG = Path(__file__).with_name("toggles.yaml")
STAGES = ("pretrain_ce", "train_bce", "finetune")
OF_SET: dict[str, dict[str, Any]] = {
    "digits_mini": {
        "front_end.sample_rate_hz": 16_000,
        "front_end.n_fft": 1024,
        "front_end.hop_length": 400,
        "front_end.f_max_hz": 8_000.0,
        "stages.train_bce.epochs": 15,
    }
}
"""Half the rate, with the same window and step in seconds; and spoken digits are learned late."""
PLAIN = "plain"
TOGGLES: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "multi_resolution": {"model.multi_resolution": True},
    "multi_head_attention": {"model.multi_head_attention": True},
    "skip_connection": {"model.skip_connection": True},
    "extra_norm": {"model.extra_norm": True},
    "pool_type=max": {"model.pool_type": "max"},
    "pool_type=gem": {"model.pool_type": "gem"},
    "average_epochs=1": {"optim.average_epochs": 1},
    "average_epochs=3": {"optim.average_epochs": 3},
}


@dataclass(frozen=True)
class Run:
    data: Path
    toggle: str
    seed: int
    weights: Path
    out: Path

    @property
    def folder(self) -> Path:
        return self.out / f"{self.data.name}_{self.toggle.replace('=', '_')}_{self.seed}"


def train(run: Run) -> dict[str, Any]:
    """Train one row, unless it is there; its validation and test scores."""
    done = run.folder / "row.json"
    if done.is_file():
        row: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return row
    torch.set_num_threads(1)
    config = load_config(CONFIG).with_overrides(
        {"model.weights": str(run.weights), "seed": run.seed, **OF_SET.get(run.data.name, {}), **TOGGLES[run.toggle]}
    )
    data = open_training_data(read_data_folder(run.data), config, progress=False)
    for result in fit(FitJob(config, plan_stages(config, STAGES), run.folder), data):
        validation_auc = result.best_macro_auc
    (test_auc,) = score([run.folder], run.data).values()
    row = {"data": run.data.name, "toggle": run.toggle, "seed": run.seed, "val": validation_auc, "test": test_auc}
    write_json(done, row)
    print(json.dumps(row), flush=True)
    return row


def summary(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per data set and toggle: mean and spread of its test scores, and of the paired differences from plain."""
    tests: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for row in rows:
        tests[row["data"], row["toggle"]][row["seed"]] = row["test"]
    lines = []
    for (data, toggle), by_seed in tests.items():
        plain = tests[data, PLAIN]
        gains = [value - plain[seed] for seed, value in by_seed.items()]
        lines.append(
            {
                "data": data,
                "toggle": toggle,
                "test_auc": round(statistics.mean(by_seed.values()), 4),
                "gain": round(statistics.mean(gains), 4),
                "gain_sd": round(statistics.stdev(gains), 4) if len(gains) > 1 else 0.0,
            }
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="models and rows; a broken run goes on here")
    parser.add_argument(
        "--only", choices=TOGGLES, action="append", help="these rows alone, beside plain; may be repeated"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    runs = [
        Run(data.absolute(), toggle, seed, options.weights.absolute(), options.out.absolute())
        for seed in range(options.seeds)
        for data in options.data
        for toggle in TOGGLES
        if not options.only or toggle in (PLAIN, *options.only)
    ]
    try:
        with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
            rows = list(pool.map(train, runs))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in summary(rows):
        print(json.dumps(line))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
