"""Record what configurations come to: scores of every epoch, and predictions on labelled, unlabelled and test windows.

    python benchmarks/tables/record.py --data DIR [--data DIR ..] --weights FILE --out DIR [--points 64] [--seeds 2]

`benchmarks/selection.py` replays rules that choose on them. A row is a configuration with a seed: the default, a few
known ones, then a Sobol sequence over `space.yaml`. A minute and a half per row and core; a recording that was broken
off goes on with the rows that are missing, and rows of the summaries beside this file (summary.py) are there already.
Nothing of a row is chosen on the test soundscapes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from sed_model.audio.windows import decode_as_cached
from sed_model.clips.training_data import open_training_data
from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import StagePlan, plan_stages
from sed_model.core.errors import UserError
from sed_model.core.files import replacing, write_json
from sed_model.data.recordings import DataFolder, read_data_folder
from sed_model.data.soundscape_labels import read_soundscape_labels
from sed_model.data.splits import unlabelled_soundscapes
from sed_model.model.checkpoint import LoadedModel, load_model
from sed_model.model.devices import choose_runtime
from sed_model.model.network import SedModel
from sed_model.predict.window_scores import predict_soundscape, target_starts
from sed_model.run_folder.metrics import macro_auc
from sed_model.train.fit import FitJob, _Run
from sed_model.train.stage_training import StageTraining
from sed_model.train.validation import Validated
from trainables.spaces.load import load_space

SPACE_FILE = Path(__file__).parent / "space.yaml"
VARIANTS = ("best", "last", "mean")
"""Averaged weights: of the best epoch by validation, of the last epoch, and the mean of those after the last three.

Every second unlabelled soundscape is heard, by the mean alone: a third of a row's time would go by otherwise.
"""
N_MEAN = 3
OF_SET: dict[str, dict[str, Any]] = {
    "digits_mini": {
        "front_end.sample_rate_hz": 16_000,
        "front_end.n_fft": 1024,
        "front_end.hop_length": 400,
        "front_end.f_max_hz": 8_000.0,
        "stages.train_bce.epochs": 12,
    }
}
"""Half the rate, with the same window and step in seconds; and spoken digits are learned late."""
KNOWN: tuple[dict[str, Any], ...] = (
    {},
    {"augment.wave.prob": 0.0, "augment.spec.prob": 0.0, "augment.mix.prob": 0.0},
    {"augment.wave.prob": 0.3},
    {"optim.min_steps_per_epoch": 10},
    {"model.pool_type": "gem", "model.skip_connection": True, "stages.train_bce.loss": "soft_auc"},
)
"""The default, no augmentation, less of it, larger batches, and what single searches found."""


@dataclass(frozen=True)
class Row:
    data: Path
    number: int
    seed: int
    values: dict[str, Any]
    weights: Path
    out: Path

    @property
    def file(self) -> Path:
        return self.out / self.data.name / f"{self.number:03d}_{self.seed}.json"

    def config(self) -> SedConfig:
        settings = {"model.weights": str(self.weights), "seed": self.seed, **OF_SET.get(self.data.name, {})}
        return load_space(SPACE_FILE).config({**settings, **self.values})


class RecordedRun(_Run):
    """A training that keeps the averaged weights of its last epochs, and what each epoch said of the validation."""

    def __init__(self, job: FitJob, data: Any) -> None:
        super().__init__(job, data, choose_runtime(job.config.optim))
        self.last_weights: deque[dict[str, Tensor]] = deque(maxlen=N_MEAN)
        self.by_epoch: list[NDArray[np.float16]] = []

    def _keep_best(self, training: StageTraining, plan: StagePlan, validated: Validated) -> None:
        super()._keep_best(training, plan, validated)
        self.by_epoch.append(validated.probabilities.astype(np.float16))
        self.last_weights.append({name: value.detach().clone() for name, value in training.averaged_weights().items()})


def draw_points(n_points: int, seed: int = 0) -> list[dict[str, Any]]:
    """The known points, then a Sobol sequence: it covers the space more evenly than independent draws do."""
    space = load_space(SPACE_FILE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=seed))
        points = []
        for _ in range(n_points + 1):
            trial = study.ask()
            points.append(space.suggest(trial))
            study.tell(trial, 0.0)
    # The first is an independent draw, by which the sampler learns the parameters.
    return [*KNOWN, *points[1:]][:n_points]


def record(row: Row) -> None:
    """Train and predict one row; its JSON comes last and seals the predictions."""
    torch.set_num_threads(1)
    start_s = time.process_time()
    config = row.config()
    folder = read_data_folder(row.data, config.data.target_s)
    data = open_training_data(folder, config, progress=False)
    plans = plan_stages(config, ("pretrain_ce", "train_bce", "finetune"))
    with tempfile.TemporaryDirectory() as model_folder:
        run = RecordedRun(FitJob(config, plans, Path(model_folder), checkpoint_every_s=1e9), data)
        results = list(run.epochs())
        best = load_model(Path(model_folder))
    train_s = time.process_time() - start_s
    last = run.last_weights[-1]
    members = [best, with_weights(best, last), with_weights(best, mean_of(run.last_weights))]
    windows = {part: predict(members, folder, part) for part in ("labelled", "test")}
    windows["unlabelled"] = predict(members[-1:], folder, "unlabelled")
    row.file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(row.file.with_suffix(".npz")) as temporary, temporary.open("wb") as stream:
        arrays: dict[str, Any] = {part: scores.astype(np.float16) for part, (scores, _, _) in windows.items()}
        np.savez_compressed(stream, epochs=np.stack(run.by_epoch), **arrays)
    truth_file = row.file.with_name("truth.npz")
    if not truth_file.is_file():
        with replacing(truth_file) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **truth_arrays(windows))
    scores = {
        f"{part}_{variant}": round(macro_auc(windows[part][1], probabilities), 5)
        for part in ("labelled", "test")
        for variant, probabilities in zip(VARIANTS, windows[part][0], strict=True)
    }
    curve = [round(result.macro_auc, 5) for result in results]
    seconds = {"train_s": round(train_s, 1), "all_s": round(time.process_time() - start_s, 1)}
    facts = {"number": row.number, "seed": row.seed, "values": row.values, "curve": curve}  # noqa: PD011
    best_epoch = {"best_epoch": best.lineage.epoch, "first_bce_epoch": plans[0].last_epoch + 1}
    write_json(row.file, {**facts, **best_epoch, **scores, **seconds})


def mean_of(states: deque[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Counters (integers) are those of the last."""
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if value.is_floating_point() else value
        for name, value in states[-1].items()
    }


def with_weights(model: LoadedModel, weights: Mapping[str, Tensor]) -> LoadedModel:
    other = SedModel(model.config.with_overrides({"model.weights": None, "model.pretrained": False}), n_classes(model))
    other.load_state_dict(weights)
    return replace(model, model=other.eval())


def n_classes(model: LoadedModel) -> int:
    return len(model.lineage.classes)


def predict(
    members: list[LoadedModel], folder: DataFolder, part: str
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[str]]:
    """Probabilities [variants, windows, classes], targets [windows, classes] (none of unlabelled ones), and files."""
    config = members[0].config
    runtime = choose_runtime(config.optim)
    for member in members:
        runtime.place(member.model)
    scores, targets, files = [], [], []
    for path, starts_s, truth in windows_of(folder, part, config):
        waveform = decode_as_cached(folder.root / path, config.front_end.sample_rate_hz)
        if starts_s is None:
            starts_s = target_starts(
                len(waveform) / config.front_end.sample_rate_hz, config.data.target_s, config.data.target_s
            )
        scores.append(predict_soundscape(members, waveform, starts_s, runtime))
        targets.append(truth)
        files += [path] * len(starts_s)
    return np.concatenate(scores, axis=1), np.concatenate(targets), files


def windows_of(folder: DataFolder, part: str, config: SedConfig) -> list[tuple[str, Any, NDArray[np.float32]]]:
    """File, starts of its windows (None: all of it) and their targets."""
    if part == "unlabelled":
        return [
            (path, None, np.empty((0, len(folder.classes)), np.float32)) for path in unlabelled_soundscapes(folder)[::2]
        ]
    table = folder.soundscape_labels
    if part == "test":
        csv, audio = folder.root / "test_soundscapes_labels.csv", folder.root / "test_soundscapes"
        table = read_soundscape_labels(csv, audio, folder.classes, config.data.target_s)
    assert table is not None
    return [
        (str(path), rows["start_s"].to_numpy(float), rows[list(folder.classes)].to_numpy(np.float32))
        for path, rows in table.groupby("path", sort=False)
    ]


def truth_arrays(windows: Mapping[str, tuple[Any, NDArray[np.float32], list[str]]]) -> dict[str, Any]:
    """What is true of the labelled and the test windows, and the file (counted from 0) that each window is of."""
    arrays: dict[str, NDArray[Any]] = {}
    for part, (_, targets, files) in windows.items():
        arrays[f"{part}_files"] = pd.factorize(np.array(files))[0].astype(np.int16)
        if part != "unlabelled":
            arrays[f"{part}_targets"] = targets.astype(np.int8)
    return arrays


def known_rows(folder: Path, name: str) -> set[tuple[int, int]]:
    """Number and seed of the rows of a set that a summary in `folder` holds."""
    file = folder / f"{name}.csv"
    if not file.is_file():
        return set()
    rows = pd.read_csv(file, usecols=["number", "seed"])
    return set(zip(rows["number"].tolist(), rows["seed"].tolist(), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="rows and predictions; a broken recording goes on here")
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows = [
        Row(data.absolute(), number, seed, values, options.weights.absolute(), options.out.absolute())
        for seed in range(options.seeds)
        for number, values in enumerate(draw_points(options.points))
        for data in options.data
    ]
    known = {data.name: known_rows(Path(__file__).parent, data.name) for data in options.data}
    left = [row for row in rows if not (row.file.is_file() or (row.number, row.seed) in known[row.data.name])]
    try:
        with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn"), max_tasks_per_child=20) as pool:
            futures = {pool.submit(record, row): row for row in left}
            for n_done, future in enumerate(as_completed(futures), len(rows) - len(left) + 1):
                future.result()
                row = json.loads(futures[future].file.read_text(encoding="utf-8"))
                name = f"{futures[future].data.name} {row['number']} seed {row['seed']}"
                told = " ".join(f"{key} {row[f'{key}_mean']:.3f}" for key in ("labelled", "test"))
                print(f"{n_done} of {len(rows)} rows: {name}: {told}, {row['all_s']:.0f} s", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
