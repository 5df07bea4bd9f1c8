"""Labelled soundscapes that train against ones that only validate, on the test soundscapes: several data sets.

    python benchmarks/score_soundscapes.py --data DIR [--data DIR ..] --weights FILE --out DIR [--share 0.5 ..]

The default of benchmarks/tables four times: with four seeds, and with the same seeds on the four parts of the labelled
soundscapes, where a share of the clips is labelled windows. Each keeps the mean of its last three epochs. Nothing is
chosen on the test soundscapes. A broken run goes on with what is missing in --out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from tables.record import VARIANTS, Row, record

from sed_model.core.errors import UserError
from sed_model.run_folder.metrics import macro_auc

N_PARTS = 4
MEAN = VARIANTS.index("mean")


def rows_of(plain: Row, share: float) -> list[Row]:
    """The trainings of one line of the table; a share of 0: no labelled soundscape trains."""
    parts = [replace(plain, number=round(100 * share), seed=part) for part in range(N_PARTS)]
    if not share:
        return parts
    folds = {"data.soundscape_folds": N_PARTS, "data.soundscape_prob": share}
    return [replace(row, values={**folds, "data.fold": row.seed}) for row in parts]


def train(row: Row) -> None:
    if not row.file.is_file():
        record(row)


def line_of(rows: list[Row], share: float) -> dict[str, object]:
    """Mean and standard deviation of the single models, and the score of their mean."""
    folder = rows[0].file.parent
    targets = np.load(folder / "truth.npz")["test_targets"]
    by_model = [np.load(row.file.with_suffix(".npz"))["test"][MEAN].astype(np.float32) for row in rows]
    singles = [macro_auc(targets, probabilities) for probabilities in by_model]
    facts = {"data": folder.name, "share": share, "single": statistics.mean(singles), "sd": statistics.stdev(singles)}
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in facts.items()}
    return rounded | {"mean of 4": round(macro_auc(targets, np.mean(by_model, axis=0)), 4)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="rows and predictions; a broken run goes on here")
    parser.add_argument("--share", type=float, action="append", help="of labelled windows (0.25, 0.5); may be repeated")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    lines = []
    for data in options.data:
        plain = Row(data.absolute(), 0, 0, {}, options.weights.absolute(), options.out.absolute())
        lines += [(rows_of(plain, share), share) for share in (0.0, *(options.share or (0.25, 0.5)))]
    try:
        with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn"), max_tasks_per_child=20) as pool:
            list(pool.map(train, [row for rows, _ in lines for row in rows]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for rows, share in lines:
        print(json.dumps(line_of(rows, share)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
