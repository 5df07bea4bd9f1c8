"""What the suites of hostile run folders share: the tables of a run, what reads them, and how to damage them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.predictions import read_frame_scores, read_oof, read_pseudo_labels
from analysis.tables import RunFolderError, read_run
from tests.hostile import refusal, with_column

TRIALS, CURVES = "trials.parquet", "curves.parquet"
OOF, FRAMES = "trials/trial_0003/oof.parquet", "trials/trial_0003/frames.parquet"
LABELS = "ensemble/pseudo_labels/part-0.parquet"
N_TRIALS, N_EPOCHS = 7, 14

READERS: dict[str, Callable[[Path], object]] = {
    TRIALS: read_run,
    CURVES: read_run,
    OOF: lambda run: read_oof(run, "trial_0003"),
    FRAMES: lambda run: read_frame_scores(run, "trial_0003"),
    LABELS: read_pseudo_labels,
}


def refuses(call: Callable[[], object], *words: str) -> str:
    return refusal(call, *words, kind=RunFolderError)


def change(file: Path, edit: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(edit(pq.read_table(file)), file)


def put_column(file: Path, name: str, values: Any, stored: pa.DataType | None = None) -> None:
    array = values if isinstance(values, pa.Array) else pa.array(values, stored)
    change(file, lambda table: with_column(table, name, array))


def unprintable(text: str) -> str:
    return "".join(letter for letter in text if not letter.isprintable() and letter != "\n")
