"""What models said of windows: validation predictions, frame scores and pseudo-labels, as tables of a run folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Float32, Int

from sed_model.core.errors import CheckpointError
from sed_model.core.parquet import read_parquet, write_parquet
from sed_model.core.texts import examples, first_line
from sed_model.run_folder.checks import empty

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
FRAMES_FILE = "frames.parquet"
FRAMES_SCHEMA = pa.schema(
    [
        ("filename", pa.string()),
        ("start_s", pa.float32()),
        ("end_s", pa.float32()),
        ("label", pa.string()),
        ("frames_start_s", pa.float32()),
        ("frames_end_s", pa.float32()),
        ("scores", pa.list_(pa.float32())),
    ]
)
PSEUDO_LABEL_SCHEMA = pa.schema(
    [
        ("filename", pa.string()),
        ("start_s", pa.float32()),
        ("end_s", pa.float32()),
        ("primary_label", pa.string()),
        ("confidence", pa.float32()),
        ("labels", pa.list_(pa.string())),
        ("probabilities", pa.list_(pa.float32())),
        ("n_members", pa.int32()),
        ("disagreement", pa.float32()),
        ("weight", pa.float32()),
        ("from_validation", pa.bool_()),
    ]
)
LATER = frozenset({"from_validation"})
"""Columns that tables of earlier releases lack."""
VECTORS = ("target", "probabilities")
"""Columns of one value a class, in the order of the metadata's `classes`."""
MAX_LABEL = 1_000


@runtime_checkable  # the tests check types
class ScoredWindows(Protocol):
    """A row a window that was scored: its file, its bounds in seconds, and what is true of it (windows, classes)."""

    paths: list[str]
    start_s: np.ndarray
    end_s: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class OutOfFold:
    """Validation windows with what was true and what the model said."""

    classes: tuple[str, ...]
    windows: tuple[tuple[str, float, float], ...]
    """filename, start_s, end_s"""
    targets: Float[np.ndarray, "windows classes"]
    probabilities: Float[np.ndarray, "windows classes"]
    parts: Int[np.ndarray, " windows"] | None = None
    """Which model scored each window, where several did: their scores do not compare."""

    @property
    def files(self) -> list[str]:
        """The file of each window."""
        return [filename for filename, _, _ in self.windows]


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


def read_predictions(folder: Path, within: Path | None = None) -> OutOfFold:
    """The validation predictions of the model in a folder.

    Args:
        within: a folder that no link may lead out of.

    Raises:
        CheckpointError: they are missing or damaged.
    """
    path = folder / OOF_FILE
    try:
        table, classes = read_windows(path, OOF_SCHEMA, within)
        if not len(table):
            raise ValueError("it holds no window")
        if twice := repeated_windows(table):
            raise ValueError(twice)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is not there; train again.") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: is damaged ({error}); train again.") from None
    windows = tuple(zip(*(table[name].to_pylist() for name in OOF_SCHEMA.names[:3]), strict=True))
    return OutOfFold(classes, windows, *(matrix(table[name], len(classes)) for name in VECTORS))


def read_windows(path: Path, schema: pa.Schema, within: Path | None = None) -> tuple[pa.Table, tuple[str, ...]]:
    """A table with a row a window of a file, and the classes that its vectors are of.

    Raises:
        FileNotFoundError: there is none.
        OSError, ValueError: it is damaged, or holds rows that are no windows, or vectors of no probabilities.
    """
    table = read_parquet(path, schema, LATER, within=within)
    classes = classes_of(table.schema.metadata or {})
    problems = list(empty(table, set(schema.names) - LATER)) or list(_odd_windows(table, len(classes)))
    if problems:
        raise ValueError("; ".join(problems))
    return table, classes


def classes_of(metadata: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """The labels of a file's vectors, in order.

    Raises:
        ValueError: there are none, or some are no labels of classes.
    """
    try:
        classes = json.loads(metadata[b"classes"])
    except KeyError:
        raise ValueError("no 'classes' in the file's metadata") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"metadata 'classes' is not JSON: {first_line(error)}") from None
    if not isinstance(classes, list) or not classes or not all(isinstance(label, str) for label in classes):
        raise ValueError("metadata 'classes' is no list of labels")
    if strange := [label for label in classes if not label.isprintable() or len(label) > MAX_LABEL]:
        raise ValueError(f"metadata 'classes' names {examples(strange)}: no label of a class")
    if len(set(classes)) < len(classes):
        raise ValueError("metadata 'classes' names a class twice")
    return tuple(classes)


def matrix(column: pa.ChunkedArray, n_columns: int) -> Float32[np.ndarray, "rows columns"]:
    """The lists of a column as rows, NaN where a value is missing.

    Not by way of Python's floats: every trial reads the labels, and a hundred thousand windows would take gigabytes.

    Raises:
        ValueError: a list has another length.
    """
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if odd := [length for length in lengths if length != n_columns]:
        n_odd = pc.sum(pc.not_equal(pc.list_value_length(column).fill_null(-1), n_columns)).as_py()
        raise ValueError(f"{examples(odd)} values in {n_odd} rows, but the file names {n_columns} classes")
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float32).reshape(-1, n_columns)


def _odd_windows(table: pa.Table, n_classes: int) -> Iterator[str]:
    start_s, end_s = (table[name].to_numpy().astype(np.float64) for name in ("start_s", "end_s"))
    n_odd = int((~((start_s >= 0) & (end_s > start_s) & np.isfinite(end_s))).sum())
    if n_odd:
        yield f"start_s below 0, or end_s not after start_s, in {n_odd} rows"
    for name in VECTORS:
        if name not in table.column_names:
            continue
        try:
            values = matrix(table[name], n_classes)
        except ValueError as error:
            yield f"{name} has {error}"
            continue
        n_odd = int((~((values >= 0) & (values <= 1))).any(axis=1).sum())
        if n_odd:
            yield f"{name} leaves 0..1 (or is not finite) in {n_odd} rows"


def repeated_windows(table: pa.Table) -> str:
    """Windows of a file that stand in the table more than once, or nothing."""
    counts = table.select(["filename", "start_s", "end_s"]).group_by(
        ["filename", "start_s", "end_s"], use_threads=False
    )
    found = counts.aggregate([([], "count_all")])
    twice = found.filter(pc.greater(found["count_all"], 1))["filename"]
    return f"windows given twice in {examples(pc.unique(twice).to_pylist())}" if len(twice) else ""
