"""recordings.parquet: which training recordings a foreign model hears alike, as a probe run leaves it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sed_model.core.errors import DataError
from sed_model.core.parquet import read_parquet, write_parquet
from sed_model.core.texts import examples, shown
from sed_model.run_folder.checks import duplicates, empty, outside

RECORDINGS_FILE = "recordings.parquet"
RECORDING_FIELDS = pa.schema(
    [
        pa.field("filename", pa.string(), nullable=False),
        pa.field("primary_label", pa.string(), nullable=False),
        pa.field("author", pa.string(), nullable=False),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("neighbour", pa.string()),
        ("neighbour_label", pa.string()),
        ("similarity", pa.float32()),
        ("same_label_share", pa.float32()),
        ("suggested_label", pa.string()),
    ]
)
"""One row per training recording that was heard; `filename` is relative to the data folder.

`x` and `y`, without a unit, are its place on a map that keeps together what sounds alike; empty for recordings beyond
the number that is mapped. `neighbour` is the most similar other recording, and `similarity` the cosine (-1..1) of the
two mean embeddings after the mean of all was taken off. `same_label_share` (0..1) is the share of its ten nearest
recordings of other authors that have its label: of all authors, where no other author has that label; empty, where no
other recording has it. `suggested_label` is the commonest label among them, if it is none of the recording's own.
"""
MAX_TEXT = 4_096
"""Characters of a path, a label or an author."""
LABELS = ("primary_label", "neighbour_label", "suggested_label")
PATHS = ("filename", "neighbour")
ROUNDING = 1e-3
"""By which a cosine may leave -1..1."""


def write_recordings(run: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table of a run folder in one step."""
    write_parquet(run / RECORDINGS_FILE, pa.Table.from_pylist([dict(row) for row in rows], RECORDING_FIELDS))


def read_recordings(run: Path, within: Path | None = None) -> pa.Table | None:
    """The table of a run folder, with the columns of RECORDING_FIELDS; None where the run has none.

    Paths in it stay below the folder that they are relative to, as far as their text goes; links are the reader's care.

    Args:
        within: a folder that no link may lead out of.

    Raises:
        DataError: it is damaged, or holds what no probe writes.
    """
    path = run / RECORDINGS_FILE
    try:
        table = read_parquet(path, RECORDING_FIELDS, within=within)
        filled = [field.name for field in RECORDING_FIELDS if not field.nullable]
        if problems := list(empty(table, filled)) or list(_odd_texts(table)) or list(_odd_rows(table)):
            raise ValueError("; ".join(problems))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is damaged ({error}); delete it, or run trainables.probe again.") from None
    return table.select(RECORDING_FIELDS.names).replace_schema_metadata(None)


def _odd_texts(table: pa.Table) -> Iterator[str]:
    for name in (*LABELS, *PATHS, "author"):
        texts = [text for text in pc.unique(table[name]).to_pylist() if text is not None]
        if odd := [text for text in texts if not 0 < len(text) <= MAX_TEXT]:
            yield f"{name} is {examples(repr(text[:40]) for text in odd)}, no text of 1 to {MAX_TEXT:,} characters"
        if name in LABELS and (odd := [text for text in texts if not text.isprintable()]):
            yield f"{name} is {examples(repr(text[:40]) for text in odd)}, no label of a class"
        if name in PATHS and (odd := [text for text in texts if not _stays_below(text)]):
            yield f"{name} leaves the data folder: {examples(shown(text, 80) for text in odd)}"


def _stays_below(path: str) -> bool:
    """Whether a path is relative and goes nowhere up."""
    return not path.startswith("/") and ".." not in PurePosixPath(path).parts


def _odd_rows(table: pa.Table) -> Iterator[str]:
    names = table["filename"]
    problems = [
        duplicates("filename", names),
        outside("similarity", table["similarity"], -1 - ROUNDING, 1 + ROUNDING, names),
        outside("same_label_share", table["same_label_share"], 0, 1, names),
        *(outside(name, table[name], -np.inf, whose=names) for name in ("x", "y")),
    ]
    if found := [problem for problem in problems if problem]:
        yield from found
        return
    label_of = dict(zip(names.to_pylist(), table["primary_label"].to_pylist(), strict=True))
    yield from filter(None, (_odd_row(row, label_of) for row in table.to_pylist()))


def _odd_row(row: Mapping[str, Any], label_of: Mapping[str, str]) -> str:
    """What columns of a row say against each other, or nothing."""
    name, neighbour = shown(row["filename"], 80), row["neighbour"]
    missing = [(row[column] is None or row[column] != row[column]) for column in ("x", "y")]
    if missing[0] != missing[1]:
        return f"{name} has one of x and y"
    if (neighbour is None) != (row["similarity"] is None) or (neighbour is None) != (row["neighbour_label"] is None):
        return f"{name} has some of neighbour, neighbour_label and similarity, not all"
    if neighbour is not None and (neighbour == row["filename"] or neighbour not in label_of):
        return f"{name} has the neighbour {shown(neighbour, 80)}, which is no other recording of the table"
    if neighbour is not None and label_of[neighbour] != row["neighbour_label"]:
        return f"{name} has the neighbour_label {shown(row['neighbour_label'], 80)}, which is not {neighbour}'s"
    if row["suggested_label"] is not None and row["suggested_label"] == row["primary_label"]:
        return f"{name} is suggested the label that it has"
    return ""
