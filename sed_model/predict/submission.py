"""submission.csv: which rows and columns it has, and how it is written.

Names come from listings and tables, never from joined paths: a name in a table cannot lead out of its folder. Cells are
data: a class or a file whose name begins with = is written as it is, and a spreadsheet may take it for a formula.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from jaxtyping import Float

from sed_model.audio.audio_files import AUDIO_SUFFIXES, AudioListing, below, beside, list_audio, name_in
from sed_model.core.errors import CheckpointError, DataError
from sed_model.core.files import write_text
from sed_model.core.paths import is_file, is_folder
from sed_model.core.texts import nearest
from sed_model.data.soundscape_labels import parse_row_id
from sed_model.data.tables import Notes, Problems, read_text_table

SAMPLE_NAME = "sample_submission.csv"


@dataclass(frozen=True)
class Sample:
    """A sample_submission.csv: its classes and row_ids in order, and those of each file stem by their end second."""

    path: Path
    classes: tuple[str, ...]
    row_ids: tuple[str, ...]
    rows: Mapping[str, Mapping[float, str]]


@dataclass(frozen=True)
class Columns:
    """The classes of a submission; `source[i]` is the model's place of class i, -1 where the model does not know it."""

    classes: tuple[str, ...]
    source: tuple[int, ...]

    @property
    def unknown(self) -> tuple[str, ...]:
        return tuple(name for name, place in zip(self.classes, self.source, strict=True) if place < 0)


def find_soundscapes(folder: Path, recursive: bool = False, notes: Notes | None = None) -> dict[str, Path]:
    """Audio files directly in a folder by stem, sorted; what is left out is counted in `notes`.

    With `recursive` those in folders below it, too: of `SITE/2025-05-01/rec.wav` the stem is `SITE/2025-05-01/rec`, so
    that equal names in several folders stay apart.

    Raises:
        DataError: one report: no folder, no audio, links out of it, two files that would share row_ids, names that are
            no UTF-8.
    """
    if not is_folder(folder):
        raise DataError(f"{folder}: no such folder; give a folder of audio files.")
    listing, problems = list_audio(folder.parent, folder.name), Problems()
    found: dict[str, Path] = {}
    for name in sorted(name_in(listing, path) for path in listing.sizes if recursive or path.count("/") == 1):
        stem = stem_of(name)
        if not name.isprintable():
            problems.add("unprintable file names", f"{name!r}: would break the table; rename the file")
        if stem in found:
            problems.add("files of one name", f"{name}: would share its row_ids with {found[stem].name}; remove one")
        found.setdefault(stem, folder / name)
    problems.add_unreadable(listing.unreadable)
    for path in sorted(listing.outside):
        problems.add("paths that leave the folder", f"{path}: is a link out of the folder or to nowhere; copy it here")
    left_out = left_out_of(listing, recursive)
    if not found:
        problems.add("no soundscapes", _nothing_found(listing, left_out))
    problems.raise_if_any(folder)
    for reason, count in left_out.items():
        (notes or Notes()).count(reason, count)
    return found


def stem_of(name: str) -> str:
    """A posix path without the suffix of the file."""
    path = PurePosixPath(name)
    return str(path.parent / path.stem)


def left_out_of(listing: AudioListing, recursive: bool) -> dict[str, int]:
    """Why files of a folder of soundscapes are not taken -> how many."""
    left_out = {reason: len(paths) for reason, paths in beside(listing).items()}
    if (deeper := below(listing)) and not recursive:
        left_out = {f"soundscapes in folders below {listing.name} (--recursive takes them)": len(deeper), **left_out}
    return left_out


def _nothing_found(listing: AudioListing, left_out: Mapping[str, int]) -> str:
    folders = sorted({path.split("/")[1] for path in below(listing)})
    near = f", such as {' or '.join(folders[:3])} in it" if folders else ""
    seen = "".join(f"; {reason}: {count}" for reason, count in left_out.items())
    return f"no {', '.join(sorted(AUDIO_SUFFIXES))} file directly in it; give another folder{near}{seen}"


def find_sample(soundscapes: Path) -> Path | None:
    """The sample_submission.csv in or beside a folder of soundscapes."""
    places = (soundscapes / SAMPLE_NAME, soundscapes.parent / SAMPLE_NAME)
    return next((path for path in places if is_file(path)), None)


def read_sample(path: Path) -> Sample:
    """
    Raises:
        DataError: one report: it is no CSV, has no row_id or no class, or row_ids do not parse or repeat.
    """
    table, problems = read_text_table(path, ["row_id"]), Problems()
    classes = tuple(name for name in table.columns if name != "row_id")
    if not classes:
        problems.add("no classes", "it has a column row_id only; add a column for each class")
    if "" in classes:
        problems.add("columns without a name", f"column {list(table.columns).index('') + 1}: name it, or remove it")
    rows: dict[str, dict[float, str]] = {}
    for line, text in table["row_id"].items():
        try:
            stem, end_s = parse_row_id(text)
        except ValueError as error:
            problems.add("row_ids that do not parse", f"line {line}: {error}; write it like soundscape_12_5")
            continue
        if end_s in rows.setdefault(stem, {}):
            problems.add("repeated rows", f"line {line}: {text} is there already; remove one")
        rows[stem].setdefault(end_s, text)
    problems.raise_if_any(path)
    return Sample(path, classes, tuple(table["row_id"]), rows)


def plan_columns(model_classes: Sequence[str], sample: Sample | None) -> Columns:
    """The sample's columns, or the model's where there is no sample.

    Raises:
        DataError: the sample lacks classes that the model predicts.
    """
    if sample is None:
        return Columns(tuple(model_classes), tuple(range(len(model_classes))))
    missing = [name for name in model_classes if name not in sample.classes]
    if missing:
        lines = "\n".join(f"  {name}{nearest(name, sample.classes)}" for name in missing)
        raise DataError(
            f"{sample.path}: lacks {len(missing)} of the {len(model_classes)} classes of the model:\n{lines}\n"
            "Give the sample of the data that the model was trained for (--sample-submission)."
        )
    place = {name: index for index, name in enumerate(model_classes)}
    return Columns(sample.classes, tuple(place.get(name, -1) for name in sample.classes))


def lists_every_file(sample: Sample | None, stems: Sequence[str]) -> bool:
    """Whether the sample's rows are those asked for. One that names some files only (or none) is an example."""
    return sample is not None and all(stem in sample.rows for stem in stems)


def ends_of(sample: Sample, stem: str, target_s: float) -> tuple[float, ...]:
    """Where the windows of a file end that the sample asks for, in the order of time.

    Raises:
        DataError: a window would start before the file does.
    """
    ends_s = tuple(sorted(sample.rows[stem]))
    if ends_s[0] < target_s:
        raise DataError(
            f"{sample.path}: {sample.rows[stem][ends_s[0]]} ends before a window of {target_s:g} s does "
            "(data.target_s of the models); give the sample that the models were trained for."
        )
    return ends_s


def usual_count(counts: Sequence[int]) -> int:
    """The most frequent number of windows (the larger of equals), for a file whose own length cannot be read; or 1."""
    tally = Counter(counts)
    return max(tally, key=lambda count: (tally[count], count)) if tally else 1


def submission_table(
    row_ids: Sequence[str], probabilities: Float[np.ndarray, "rows model_classes"], columns: Columns
) -> pd.DataFrame:
    """row_id, then the classes in the submission's order; 0 for those that the model does not know.

    Raises:
        CheckpointError: a probability is no number from 0 to 1.
        DataError: a row_id repeats.
    """
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise CheckpointError(
            "a member predicts no probability (NaN, or outside 0 to 1): it has diverged; leave it out."
        )
    repeated = [name for name, count in Counter(row_ids).items() if count > 1]
    if repeated:
        raise DataError(f"{repeated[0]}: {len(repeated)} row_ids would be there twice; raise --step-s or rename files.")
    padded = np.pad(probabilities, ((0, 0), (0, 1))).astype(np.float32)
    frame = pd.DataFrame(padded[:, list(columns.source)], columns=pd.Index(columns.classes))
    frame.insert(0, "row_id", list(row_ids))
    return frame


def write_submission(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, float_format="%.7g"))
