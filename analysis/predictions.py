"""What models said, from a run folder: predictions and frame scores of trials, pseudo-labels and who made these."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from analysis.tables import RunFolderError, frame_of, require_folder
from sed_model.core.errors import CheckpointError
from sed_model.core.files import read_file
from sed_model.core.parquet import read_parquet
from sed_model.core.paths import is_plain_name, is_there
from sed_model.core.texts import examples, first_line, shown
from sed_model.run_folder.checks import empty, outside, unknown
from sed_model.run_folder.delivered import read_delivered
from sed_model.run_folder.out_of_fold import of_mean
from sed_model.run_folder.predictions import (
    FRAMES_FILE,
    FRAMES_SCHEMA,
    OOF_FILE,
    PSEUDO_LABEL_SCHEMA,
    OutOfFold,
    read_predictions,
    read_windows,
    repeated_windows,
)

MEMBER_COLUMNS = ("trial_id", "weight", "macro_auc", "score_after", "correlation")
HUGE = 1e300


@dataclass(frozen=True)
class PseudoLabels:
    """Pseudo-labelled windows; `table` follows PSEUDO_LABEL_SCHEMA, its probabilities in the order of `classes`."""

    classes: tuple[str, ...]
    table: pd.DataFrame

    @property
    def probabilities(self) -> np.ndarray:
        """float32 array [windows, classes] in 0..1."""
        return np.array(self.table["probabilities"].tolist(), np.float32).reshape(-1, len(self.classes))


def read_pseudo_labels(path: Path, ensemble: str = "ensemble") -> PseudoLabels:
    """Read and join pseudo_labels/part-*.parquet of the run folder at `path`: of its ensemble, or of what `taught` it.

    Raises:
        RunFolderError: no part, a damaged part, parts with different classes, or values outside the contract.
    """
    path = Path(path)
    require_folder(path)
    folder = path / ensemble / "pseudo_labels"
    files = sorted(folder.glob("part-*.parquet"))
    if not files:
        raise RunFolderError(path, [f"{folder}: no part-*.parquet; write it with python -m trainables.ensemble --run"])
    problems: list[str] = []
    parts: list[pa.Table] = []
    classes_of: dict[Path, tuple[str, ...]] = {}
    for file in files:
        try:
            part, classes_of[file] = read_windows(file, PSEUDO_LABEL_SCHEMA, within=path)
            problems += [f"{file}: {problem}" for problem in _odd_labels(part, classes_of[file])]
            parts.append(part.select(PSEUDO_LABEL_SCHEMA.names).replace_schema_metadata(None))
        except (OSError, ValueError) as error:
            problems.append(f"{file}: is damaged ({error}); make the pseudo-labels again.")
    problems += _mixed_classes(classes_of)
    if not problems:
        table = pa.concat_tables(parts)
        problems = [f"{folder}: {twice}; write each window once." for twice in [repeated_windows(table)] if twice]
    if problems:
        raise RunFolderError(path, problems)
    return PseudoLabels(next(iter(classes_of.values())), frame_of(table, PSEUDO_LABEL_SCHEMA))


def oof_path(path: Path, trial_id: str) -> Path:
    """Where the validation predictions of a trial lie in the run folder at `path`."""
    return Path(path) / "trials" / trial_id / OOF_FILE


def read_oof(path: Path, trial_id: str) -> OutOfFold:
    """Read the validation predictions of one trial of the run folder at `path`.

    Raises:
        RunFolderError: no such file, a damaged file, or values outside the contract.
    """
    path = Path(path)
    require_folder(path)
    if not is_plain_name(trial_id):
        raise RunFolderError(path, [f"{shown(trial_id)} is no name of a trial; give one of trials.parquet."])
    try:
        return read_predictions(oof_path(path, trial_id).parent, within=path)
    except CheckpointError as error:
        raise RunFolderError(path, [str(error)]) from None


def read_delivered_mean(path: Path) -> OutOfFold | None:
    """What the run folder at `path` delivers says of what it has not heard; None where it trained no finalists.

    Raises:
        RunFolderError: delivered.json or predictions are damaged.
    """
    path = Path(path)
    try:
        delivered = read_delivered(path)
        return None if delivered is None else of_mean(path, delivered, within=path)
    except CheckpointError as error:
        raise RunFolderError(path, [str(error)]) from None


def read_members(path: Path) -> pd.DataFrame:
    """Who labelled, from ensemble/members.json of the run folder at `path`: those of MEMBER_COLUMNS that are there.

    Empty without the file.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = Path(path)
    require_folder(path)
    file = path / "ensemble" / "members.json"
    try:
        members: list[dict[str, Any]] = json.loads(read_file(file, path))["members"]
        if not all(isinstance(row, dict) for row in members):
            raise TypeError("members is no list of mappings")
        table = pd.DataFrame([{name: row[name] for name in MEMBER_COLUMNS if name in row} for row in members])
        damage = "" if _are_members(table) else "a trial_id is no name, or another value is no number"
    except FileNotFoundError:
        return pd.DataFrame()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        damage = f"{type(error).__name__}: {first_line(error)}"
    if damage:
        raise RunFolderError(path, [f"{file}: no table of members ({damage}); run trainables.ensemble again."])
    return table


def _are_members(table: pd.DataFrame) -> bool:
    if table.empty:
        return True
    names, numbers = table["trial_id"], table.drop(columns="trial_id").to_numpy(object).ravel()
    return all(isinstance(name, str) and is_plain_name(name) for name in names) and all(
        number is None or (isinstance(number, int | float) and -HUGE < number < HUGE) for number in numbers
    )


def _odd_labels(table: pa.Table, classes: tuple[str, ...]) -> Iterator[str]:
    found = [
        unknown("primary_label", table["primary_label"], classes),
        unknown("labels", pc.list_flatten(table["labels"]), classes),
        outside("confidence", table["confidence"], 0, 1),
        outside("n_members", table["n_members"], 1),
        outside("disagreement", table["disagreement"], 0),
        outside("weight", table["weight"], 0),
    ]
    yield from filter(None, found)


def _mixed_classes(classes_of: Mapping[Path, tuple[str, ...]]) -> list[str]:
    if len(set(classes_of.values())) <= 1:
        return []
    first, *others = classes_of
    different = [file.name for file in others if classes_of[file] != classes_of[first]]
    return [
        f"{first.parent}: other classes, or another order of them, than {first.name} in {examples(different)}; "
        "delete the folder and label with one ensemble."
    ]


def read_frame_scores(path: Path, trial_id: str) -> pd.DataFrame | None:
    """trials/<trial_id>/frames.parquet of the run folder at `path`, where the search left it.

    Returns:
        A row a validation window and class worth showing: filename, start_s, end_s (of the window), label,
        frames_start_s, frames_end_s (what the equally long frames cover), scores (a list, 0..1). None without the file.

    Raises:
        RunFolderError: the file is damaged, or holds values outside the contract.
    """
    path = Path(path)
    file = path / "trials" / trial_id / FRAMES_FILE
    if not is_there(file):
        return None
    try:
        frames = read_parquet(file, FRAMES_SCHEMA, within=path)
        problems = [*empty(frames, FRAMES_SCHEMA.names), *_odd_frames(frames)]
    except (OSError, ValueError) as error:
        problems = [str(error)]
    if problems:
        raise RunFolderError(path, [f"{file}: is damaged ({'; '.join(problems)}); delete it."])
    return frame_of(frames, FRAMES_SCHEMA)


def _odd_frames(frames: pa.Table) -> Iterator[str]:
    lengths, scores = pc.list_value_length(frames["scores"]), pc.list_flatten(frames["scores"])
    found = [outside(name, frames[name], -np.inf) for name in ("start_s", "end_s", "frames_start_s", "frames_end_s")]
    found.append(outside("scores", scores, 0, 1))
    if scores.null_count or pc.any(pc.is_nan(scores)).as_py() or pc.any(pc.equal(lengths, 0)).as_py():
        found.append("scores are missing")
    yield from filter(None, found)
