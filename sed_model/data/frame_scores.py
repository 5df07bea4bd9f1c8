"""Tables of frame scores as `predict --event-scores` and sed_scores_eval write them: onset, offset, classes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sed_model.core.errors import DataError
from sed_model.core.paths import is_folder
from sed_model.core.texts import counted, examples, fold
from sed_model.data.tables import Notes, text_of

SUFFIX = ".tsv"
GAP_S = 1e-3
"""A frame begins where the one before it ends, but for rounding."""


def frame_tables(folder: Path, files: Sequence[str]) -> dict[str, Path]:
    """The table of each file, by its stem, with the folders below; others are passed over.

    Raises:
        DataError: a file has no table, or two have one name.
    """
    if not is_folder(folder):
        raise DataError(f"--frame-scores {folder}: is no folder; predict --events DIR --event-scores writes one.")
    paths: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        paths.setdefault(fold(path.stem), []).append(path)
    missing = [name for name in files if fold(name) not in paths]
    if missing:
        raise DataError(
            f"{folder}: {counted(len(missing), 'file')} of the truth lack a table of frame scores "
            f"({examples(missing)}); predict them, or take them out of the truth."
        )
    for name in files:
        if len(found := paths[fold(name)]) > 1:
            raise DataError(f"{folder}: {found[0]} and {found[1]} are of one name; score them apart, or rename one.")
    return {name: paths[fold(name)][0] for name in files}


def read_frame_scores(path: Path, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the frames in seconds, [frames + 1], and scores, float64 [frames, classes]; -inf where a class has none.

    Raises:
        DataError: the table lacks columns or rows, or its frames are no numbers that follow one another.
    """
    first, _, rows = text_of(path, Notes()).partition("\n")
    header = _cells(first)
    if header[:2] != ["onset", "offset"] or len(set(header)) < len(header) or not rows.strip():
        raise DataError(
            f"{path}: needs the columns onset, offset and one a class, once each, with tabs, and a row a frame."
        )
    try:
        table = pd.DataFrame(np.loadtxt(io.StringIO(rows), delimiter="\t", ndmin=2, comments=None), columns=header)
    except ValueError:
        raise DataError(f"{path}: has cells that are no number, or rows of another length; predict it again.") from None
    onsets, offsets = table["onset"].to_numpy(), table["offset"].to_numpy()
    follow = np.abs(onsets[1:] - offsets[:-1]) <= GAP_S
    if not (np.isfinite(table.to_numpy()).all() and (offsets > onsets).all() and follow.all()):
        raise DataError(f"{path}: its frames have gaps or overlap, or scores that are not finite; predict it again.")
    return np.append(onsets, offsets[-1]), table.reindex(columns=list(classes), fill_value=-np.inf).to_numpy()


def classes_of(tables: Mapping[str, Path]) -> tuple[str, ...]:
    """The classes of the first table."""
    return tuple(_cells(text_of(next(iter(tables.values())), Notes()).partition("\n")[0])[2:])


def _cells(line: str) -> list[str]:
    return next(csv.reader([line.rstrip("\r")], delimiter="\t"), [])
