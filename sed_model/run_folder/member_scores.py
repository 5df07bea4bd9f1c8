"""What each member of an ensemble says of each window: the tables that pseudo-labels are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Float32

from sed_model.core.errors import DataError
from sed_model.core.paths import is_plain_name
from sed_model.core.texts import examples, first_line
from sed_model.run_folder.predictions import matrix, read_windows

WINDOW_SCHEMA = pa.schema(
    [("filename", pa.string()), ("start_s", pa.float32()), ("end_s", pa.float32()), ("rms", pa.float32())]
)
"""The columns of a part before those of the members, member_0, member_1, ..., which hold their probabilities."""
PART, LABELLED_PART = "part", "labelled"
"""How the tables of soundscapes to label begin, and those of labelled ones, which only tell how good labels are."""


@dataclass(frozen=True)
class MemberScores:
    """Windows of soundscapes with what each member says of them."""

    classes: tuple[str, ...]
    root: Path
    """The folder of the soundscapes."""
    windows: tuple[tuple[str, float, float], ...]
    """filename (from `root`), start_s, end_s"""
    rms: Float32[np.ndarray, " windows"]
    by_member: Float32[np.ndarray, "members windows classes"]

    def take(self, chosen: Bool[np.ndarray, " windows"]) -> MemberScores:
        """Some of the windows."""
        windows = tuple(self.windows[place] for place in np.flatnonzero(chosen))
        return MemberScores(self.classes, self.root, windows, self.rms[chosen], self.by_member[:, chosen])


def part_facts(classes: Sequence[str], root: Path) -> dict[str, str]:
    """What the metadata of a part has to tell for `read_member_scores`."""
    return {"classes": json.dumps(list(classes)), "root": str(root)}


def read_member_scores(run: Path) -> MemberScores:
    """The scores of the windows that the ensemble of a run labels, without soundscapes that are labelled already.

    Raises:
        DataError: there are none, or they are damaged.
    """
    ensemble = run / "ensemble"
    again = f"make them (again): python -m trainables.ensemble --run {run}"
    files = sorted(ensemble.glob(f"predictions/*/{PART}-*.parquet"))
    if not files:
        raise DataError(f"{ensemble}: has no scores of unlabelled soundscapes; {again}")
    if len({file.parent for file in files}) > 1:
        raise DataError(f"{ensemble}: has the scores of several ensembles; {again}")
    parts = [_read_part(file, run, again) for file in files]
    if any((one.classes, one.root, len(one.by_member)) != _kind(parts[0]) for one in parts):
        raise DataError(f"{ensemble}: its parts are of different members, classes or folders; {again}")
    scores = MemberScores(
        parts[0].classes,
        parts[0].root,
        tuple(window for part in parts for window in part.windows),
        np.concatenate([part.rms for part in parts]),
        np.concatenate([part.by_member for part in parts], axis=1),
    )
    labelled = [_read_part(file, run, again) for file in files[0].parent.glob(f"{LABELLED_PART}-*.parquet")]
    known = {Path(filename).name for part in labelled for filename, _, _ in part.windows}
    return scores.take(np.array([Path(name).name not in known for name, _, _ in scores.windows], bool))


def _kind(part: MemberScores) -> tuple[tuple[str, ...], Path, int]:
    return part.classes, part.root, len(part.by_member)


def _read_part(file: Path, within: Path, again: str) -> MemberScores:
    try:
        table, classes = read_windows(file, WINDOW_SCHEMA, within)
        root = (table.schema.metadata or {})[b"root"].decode()
        names = [name for name in table.column_names if name.startswith("member_")]
        _check_names(table["filename"])
        by_member = np.stack([_probabilities(table[name], len(classes)) for name in names])
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{file}: is damaged, or of an earlier version ({first_line(error)}); {again}") from None
    windows = tuple(zip(*(table[name].to_pylist() for name in WINDOW_SCHEMA.names[:3]), strict=True))
    return MemberScores(classes, Path(root), windows, table["rms"].to_numpy(), by_member)


def _probabilities(column: pa.ChunkedArray, n_classes: int) -> Float[np.ndarray, "windows classes"]:
    values = matrix(column, n_classes)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("a member's probabilities leave 0..1")
    return values


def _check_names(filenames: pa.ChunkedArray) -> None:
    """Tracks are written by these names: none may lead out of a folder."""
    parts_of = {name: PurePosixPath(name).parts for name in pc.unique(filenames).to_pylist()}
    if odd := [name for name, parts in parts_of.items() if not (parts and all(map(is_plain_name, parts)))]:
        raise ValueError(f"filename {examples(odd)}: no name of a soundscape")
