"""Shrink recorded tables to what is committed: SET.csv (settings, curves, scores) and SET.npz (coarse predictions).

    python benchmarks/tables/summary.py --tables DIR [--out benchmarks/tables]

A summary that is there grows by the rows of this recording. `benchmarks/selection.py` reads either. A summary keeps
the labelled windows of the best epoch's weights and of the mean weights, and of the mean weights the unlabelled and the
test windows. A probability is one of 256 (unlabelled: 32) equal steps of its logit, from the smallest to the largest of
its row and class.
"""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sed_model.core.files import replacing
from sed_model.run_folder.metrics import macro_auc

VARIANTS = ("best", "last", "mean")
"""As record.py stacks them."""
RECORDED = {"labelled": VARIANTS, "unlabelled": ("mean",), "test": VARIANTS}
N_LEVELS = {"labelled": 256, "unlabelled": 32, "test": 256}
"""Agreement takes coarser steps than AUCs do."""
LOWEST_LOGIT = -16.0
KEPT = (("labelled", "best"), ("labelled", "mean"), ("unlabelled", "mean"), ("test", "mean"))
Predictions = dict[tuple[str, str], NDArray[Any]]


@dataclass(frozen=True)
class Table:
    """The recorded rows of a set; predictions [rows, windows, classes] by part and variant of the weights."""

    name: str
    rows: pd.DataFrame  # number, seed, the values as columns, curve, scores
    predictions: Predictions
    targets: dict[str, NDArray[np.int8]]  # [windows, classes] of the labelled and the test part
    files: dict[str, NDArray[np.int16]]  # [windows]

    def only(self, rows: pd.DataFrame) -> Table:
        """The rows with the numbers and seeds of `rows`, in their order."""
        place = {key: row for row, key in enumerate(zip(self.rows["number"], self.rows["seed"], strict=True))}
        chosen = [place[key] for key in zip(rows["number"], rows["seed"], strict=True)]
        predictions = {key: scores[chosen] for key, scores in self.predictions.items()}
        return replace(self, rows=self.rows.iloc[chosen].reset_index(drop=True), predictions=predictions)

    @cached_property
    def n_epochs(self) -> NDArray[np.int64]:
        return np.array([len(curve.split()) for curve in self.rows["curve"]])


def read_tables(folder: Path) -> list[Table]:
    """Of every set whose default is recorded: folders as record.py writes them, or else summaries."""
    recorded = [read_recorded(path.parent) for path in sorted(folder.glob("*/000_0.json"))]
    return recorded or [read_summary(path) for path in sorted(folder.glob("*.npz"))]


def read_recorded(folder: Path) -> Table:
    facts = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*_*.json"))]
    with np.load(folder / "truth.npz") as truth:
        targets = {part: truth[f"{part}_targets"] for part in ("labelled", "test")}
        files = {part: truth[f"{part}_files"] for part in ("labelled", "unlabelled", "test")}
    stacks: dict[tuple[str, str], list[NDArray[np.float16]]] = {}
    for fact in facts:
        with np.load(folder / f"{fact['number']:03d}_{fact['seed']}.npz") as row:
            for part in files:
                for variant, scores in zip(RECORDED[part], row[part], strict=True):
                    stacks.setdefault((part, variant), []).append(scores)
    predictions = {key: np.stack(rows) for key, rows in stacks.items()}
    return Table(folder.name, pd.DataFrame(map(_flat, facts)), predictions, targets, files)


def _flat(fact: dict[str, Any]) -> dict[str, Any]:
    """A row of the CSV; the curve is one column, as settings decide its length."""
    settings = {f"values.{key}": value for key, value in fact["values"].items()}
    curve = " ".join(f"{score:.5f}" for score in fact["curve"])
    rest = {key: value for key, value in fact.items() if key not in ("values", "curve", "number", "seed")}
    return {"number": fact["number"], "seed": fact["seed"], **settings, "curve": curve, **rest}


def read_summary(file: Path) -> Table:
    rows = pd.read_csv(file.with_suffix(".csv"))
    with np.load(file) as stored:
        arrays = dict(stored)
    predictions = {
        (part, variant): decode(arrays[f"{part}_{variant}"], arrays[f"{part}_{variant}_limits"], N_LEVELS[part])
        for part, variant in KEPT
    }
    targets = {part: arrays[f"{part}_targets"] for part in ("labelled", "test")}
    files = {part: arrays[f"{part}_files"] for part in ("labelled", "unlabelled", "test")}
    return Table(file.stem, rows, predictions, targets, files)


def write_summary(table: Table, folder: Path) -> Path:
    """SET.csv and SET.npz in `folder`; rows of a summary that is there stay, unless they are recorded anew."""
    rows, arrays = table.rows, _encoded(table)
    file = folder / f"{table.name}.npz"
    if file.is_file():
        with np.load(file) as stored:
            earlier_rows, earlier = pd.read_csv(file.with_suffix(".csv")), dict(stored)
        known = set(zip(rows["number"], rows["seed"], strict=True))
        stays = [place not in known for place in zip(earlier_rows["number"], earlier_rows["seed"], strict=True)]
        rows = pd.concat([earlier_rows[stays], rows], ignore_index=True)
        order = rows.sort_values(["seed", "number"]).index.to_numpy()
        rows = rows.loc[order].reset_index(drop=True)
        for name in _of_rows():
            axis = 1 if name.endswith("_limits") else 0
            both = np.concatenate([np.compress(stays, earlier[name], axis), arrays[name]], axis)
            arrays[name] = np.take(both, order, axis)
    folder.mkdir(parents=True, exist_ok=True)
    # A tenth smaller than np.savez_compressed; np.load reads it.
    with replacing(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    with replacing(file.with_suffix(".csv")) as temporary:
        rows.to_csv(temporary, index=False)
    return file


def _of_rows() -> list[str]:
    """The arrays that have an entry for each row."""
    return [f"{part}_{variant}{end}" for part, variant in KEPT for end in ("", "_limits")]


def _encoded(table: Table) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {f"{part}_targets": targets for part, targets in table.targets.items()}
    arrays |= {f"{part}_files": files for part, files in table.files.items()}
    for part, variant in KEPT:
        codes, limits = encode(table.predictions[part, variant], N_LEVELS[part])
        arrays[f"{part}_{variant}"], arrays[f"{part}_{variant}_limits"] = codes, limits
    return arrays


def encode(scores: NDArray[Any], n_levels: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Codes [rows, classes, windows], which compress best so, and the limits of the logits [2, rows, 1, classes]."""
    tiny = 1 / (1 + np.exp(-LOWEST_LOGIT))
    clipped = np.clip(scores.astype(np.float64), tiny, 1 - tiny)
    logits = np.log(clipped / (1 - clipped))
    limits = np.stack([logits.min(axis=1, keepdims=True), logits.max(axis=1, keepdims=True)]).astype(np.float16)
    low, high = limits.astype(np.float64)
    steps = np.divide(logits - low, high - low, out=np.zeros_like(logits), where=high > low)
    return np.rint(np.clip(steps, 0, 1) * (n_levels - 1)).astype(np.uint8).transpose(0, 2, 1), limits


def decode(codes: NDArray[np.uint8], limits: NDArray[np.float16], n_levels: int) -> NDArray[np.float32]:
    low, high = limits.astype(np.float32)
    return 1 / (1 + np.exp(-(low + (high - low) * (codes.transpose(0, 2, 1) / np.float32(n_levels - 1)))))


def shifts(table: Table, summary: Table) -> dict[str, float]:
    """By how much macro AUCs move: of single rows, and of the mean of four (largest and root mean square)."""
    facts = {}
    for part in ("labelled", "test"):
        targets, before, after = table.targets[part], table.predictions[part, "mean"], summary.predictions[part, "mean"]
        fours = [np.roll(np.arange(len(before)), place)[:4] for place in range(len(before))]
        for name, groups in (("", [[row] for row in range(len(before))]), ("_mean_of_4", fours)):
            moved = [_of_mean(targets, after, group) - _of_mean(targets, before, group) for group in groups]
            facts[f"{part}{name}_largest"] = float(np.abs(moved).max())
            facts[f"{part}{name}_rms"] = float(np.sqrt(np.square(moved).mean()))
    return facts


def _of_mean(targets: NDArray[np.int8], scores: NDArray[Any], rows: Iterable[int]) -> float:
    return macro_auc(targets, scores[list(rows)].astype(np.float32).mean(axis=0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, help="a folder that record.py wrote")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    tables = [read_recorded(path.parent) for path in sorted(options.tables.glob("*/000_0.json"))]
    if not tables:
        print(f"error: {options.tables} has no SET/000_0.json; record tables with record.py.", file=sys.stderr)
        return 2
    for table in tables:
        file = write_summary(table, options.out)
        size_kb = file.stat().st_size / 1000
        summary = read_summary(file)
        facts = {"kb": size_kb, "kb_a_row": size_kb / len(summary.rows), **shifts(table, summary.only(table.rows))}
        told = {key: round(value, 5) for key, value in facts.items()}
        print(json.dumps({"name": table.name, "rows": len(summary.rows), **told}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
