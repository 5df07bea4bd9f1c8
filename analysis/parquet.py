"""One Parquet file -> a pandas table whose columns are there and hold the kind they should."""

import difflib
import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.checks import examples, first_line, shown
from analysis.files import read_file

CONFIG_PREFIX = "config."
"""Columns of this prefix hold the settings of a trial."""
MAX_LABEL = 1_000
MAX_SETTINGS = 500
MAX_ROWS = 5_000_000
MAX_VALUES = 500_000_000
"""In a column of lists. A file of some kilobytes may announce billions of rows of nothing."""


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


def read_table(
    file: Path,
    root: Path,
    columns: Mapping[str, Kind],
    problems: list[str],
    nullable: frozenset[str] = frozenset(),
    optional: frozenset[str] = frozenset(),
) -> tuple[pd.DataFrame | None, dict[bytes, bytes] | None]:
    """The contract columns in their pandas types and the settings, and the file's metadata; None after a problem.

    `root` is the run folder, which `file` has to lie in. `optional` columns that are not there are empty.
    """
    try:
        arrow = _read_arrow(read_file(file, root), columns)
    except FileNotFoundError:
        problems.append(f"{file}: missing; the run that writes it has not come so far, or the folder was cut.")
        return None, None
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        problems.append(f"{file}: not readable as Parquet ({first_line(error)}); write it again.")
        return None, None
    for name in columns.keys() & optional - set(arrow.column_names):
        arrow = arrow.append_column(name, pa.nulls(arrow.num_rows))
    found = _column_problems(arrow.schema, columns)
    if not found:
        # By place: in a name, dots stand for nested columns.
        places = [place for place, name in enumerate(arrow.column_names) if _is_wanted(name, columns)]
        # Without the metadata, in which pandas may be told to make an index of a column.
        chosen = arrow.select(places).replace_schema_metadata(None)
        frame = chosen.to_pandas(types_mapper=_PANDAS_TYPES.get, use_threads=False)
        found = [problem for name in columns if (problem := _null_problem(frame, name, columns[name], nullable))]
        found += [problem for name in frame if (problem := _setting_problem(frame, str(name)))]
    problems += [f"{file}: {problem}" for problem in found]
    metadata = dict(arrow.schema.metadata or {})
    if found:
        return None, metadata
    for name, kind in columns.items():
        if kind in _FRAME_DTYPES:
            frame[name] = frame[name].astype(_FRAME_DTYPES[kind])
    return frame, metadata


def _read_arrow(content: bytes, columns: Mapping[str, Kind]) -> pa.Table:
    """
    Raises:
        ValueError, OSError, pa.ArrowException, MemoryError: it is no Parquet file, is damaged, is too large, or has a
            contract column or a setting twice.
    """
    # The whole of it: a search may replace the file between two looks at it. Without threads, and by ParquetFile
    # (pq.read_table starts one even so): a process that ends while Arrow's threads still start is aborted.
    file = pq.ParquetFile(pa.BufferReader(content))
    names = [name for name in file.schema_arrow.names if _is_wanted(name, columns)]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"column {shown(twice[0], 60)!r} is there twice")
    if sum(name.startswith(CONFIG_PREFIX) for name in names) > MAX_SETTINGS:
        raise ValueError(f"it has more than {MAX_SETTINGS:,} columns {CONFIG_PREFIX}*")
    if file.metadata.num_rows > MAX_ROWS or _most_values(file) > MAX_VALUES:
        raise ValueError(f"it has more than {MAX_ROWS:,} rows, or {MAX_VALUES:,} values in a column")
    arrow = file.read(use_threads=False)
    arrow.validate(full=True)  # texts may hold bytes that are none
    return arrow


def _most_values(file: pq.ParquetFile) -> int:
    """How many values the longest column of a row group has, as the footer says."""
    groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
    for place, group in enumerate(groups):
        if group.num_rows:
            # Of a damaged column, `group.column` aborts the process; reading a row of it raises.
            next(file.iter_batches(batch_size=1, row_groups=[place], use_threads=False), None)
    places = range(file.metadata.num_columns)
    return max((group.column(place).num_values for group in groups for place in places if group.num_rows), default=0)


def _is_wanted(name: str, columns: Mapping[str, Kind]) -> bool:
    return name in columns or name.startswith(CONFIG_PREFIX)


def _column_problems(schema: pa.Schema, columns: Mapping[str, Kind]) -> list[str]:
    found = []
    for name, kind in columns.items():
        if name not in schema.names:
            near = difflib.get_close_matches(name, schema.names, n=1)
            hint = f" (it has {near[0]!r})" if near else ""
            found.append(f"column {name!r} is missing{hint}; the writer must add it as {kind}.")
        elif not _holds(schema.field(name).type, kind):
            found.append(f"column {name!r} is {shown(schema.field(name).type)}, not {kind}; write it as {kind}.")
    settings = [field for field in schema if field.name.startswith(CONFIG_PREFIX)]
    found += [
        f"column {shown(field.name, 60)!r} is {shown(field.type)}, no setting; write numbers, truth values or texts."
        for field in settings
        if not (pa.types.is_boolean(field.type) or any(_holds(field.type, kind) for kind in Kind))
    ]
    return found


def _setting_problem(frame: pd.DataFrame, name: str) -> str:
    """A setting without end, which no configuration takes."""
    if not name.startswith(CONFIG_PREFIX) or not pd.api.types.is_float_dtype(frame[name]):
        return ""
    return f"column {shown(name, 60)!r} holds inf; write finite numbers." if np.isinf(frame[name]).any() else ""


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
        broken = given[(given % 1 != 0) | (given.abs() >= 2**63)]
        if len(broken):
            return f"column {name!r} holds {examples(broken)}, not integers; write whole numbers of 64 bits."
    return ""


def read_classes(file: Path, metadata: Mapping[bytes, bytes], problems: list[str]) -> tuple[str, ...]:
    """The labels of the file's probability vectors, in order; () after a problem."""
    try:
        classes = json.loads(metadata[b"classes"])
    except KeyError:
        problems.append(f"{file}: no 'classes' in the file's metadata; write it as a JSON list of labels.")
        return ()
    except (ValueError, RecursionError) as error:
        reason = first_line(error)
        problems.append(f"{file}: metadata 'classes' is not JSON ({reason}); write a JSON list of labels.")
        return ()
    if not isinstance(classes, list) or not classes or not all(isinstance(label, str) for label in classes):
        problems.append(f"{file}: metadata 'classes' must be a JSON list of labels (strings), at least one.")
        return ()
    if strange := [label for label in classes if not label.isprintable() or len(label) > MAX_LABEL]:
        problems.append(f"{file}: metadata 'classes' names {examples(strange)}: no label of a class; mend the writer.")
        return ()
    if len(set(classes)) < len(classes):
        problems.append(f"{file}: metadata 'classes' names a class twice; each class has one column.")
        return ()
    return tuple(classes)
