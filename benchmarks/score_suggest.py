"""Do suggested windows rank configurations better than windows drawn at random? On soundscapes whose truth is known.

    python benchmarks/score_suggest.py --run RUN --data DIR [--count 40] [--base 4] [--repeats 10]

RUN is a search on DIR whose ensemble has all its trials as members (`--finalists 0 --top-k 10`); DIR has
unlabelled_soundscapes_truth.csv and test_soundscapes_labels.csv beside the usual tables. In each repeat a few labelled
soundscapes (--base) are drawn. They rank the members alone, with --count suggested windows, and with as many random
ones of the same unlabelled soundscapes; each ranking is compared with that of the test soundscapes: Kendall's tau, and
what the member that comes first is behind the best one there. The differences of suggested and random are paired.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from score_trial import predict_labelled

from analysis.suggestions import on_label_grid, suggest_windows
from sed_model.core.errors import UserError
from sed_model.data.soundscape_labels import read_soundscape_labels
from sed_model.model.checkpoint import load_model
from sed_model.model.devices import choose_runtime
from sed_model.run_folder.member_scores import MemberScores, read_member_scores
from sed_model.run_folder.predictions import read_predictions
from sed_model.run_folder.resampling import class_aucs, mean_of_classes

TRUTH = "unlabelled_soundscapes_truth.csv"
WAYS = ("labelled alone", "suggested", "random")


@dataclass(frozen=True)
class Windows:
    """Windows with their truth [windows, classes], and what each member says [members, windows, classes]."""

    files: np.ndarray
    targets: np.ndarray
    by_member: np.ndarray

    def take(self, rows: np.ndarray) -> Windows:
        return Windows(self.files[rows], self.targets[rows], self.by_member[:, rows])

    def aucs(self, more: Windows | None = None) -> np.ndarray:
        """Macro AUC of each member on these windows, and on more of them."""
        parts = [self] if more is None else [self, more]
        targets = np.concatenate([part.targets for part in parts])
        by_member = np.concatenate([part.by_member for part in parts], axis=1)
        return np.array([float(mean_of_classes(class_aucs(targets, rows))) for rows in by_member])


def unlabelled_windows(scores: MemberScores, data_dir: Path) -> tuple[MemberScores, Windows]:
    """The windows of which the truth is known."""
    length_s = scores.windows[0][2] - scores.windows[0][1]
    truth = read_soundscape_labels(data_dir / TRUTH, data_dir / "train_soundscapes", scores.classes, length_s)
    targets = truth[list(scores.classes)].to_numpy(np.float32)
    row_of = {
        (Path(path).name, round(end_s)): row
        for path, end_s, row in zip(truth["path"], truth["end_s"], range(len(truth)), strict=True)
    }
    rows = np.array([row_of.get((name, round(end_s)), -1) for name, _, end_s in scores.windows])
    kept = scores.take((rows >= 0) & on_label_grid(scores))
    rows = rows[(rows >= 0) & on_label_grid(scores)]
    return kept, Windows(np.array([name for name, _, _ in kept.windows]), targets[rows], kept.by_member)


def labelled_windows(run: Path, names: Sequence[str]) -> Windows:
    """What the members said of the labelled soundscapes when these validated them."""
    said = [read_predictions(run / "trials" / name) for name in names]
    return Windows(np.array(said[0].files), said[0].targets, np.stack([one.probabilities for one in said]))


def test_aucs(run: Path, names: Sequence[str], data_dir: Path) -> np.ndarray:
    members = [load_model(run / "trials" / name) for name in names]
    runtime = choose_runtime(members[0].config.optim)
    for member in members:
        runtime.place(member.model)
    targets, by_member = predict_labelled(members, data_dir, runtime)
    return Windows(np.empty(0), targets, by_member).aucs()


def repeats(
    labelled: Windows, scores: MemberScores, pool: Windows, truth: np.ndarray, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """tau and regret of each way, a repeat at a time."""
    files = np.unique(labelled.files)
    for repeat in range(options.repeats):
        rng = np.random.default_rng(repeat)
        base = labelled.take(np.flatnonzero(np.isin(labelled.files, rng.choice(files, options.base, replace=False))))
        suggested = suggest_windows(scores, base.targets.sum(axis=0), options.count)["row"].to_numpy()
        drawn = rng.choice(len(pool.targets), options.count, replace=False)
        found = (base.aucs(), base.aucs(pool.take(suggested)), base.aucs(pool.take(drawn)))
        row: dict[str, Any] = {"repeat": repeat}
        for way, aucs in zip(WAYS, found, strict=True):
            row[f"tau, {way}"] = round(float(kendalltau(aucs, truth).statistic), 4)
            row[f"regret, {way}"] = round(float(truth.max() - truth[aucs.argmax()]), 4)
        yield row


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Means, and of the paired differences of suggested and random their standard errors."""
    told = {name: round(statistics.mean(row[name] for row in rows), 4) for name in rows[0] if name != "repeat"}
    for measure in ("tau", "regret"):
        differences = [row[f"{measure}, suggested"] - row[f"{measure}, random"] for row in rows]
        told[f"{measure}, suggested - random"] = round(statistics.mean(differences), 4)
        told[f"{measure}, its error"] = round(statistics.stdev(differences) / len(rows) ** 0.5, 4)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40, help="windows that are labelled (40)")
    parser.add_argument("--base", type=int, default=4, help="labelled soundscapes that are there before (4)")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    try:
        members = json.loads((options.run / "ensemble" / "members.json").read_text(encoding="utf-8"))["members"]
        names = [member["trial_id"] for member in members]
        scores, pool = unlabelled_windows(read_member_scores(options.run), options.data)
        truth = test_aucs(options.run, names, options.data)
        rows = []
        for row in repeats(labelled_windows(options.run, names), scores, pool, truth, options):
            rows.append(row)
            print(json.dumps(row), flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    spread = {
        "members": len(names),
        "best on test": round(float(truth.max()), 4),
        "worst": round(float(truth.min()), 4),
    }
    print(json.dumps(spread | {"windows": len(pool.targets)} | summary(rows)), flush=True)
    return 0


if __name__ == "__main__":
    torch.set_num_threads(2)
    raise SystemExit(main())
