"""Do suggested windows rank configurations better than windows drawn at random? On recorded predictions; no training.

    python benchmarks/score_suggest.py [--tables DIR] [--count 40] [--base 4] [--members 8] [--repeats 200]

In each repeat recorded configurations (benchmarks/tables/record.py) are drawn, a few labelled soundscapes (--base),
and half of the test soundscapes as unlabelled ones; the other half judges. The labelled ones rank the configurations
alone, with --count suggested windows of the unlabelled, with as many random ones, and with all of them. Each ranking is
compared with that of the judges: Kendall's tau, and how far the first is behind the best. Differences of suggested and
random are paired, and so is their standard error; repeats share soundscapes, so that it is somewhat too small.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau
from tables.summary import Table, read_tables

from analysis.suggestions import suggest_windows
from sed_model.run_folder.member_scores import MemberScores
from sed_model.run_folder.resampling import class_aucs, mean_of_classes

WAYS = ("labelled alone", "random", "suggested", "all")
VARIANT, WINDOW_S = "mean", 5.0


@dataclass(frozen=True)
class Windows:
    """Windows with their file, their truth [windows, classes], and what members say [members, windows, classes]."""

    files: np.ndarray
    targets: np.ndarray
    by_member: np.ndarray

    def take(self, rows: np.ndarray) -> Windows:
        return Windows(self.files[rows], self.targets[rows], self.by_member[:, rows])

    def of_files(self, files: np.ndarray) -> Windows:
        return self.take(np.flatnonzero(np.isin(self.files, files)))

    def macro_aucs(self, more: Windows | None = None) -> np.ndarray:
        """Of each member on these windows, and on more of them."""
        parts = [self] if more is None else [self, more]
        targets = np.concatenate([part.targets for part in parts])
        by_member = np.concatenate([part.by_member for part in parts], axis=1)
        return np.array([float(mean_of_classes(class_aucs(targets, rows))) for rows in by_member])

    def as_scores(self) -> MemberScores:
        """What an ensemble would have left of them: windows follow one another in each file."""
        place = [int((self.files[:row] == file).sum()) for row, file in enumerate(self.files)]
        named = zip(self.files, place, strict=True)
        windows = tuple((f"{file}.ogg", WINDOW_S * n, WINDOW_S * (n + 1)) for file, n in named)
        classes = tuple(map(str, range(self.targets.shape[1])))
        loud = np.ones(len(windows), np.float32)
        return MemberScores(classes, Path(), windows, loud, self.by_member.astype(np.float32))


def windows_of(table: Table, part: str, rows: np.ndarray) -> Windows:
    return Windows(table.files[part], table.targets[part], table.predictions[part, VARIANT][rows])


def repeat(table: Table, options: argparse.Namespace, rng: np.random.Generator) -> dict[str, list[float]]:
    """tau and regret of each of WAYS."""
    rows = rng.choice(len(table.rows), min(options.members, len(table.rows)), replace=False)
    labelled, test = (windows_of(table, part, rows) for part in ("labelled", "test"))
    base = labelled.of_files(rng.choice(np.unique(labelled.files), options.base, replace=False))
    files = rng.permutation(np.unique(test.files))
    pool, judge = test.of_files(files[: len(files) // 2]), test.of_files(files[len(files) // 2 :]).macro_aucs()
    suggested = suggest_windows(pool.as_scores(), base.targets.sum(axis=0), options.count)["row"].to_numpy()
    drawn = rng.choice(len(pool.files), options.count, replace=False)
    found = [base.macro_aucs(more) for more in (None, pool.take(drawn), pool.take(suggested), pool)]
    return {
        "tau": [float(kendalltau(aucs, judge).statistic) for aucs in found],
        "regret": [float(judge.max() - judge[aucs.argmax()]) for aucs in found],
    }


def summary(name: str, measure: str, values: np.ndarray) -> dict[str, object]:
    """One line of `values` [repeats, WAYS]: means, and the paired difference with its error."""
    leads = values[:, WAYS.index("suggested")] - values[:, WAYS.index("random")]
    means = {way: round(float(value), 4) for way, value in zip(WAYS, values.mean(axis=0), strict=True)}
    error = statistics.stdev(leads) / len(leads) ** 0.5
    return {
        "set": name,
        "measure": measure,
        **means,
        "suggested - random": round(leads.mean(), 4),
        "se": round(error, 4),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--tables", type=Path, default=Path(__file__).parent / "tables")
    add("--count", type=int, default=40, help="windows that are labelled (40)")
    add("--base", type=int, default=4, help="labelled soundscapes that are there before (4)")
    add("--members", type=int, default=8, help="configurations to rank (8)")
    add("--repeats", type=int, default=200)
    options = parser.parse_args()
    tables = read_tables(options.tables)
    if not tables:
        print(f"error: {options.tables} has no tables; record some with benchmarks/tables/record.py.", file=sys.stderr)
        return 2
    for table in tables:
        told = [repeat(table, options, np.random.default_rng(seed)) for seed in range(options.repeats)]
        for measure in ("tau", "regret"):
            values = np.array([one[measure] for one in told])
            print(json.dumps(summary(table.name, measure, values)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
