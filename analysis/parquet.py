"""One Parquet file -> a pandas table whose columns are there and hold the kind they should."""

import difflib
import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.checks import examples, first_line


class Kind(StrEnum):
    """What a column holds; several storage types may carry one kind."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    TEXTS = "list of text"
    NUMBERS = "list of numbers"


# Integers and booleans with gaps keep their type: 4 heads must not be shown as 4.0.
_PANDAS_TYPES: dict[pa.DataType, Any] = {
    pa.int32(): pd.Int64Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}
_FRAME_DTYPES = {Kind.TEXT: "str", Kind.INTEGER: "Int64", Kind.NUMBER: "float64"}


def read_arrow(file: Path) -> pa.Table:
    """All of a Parquet file.

    Read at once: a search that runs may replace the file between two looks at it. Without threads, and by ParquetFile
    (pq.read_table starts one even so): a process that ends while Arrow's threads still start is aborted.
    """
    return pq.ParquetFile(pa.BufferReader(file.read_bytes())).read(use_threads=False)


def read_table(
    file: Path,
    columns: Mapping[str, Kind],
    nullable: frozenset[str],
    problems: list[str],
    optional: frozenset[str] = frozenset(),
) -> tuple[pd.DataFrame | None, dict[bytes, bytes] | None]:
    """The table with every contract column in its pandas type, and the file's metadata; None after a problem.

    `optional` columns that are not there are empty.
    """
    try:
        arrow = read_arrow(file)
    except FileNotFoundError:
        problems.append(f"{file}: missing; the run that writes it has not come so far, or the folder was cut.")
        return None, None
    except (pa.ArrowException, OSError) as error:
        problems.append(f"{file}: not readable as Parquet ({first_line(error)}); write it again.")
        return None, None
    for name in columns.keys() & optional - set(arrow.column_names):
        arrow = arrow.append_column(name, pa.nulls(arrow.num_rows))
    found = []
    for name, kind in columns.items():
        if name not in arrow.column_names:
            near = difflib.get_close_matches(name, arrow.column_names, n=1)
            hint = f" (it has {near[0]!r})" if near else ""
            found.append(f"column {name!r} is missing{hint}; the writer must add it as {kind}.")
        elif not _holds(arrow.schema.field(name).type, kind):
            found.append(f"column {name!r} is {arrow.schema.field(name).type}, not {kind}; write it as {kind}.")
    if not found:
        frame = arrow.to_pandas(types_mapper=_PANDAS_TYPES.get, use_threads=False)
        found = [problem for name in columns if (problem := _null_problem(frame, name, columns[name], nullable))]
    problems += [f"{file}: {problem}" for problem in found]
    metadata = dict(arrow.schema.metadata or {})
    if found:
        return None, metadata
    for name, kind in columns.items():
        if kind in _FRAME_DTYPES:
            frame[name] = frame[name].astype(_FRAME_DTYPES[kind])
    return frame, metadata


def _holds(stored: pa.DataType, kind: Kind) -> bool:
    """Whether an Arrow type can carry the kind; a column of nulls only carries any."""
    types = pa.types
    if types.is_null(stored):
        return True
    if types.is_dictionary(stored):
        return _holds(stored.value_type, kind)
    if kind in (Kind.TEXTS, Kind.NUMBERS):
        is_list = types.is_list(stored) or types.is_large_list(stored) or types.is_fixed_size_list(stored)
        return is_list and _holds(stored.value_type, Kind.TEXT if kind == Kind.TEXTS else Kind.NUMBER)
    if kind == Kind.TEXT:
        return bool(types.is_string(stored) or types.is_large_string(stored) or types.is_string_view(stored))
    # pandas turns integers with gaps into floats: whether they are whole is a question of values, asked later.
    return bool(types.is_integer(stored) or types.is_floating(stored))


def _null_problem(frame: pd.DataFrame, name: str, kind: Kind, nullable: frozenset[str]) -> str:
    values = frame[name]
    n_null = int(values.isna().sum())
    if n_null and name not in nullable:
        return f"column {name!r} is empty in {n_null} of {len(frame)} rows; the writer must fill it."
    if kind == Kind.INTEGER and n_null < len(frame):
        given = values.dropna().astype("float64")
        broken = given[given % 1 != 0]
        if len(broken):
            return f"column {name!r} holds {examples(broken)}, not integers; write whole numbers."
    return ""


def read_classes(file: Path, metadata: Mapping[bytes, bytes], problems: list[str]) -> tuple[str, ...]:
    """The labels of the file's probability vectors, in order; () after a problem."""
    try:
        classes = json.loads(metadata[b"classes"])
    except KeyError:
        problems.append(f"{file}: no 'classes' in the file's metadata; write it as a JSON list of labels.")
        return ()
    except ValueError as error:
        problems.append(f"{file}: metadata 'classes' is not JSON ({error}); write a JSON list of labels.")
        return ()
    if not isinstance(classes, list) or not classes or not all(isinstance(label, str) for label in classes):
        problems.append(f"{file}: metadata 'classes' must be a JSON list of labels (strings), at least one.")
        return ()
    if len(set(classes)) < len(classes):
        problems.append(f"{file}: metadata 'classes' names a class twice; each class has one column.")
        return ()
    return tuple(classes)
