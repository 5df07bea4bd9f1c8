"""Validation predictions as a table: what was true and what the model said, a row a window."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from sed_model.core.errors import CheckpointError
from sed_model.core.files import read_parquet, write_parquet

OOF_FILE = "oof.parquet"
OOF_SCHEMA = pa.schema(
    [
        ("filename", pa.string()),
        ("start_s", pa.float32()),
        ("end_s", pa.float32()),
        ("target", pa.list_(pa.float32())),
        ("probabilities", pa.list_(pa.float32())),
    ]
)


@runtime_checkable  # the tests check types
class ScoredWindows(Protocol):
    """A row a window that was scored: its file, its bounds in seconds, and what is true of it (windows, classes)."""

    paths: list[str]
    start_s: np.ndarray
    end_s: np.ndarray
    targets: np.ndarray


def write_predictions(
    path: Path, windows: ScoredWindows, probabilities: Float[np.ndarray, "n k"], classes: Sequence[str]
) -> None:
    """Write the windows with targets and probabilities, in the order of the metadata's `classes`."""
    columns = [
        windows.paths,
        windows.start_s.tolist(),
        windows.end_s.tolist(),
        windows.targets.tolist(),
        probabilities.tolist(),
    ]
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, OOF_SCHEMA, strict=True)]
    schema = OOF_SCHEMA.with_metadata({"classes": json.dumps(list(classes))})
    write_parquet(path, pa.Table.from_arrays(arrays, schema=schema))


@dataclass(frozen=True)
class OutOfFold:
    """Validation windows with what was true and what the model said."""

    windows: tuple[tuple[str, float, float], ...]
    """filename, start_s, end_s"""
    targets: Float[np.ndarray, "windows classes"]
    probabilities: Float[np.ndarray, "windows classes"]


def read_predictions(folder: Path) -> OutOfFold:
    """The validation predictions of the model in a folder.

    Raises:
        CheckpointError: they are missing or damaged.
    """
    path = folder / OOF_FILE
    try:
        table = read_parquet(path, OOF_SCHEMA)
        columns = [table[name].to_pylist() for name in OOF_SCHEMA.names]
        targets, probabilities = (np.asarray(values, np.float32) for values in columns[3:])
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is not there; train again.") from None
    except (OSError, ValueError, TypeError) as error:  # vectors of unequal length, or of nulls, are the latter two
        raise CheckpointError(f"{path}: is damaged ({str(error).splitlines()[0]}); train again.") from None
    if targets.ndim != 2 or targets.shape != probabilities.shape or not _are_probabilities(targets, probabilities):
        raise CheckpointError(f"{path}: holds no numbers from 0 to 1, one a class; train again.")
    windows = tuple(zip(*columns[:3], strict=True))
    if not all(None not in window and 0 <= window[1] < window[2] < math.inf for window in windows):
        raise CheckpointError(f"{path}: holds rows that are no window of a file; train again.")
    return OutOfFold(windows, targets, probabilities)


def _are_probabilities(*arrays: Float[np.ndarray, "n k"]) -> bool:
    return all(bool(((values >= 0) & (values <= 1)).all()) for values in arrays)
