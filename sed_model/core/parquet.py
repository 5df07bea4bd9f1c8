"""Parquet tables by a schema: written in one step; read whatever bytes stand in the file, and checked."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sed_model.core.files import read_file, replacing
from sed_model.core.texts import first_line, shown

MAX_ROWS = 5_000_000
MAX_VALUES = 500_000_000
"""In a column of lists. A file of some kilobytes may announce billions of rows of nothing."""


def write_parquet(path: Path, table: pa.Table) -> None:
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_parquet(
    path: Path,
    schema: pa.Schema,
    optional: Collection[str] = (),
    columns: Sequence[str] | None = None,
    within: Path | None = None,
) -> pa.Table:
    """A table that has the columns of `schema` with their types, however they are stored: integers may be floats.

    Columns in `optional` may be missing, and are empty then; the file may have others.

    Args:
        columns: read these only.
        within: a folder that no link may lead out of.

    Raises:
        FileNotFoundError: there is none.
        OSError, ValueError: it is no Parquet file, is damaged or too large, or a column is missing or of another kind.
    """
    # Read at once: a writer may replace the file between two looks at it.
    content = pa.BufferReader(read_file(path, within))
    try:
        file = pq.ParquetFile(content)  # pq.read_table would import pandas
        if problems := list(_column_problems(file.schema_arrow, schema, optional)):
            raise ValueError("; ".join(problems))
        if file.metadata.num_rows > MAX_ROWS or _most_values(file) > MAX_VALUES:
            raise ValueError(f"it has more than {MAX_ROWS:,} rows, or {MAX_VALUES:,} values in a column")
        names = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
        # Arrow's pool aborts a process that ends while its threads still start ('terminate called without an active
        # exception'): one short command in ten, on a loaded machine.
        table = file.read(names, use_threads=False)
        table.validate(full=True)  # texts may hold bytes that are none
    except (pa.ArrowException, MemoryError) as error:
        raise ValueError(first_line(error)) from None
    return _typed(table, [field for field in schema if columns is None or field.name in columns])


def _column_problems(stored: pa.Schema, schema: pa.Schema, optional: Collection[str]) -> Iterator[str]:
    for field in schema:
        places = stored.get_all_field_indices(field.name)
        if len(places) > 1:
            yield f"column {field.name!r} is there twice"
        elif places and not holds(stored.field(places[0]).type, field.type):
            yield f"column {field.name!r} holds {shown(stored.field(places[0]).type, 80)} instead of {field.type}"
        elif not places and field.name not in optional:
            near = difflib.get_close_matches(field.name, stored.names, n=1)
            yield f"column {field.name!r} is missing" + (f" (it has {near[0]!r})" if near else "")


def holds(stored: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a stored type can carry the wanted kind of values; a column of nulls carries any."""
    types = pa.types
    if types.is_null(stored):
        return True
    if types.is_dictionary(stored):
        return holds(stored.value_type, wanted)
    if types.is_list(wanted):
        is_list = types.is_list(stored) or types.is_large_list(stored) or types.is_fixed_size_list(stored)
        return is_list and holds(stored.value_type, wanted.value_type)
    if types.is_string(wanted):
        return bool(types.is_string(stored) or types.is_large_string(stored) or types.is_string_view(stored))
    if types.is_boolean(wanted):
        return bool(types.is_boolean(stored))
    # pandas makes floats of integers with gaps: whether they are whole is asked when they are cast.
    return bool(types.is_integer(stored) or types.is_floating(stored))


def _most_values(file: pq.ParquetFile) -> int:
    """How many values the longest column of a row group has, as the footer says."""
    groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
    for place, group in enumerate(groups):
        if group.num_rows:
            # Of a damaged column, `group.column` aborts the process; reading a row of it raises.
            next(file.iter_batches(batch_size=1, row_groups=[place], use_threads=False), None)
    places = range(file.metadata.num_columns)
    return max((group.column(place).num_values for group in groups for place in places if group.num_rows), default=0)


def _typed(table: pa.Table, fields: Sequence[pa.Field]) -> pa.Table:
    """The table with these columns in their types."""
    for field in fields:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        elif (column := table[field.name]).type != field.type:
            try:
                typed = column.cast(field.type)
            except pa.ArrowException as error:
                raise ValueError(f"column {field.name!r} is no {field.type}: {first_line(error)}") from None
            table = table.set_column(table.column_names.index(field.name), field.name, typed)
    return table
