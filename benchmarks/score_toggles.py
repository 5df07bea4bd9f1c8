"""Each toggle of the model on and off, one at a time, on the test soundscapes: several data sets, several seeds.

    python benchmarks/score_toggles.py --data DIR [--data DIR ..] --weights FILE --out DIR [--only TOGGLE ..]

Each row trains `benchmarks/toggles.yaml` with one key changed. Rows that are run by name only: those of `MIXES` mix
most batches and choose the targets of the loudest frame, those of `BACKENDS` augment as base.yaml does, in two ways.
Nothing is chosen on the test soundscapes: a run keeps its best epoch by the labelled train soundscapes. Rows that
`--out` holds already are not trained again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from score_trial import score

from sed_model.audio.windows import decode_as_cached
from sed_model.augment.batch import LabelRule, Mix
from sed_model.clips.training_data import open_training_data
from sed_model.config.augment import MixAugment
from sed_model.config.sed_config import load_config
from sed_model.config.stages import plan_stages
from sed_model.config.training import Stage
from sed_model.core.errors import UserError
from sed_model.core.files import write_json
from sed_model.data.recordings import read_data_folder
from sed_model.data.soundscape_labels import read_soundscape_labels
from sed_model.model.checkpoint import LoadedModel, load_model
from sed_model.model.devices import choose_runtime
from sed_model.predict.window_scores import contexts
from sed_model.train import stage_training
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
MIXES: dict[str, tuple[dict[str, Any], LabelRule]] = {
    f"{kind}={rule}": ({"augment.mix.prob": prob, "augment.mix.cutmix_share": cutmix_share}, rule)
    for kind, prob, cutmix_share in (("mixup", 1.0, 0.0), ("cutmix", 0.9, 0.5))
    for rule in ("convex", "union")
}
"""Settings, and how the targets of the loudest frame mix: an experiment, no key of the configuration."""

AS_SHIPPED = {"augment.wave.prob": 0.8, "augment.wave.stretch_prob": 0.3, "augment.wave.pitch_prob": 0.3}
"""The waveform chain of base.yaml."""
BACKENDS: dict[str, dict[str, Any]] = {
    "backend=audiomentations": AS_SHIPPED,
    "backend=spectral": AS_SHIPPED | {"augment.backend": "spectral", "augment.mix.domain": "spectrogram"},
    "backend=spectral_power": AS_SHIPPED | {"augment.backend": "spectral"},
}
"""The whole chain, by exact transforms of the waveform and in the spectrogram; there mixup adds log-mels, or power."""


@dataclass(frozen=True)
class Run:
    data: Path
    toggle: str
    seed: int
    weights: Path
    out: Path
    config: Path = CONFIG

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
    config = load_config(run.config).with_overrides(
        {"model.weights": str(run.weights), "seed": run.seed, **OF_SET.get(run.data.name, {}), **settings(run.toggle)}
    )
    data = open_training_data(read_data_folder(run.data), config, progress=False)
    with loudest_frames_by(run.toggle):
        for result in fit(FitJob(config, plan_stages(config, STAGES), run.folder), data):
            validation_auc = result.best_macro_auc
    (test_auc,) = score([run.folder], run.data).values()
    scores = {"val": validation_auc, "test": test_auc, "within": within_clips(load_model(run.folder), run.data)}
    row = {"data": run.data.name, "toggle": run.toggle, "seed": run.seed, **scores}
    write_json(done, row)
    print(json.dumps(row), flush=True)
    return row


def settings(toggle: str) -> dict[str, Any]:
    return MIXES[toggle][0] if toggle in MIXES else (TOGGLES | BACKENDS)[toggle]


@contextmanager
def loudest_frames_by(toggle: str) -> Iterator[None]:
    """Train with the rule of a row of `MIXES`; cross-entropy goes without union, as ever."""
    product = vars(stage_training)["loudest_rule"]
    if toggle in MIXES:
        rule = MIXES[toggle][1]

        def loudest_rule(settings: MixAugment, stage: Stage, mix: Mix) -> LabelRule:
            return "convex" if stage.loss == "ce" else rule

        vars(stage_training)["loudest_rule"] = loudest_rule
    try:
        yield
    finally:
        vars(stage_training)["loudest_rule"] = product


@torch.inference_mode()
def within_clips(member: LoadedModel, data_dir: Path) -> float:
    """Share of the frame logits' variance that lies within windows, of the labelled windows of the test soundscapes."""
    config, runtime = member.config, choose_runtime(member.config.optim)
    runtime.place(member.model)
    labels = read_soundscape_labels(
        data_dir / "test_soundscapes_labels.csv",
        data_dir / "test_soundscapes",
        member.lineage.classes,
        config.data.target_s,
    )
    logits = []
    for path, rows in labels.groupby("path", sort=True):
        waveform = decode_as_cached(data_dir / str(path), config.front_end.sample_rate_hz)
        clips, parts = contexts(waveform, rows["start_s"].to_numpy(float), config)
        with runtime.autocast():
            output = member.model(runtime.images(member.model.images(torch.from_numpy(clips))), parts)
        logits.append(output.frame_logits.float().numpy())
    return variance_within(np.concatenate(logits))


def variance_within(logits: np.ndarray) -> float:
    """Of frame logits [windows, steps, classes]: their variance within windows, over all of it; means of classes."""
    return float(logits.var(axis=1, ddof=1).mean() / logits.reshape(-1, logits.shape[2]).var(axis=0, ddof=1).mean())


def summary(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per data set and toggle: mean test score and gain over its reference, paired by seed, with its spread.

    `within` is the mean share of the frame logits' variance within windows.
    """
    by_cell: dict[tuple[str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        by_cell[row["data"], row["toggle"]][row["seed"]] = row
    lines = []
    for (data, toggle), by_seed in by_cell.items():
        others = by_cell[data, reference(toggle)]
        gains = [row["test"] - others[seed]["test"] for seed, row in by_seed.items()]
        lines.append(
            {
                "data": data,
                "toggle": toggle,
                "test_auc": round(statistics.mean(row["test"] for row in by_seed.values()), 4),
                "gain": round(statistics.mean(gains), 4),
                "gain_sd": round(statistics.stdev(gains), 4) if len(gains) > 1 else 0.0,
                "within": round(statistics.mean(row["within"] for row in by_seed.values()), 3),
            }
        )
    return lines


def reference(toggle: str) -> str:
    """The row that another one's gain is over: of `MIXES` that of the same mix with convex targets."""
    if toggle in BACKENDS:
        return "backend=audiomentations"
    return f"{toggle.partition('=')[0]}=convex" if toggle in MIXES else PLAIN


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="models and rows; a broken run goes on here")
    parser.add_argument(
        "--only",
        choices=(*TOGGLES, *MIXES, *BACKENDS),
        action="append",
        help="these rows alone, and what they are compared with; may be repeated; default: the toggles",
    )
    parser.add_argument("--config", type=Path, default=CONFIG, help="what is trained; default: toggles.yaml")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    toggles = options.only or list(TOGGLES)
    config, weights, out = (path.absolute() for path in (options.config, options.weights, options.out))
    runs = [
        Run(data.absolute(), toggle, seed, weights, out, config)
        for seed in range(options.seeds)
        for data in options.data
        for toggle in dict.fromkeys([*map(reference, toggles), *toggles])
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
