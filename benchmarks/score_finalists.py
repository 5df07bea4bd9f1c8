"""Settings of finalists, one at a time: what they are worth where labelled soundscapes train, against the default.

    python benchmarks/score_finalists.py --data DIR [--data DIR ..] --weights FILE --out DIR [--only NAME ..]

The default of benchmarks/tables and changed ones, each trained as a search trains finalists: on parts of the labelled
soundscapes, the stages that hear them longer, without choosing an epoch. Two scores of each model: of the part that it
has not heard, by which one may choose, and of the test soundscapes, by which nothing of the same set may be chosen.
Gains are paired: the same parts and seeds. A broken run goes on with what is missing in --out; its models of the
default are those that score_search.py takes. Two to five minutes a training, two at a time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from score_search import OTHER_SEEDS, SPACE, as_finalist, train
from score_trial import score
from tables.record import OF_SET

from sed_model.core.files import write_json
from sed_model.model.checkpoint import read_lineage
from trainables.on_ray.cluster import ALLOCATOR_ENVIRONMENT
from trainables.searching.finalists import N_PARTS
from trainables.spaces.load import load_space

DEFAULT = "default"
CHANGES: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "soundscape_prob": {"data.soundscape_prob": 0.75},
    "half_lr": {"stages.pretrain_ce.lr": 5e-4, "stages.train_bce.lr": 5e-4, "stages.finetune.lr": 1.5e-4},
    "less_wave": {"augment.wave.prob": 0.3},
    "more_mix": {"augment.mix.prob": 0.9},
    "longer": {},
}
LONGER = 2.0
"""Times the epochs of the stages that a finalist trains longer already."""
LONG_STAGES = ("train_bce", "finetune")


@dataclass(frozen=True)
class Training:
    """One model: a change of the default, on a part of a set's labelled soundscapes."""

    data: Path
    weights: Path
    out: Path
    name: str
    part: int

    @property
    def folder(self) -> Path:
        return self.out / f"{self.data.name}-{self.name}" / f"{self.part:03d}"

    @property
    def row(self) -> Path:
        return self.folder / "row.json"

    def run(self) -> None:
        """Train and score the model, as far as that is not done."""
        if self.row.is_file():
            return
        torch.set_num_threads(1)
        own = {"data.fold": self.part % N_PARTS, "seed": OTHER_SEEDS + self.part}
        settings = {"model.weights": str(self.weights), **OF_SET.get(self.data.name, {})}
        config = as_finalist(load_space(SPACE, settings).base).with_overrides({**CHANGES[self.name], **own})
        if self.name == "longer":
            epochs = {f"stages.{stage}.epochs": round(config.stages[stage].epochs * LONGER) for stage in LONG_STAGES}
            config = config.with_overrides(epochs)
        train(config, self.folder, self.data)
        (test,) = score([self.folder], self.data).values()
        write_json(self.row, {"labelled": read_lineage(self.folder).metrics["macro_auc"], "test": test})


def lines_of(trainings: list[Training]) -> list[dict[str, Any]]:
    """One line a set and change: means, and the paired gains over the default."""
    scores = {(one.data.name, one.name, one.part): json.loads(one.row.read_text(encoding="utf-8")) for one in trainings}
    lines = []
    for data, name in dict.fromkeys((data, name) for data, name, _ in scores):
        parts = [part for of, by, part in scores if (of, by) == (data, name)]
        line: dict[str, Any] = {"data": data, "change": name, "models": len(parts)}
        for kind in ("labelled", "test"):
            own = [scores[data, name, part][kind] for part in parts]
            gains = [score - scores[data, DEFAULT, part][kind] for score, part in zip(own, parts, strict=True)]
            line |= {kind: round(statistics.mean(own), 4), f"{kind} gains": [round(gain, 4) for gain in gains]}
        lines.append(line)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="models; a broken run goes on here")
    parser.add_argument("--only", action="append", choices=tuple(CHANGES), help="changes to train (all)")
    parser.add_argument("--parts", type=int, default=2, help="trainings of each, on the parts in turn (2)")
    options = parser.parse_args()
    os.environ.update(ALLOCATOR_ENVIRONMENT)  # as the search's workers have
    names = dict.fromkeys([DEFAULT, *(options.only or CHANGES)])
    place = (options.weights.absolute(), options.out.absolute())
    trainings = [
        Training(data.absolute(), *place, name, part)
        for name in names
        for data in options.data
        for part in range(options.parts)
    ]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(Training.run, trainings))
    for line in lines_of(trainings):
        print(json.dumps(line))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
