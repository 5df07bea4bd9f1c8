"""A folder in BirdCLEF layout -> checked tables; every problem in one report.

`DIR/train.csv`, `DIR/train_audio/<primary_label>/*`, optionally `taxonomy.csv`, `train_soundscapes/`,
`train_soundscapes_labels.csv` and `train_soundscapes_events.csv`; or what earlier competitions called these
(`layouts`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from sed_model.audio.audio_files import EMPTY, UNREADABLE, AudioListing, beside, content_digests, list_audio
from sed_model.config.sed_config import Data
from sed_model.core.errors import DataError, some
from sed_model.data.label_rows import LabelledFiles
from sed_model.data.layouts import EVENT_TABLE, find_layout
from sed_model.data.leave_out import read_leave_out
from sed_model.data.soundscape_events import read_soundscape_events
from sed_model.data.soundscape_labels import read_soundscape_labels
from sed_model.data.tables import Notes, Problems, read_text_table
from sed_model.data.train_table import TrainTable, read_classes, read_recordings


@dataclass(frozen=True)
class DataFolder:
    """What a folder holds; paths are posix and relative to `root`."""

    root: Path
    classes: tuple[str, ...]
    recordings: pd.DataFrame
    """path, primary_label, secondary_labels (tuple of known classes without the primary), author (the recording's own
    path where the table names none), rating (0 to 5 stars, 0 = not rated)."""
    soundscapes: tuple[str, ...]
    """Files of the folder of soundscapes, sorted."""
    soundscape_labels: pd.DataFrame | None
    """path, start_s, end_s, then a float32 column of 0 and 1 for each class; None without the table."""
    notes: tuple[str, ...]
    """Counted oddities that do not stop a run, in plain words."""
    fingerprint: str
    """Depends on classes, tables, and names and content of audio files; not on where the folder lies."""
    layout: str = ""
    """The competition whose layout this is, and the names of its parts."""
    soundscapes_name: str = "train_soundscapes"
    """The folder of the soundscapes: `unlabeled_soundscapes` in 2024."""
    left_out: tuple[str, ...] = ()
    """Recordings and soundscapes that `data.leave_out` takes out of all others, sorted."""
    leave_out_sha256: str | None = None
    """Of the file that lists them."""
    soundscape_events: pd.DataFrame | None = None
    """path, start_s, end_s, primary_label: a row a sound event in a soundscape; None without the table."""


def read_configured(root: Path, data: Data) -> DataFolder:
    """`read_data_folder` as a configuration says."""
    return read_data_folder(root, data.target_s, data.leave_out, data.follow_links)


def read_data_folder(
    root: Path, target_s: float = 5.0, leave_out: Path | None = None, follow_links: bool = False
) -> DataFolder:
    """Read and check a data folder; `target_s` is the length of the windows of train_soundscapes_labels.csv.

    Args:
        leave_out: file of `data.leave_out`.
        follow_links: links may lead out of the folder.

    Raises:
        DataError: one report of everything that is wrong, each line with file, row, value and repair.
    """
    layout = find_layout(root)
    problems, notes = Problems(), Notes()
    rows = problems.attempt(lambda: read_text_table(root / layout.table, ["primary_label", "filename"], notes))
    table = None if rows is None else TrainTable(layout, rows, problems, notes)
    classes = read_classes(root, table, problems, notes)
    audio = list_audio(root, layout.audio, follow_links)
    recordings = pd.DataFrame()
    if table is not None and classes:
        recordings = read_recordings(table, classes, audio)
    scapes = list_audio(root, layout.soundscapes, follow_links)
    problems.add_unreadable({**audio.unreadable, **scapes.unreadable})
    soundscapes = _read_soundscapes(scapes, problems, notes)
    labels = None
    if layout.labels is not None and classes:
        labels_csv = root / layout.labels
        labels = problems.attempt(
            lambda: read_soundscape_labels(
                labels_csv, root / layout.soundscapes, classes, target_s, notes, follow_links
            )
        )
    events = None
    if os.path.lexists(root / EVENT_TABLE) and classes:
        files = LabelledFiles(scapes, classes, target_s)
        events = problems.attempt(lambda: read_soundscape_events(root / EVENT_TABLE, files, notes))
    problems.raise_if_any(root)
    whole = DataFolder(root, classes, recordings, soundscapes, labels, (), "", str(layout), layout.soundscapes)
    whole = replace(whole, soundscape_events=events)
    kept = whole if leave_out is None else _without(whole, leave_out, notes)
    paths = [*kept.recordings["path"], *kept.soundscapes]
    contents = dict(zip(paths, content_digests(root, paths), strict=True))
    note_copies(kept, contents, notes)
    return replace(kept, notes=notes.lines(), fingerprint=_fingerprint(kept, contents))


def _without(whole: DataFolder, leave_out: Path, notes: Notes) -> DataFolder:
    """The folder without what a file lists; what that names and the folder has not is told.

    Raises:
        DataError: the file cannot be used, or no recording is left.
    """
    listed = read_leave_out(leave_out)
    known = {*whole.recordings["path"], *whole.soundscapes}
    left_out, unknown = sorted(listed.paths & known), sorted(listed.paths - known)
    notes.count(f"left out by {leave_out.name} (sha256 {listed.sha256[:12]})", len(left_out))
    notes.count(f"names in {leave_out.name} of no recording or soundscape here ({some(unknown)})", len(unknown))
    recordings = whole.recordings[~whole.recordings["path"].isin(left_out)].reset_index(drop=True)
    if recordings.empty:
        raise DataError(f"data.leave_out={leave_out}: leaves no recording of {whole.root}; take some out of the list.")
    labels, events = (
        None if table is None or (kept := table[~table["path"].isin(left_out)]).empty else kept.reset_index(drop=True)
        for table in (whole.soundscape_labels, whole.soundscape_events)
    )
    return replace(
        whole,
        recordings=recordings,
        soundscapes=tuple(path for path in whole.soundscapes if path not in left_out),
        soundscape_labels=labels,
        soundscape_events=events,
        left_out=tuple(left_out),
        leave_out_sha256=listed.sha256,
    )


def copies(folder: DataFolder, contents: Mapping[str, bytes]) -> list[list[str]]:
    """Recordings and soundscapes that are the same to the last byte: groups of two or more paths."""
    groups: dict[bytes, list[str]] = {}
    for path in (*folder.recordings["path"], *folder.soundscapes):
        groups.setdefault(contents[path], []).append(path)
    return [paths for content, paths in groups.items() if len(paths) > 1 and content not in (UNREADABLE, EMPTY)]


def note_copies(folder: DataFolder, contents: Mapping[str, bytes], notes: Notes) -> None:
    """Tell how many files are copies of another, and of how many the labels differ."""
    found = copies(folder, contents)
    label_of = dict(zip(folder.recordings["path"], folder.recordings["primary_label"], strict=True))
    differ = sum(len({label_of[path] for path in paths if path in label_of}) > 1 for paths in found)
    told = some([" = ".join(paths) for paths in found], n_most=2)
    notes.count(f"files that are copies of another to the last byte ({told})", sum(len(one) - 1 for one in found))
    notes.count("copies under different labels", differ)


def _read_soundscapes(scapes: AudioListing, problems: Problems, notes: Notes) -> tuple[str, ...]:
    top_level = sorted(path for path in scapes.sizes if path.count("/") == 1)
    notes.count(f"soundscapes in folders below {scapes.name}, not used", len(scapes.sizes) - len(top_level))
    for reason, paths in beside(scapes).items():
        notes.count(reason, len(paths))
    for path in sorted(scapes.outside):
        problems.add(
            "paths that leave the folder", f"{path}: is a link out of the folder or to nowhere; copy the file here"
        )
    by_stem: dict[str, str] = {}
    for path in top_level:
        stem = PurePosixPath(path).stem
        if stem in by_stem:
            problems.add(
                "soundscapes of one name", f"{path}: would share its row_ids with {by_stem[stem]}; rename or remove one"
            )
        by_stem.setdefault(stem, path)
    return tuple(top_level)


def _fingerprint(folder: DataFolder, contents: Mapping[str, bytes]) -> str:
    classes, labels = folder.classes, folder.soundscape_labels
    digest = hashlib.blake2b(digest_size=16)

    def add(*parts: object) -> None:
        digest.update(repr(parts).encode("utf-8", "backslashreplace"))

    add("classes", classes)
    for row in folder.recordings.itertuples(index=False):
        add(contents[str(row.path)], *row)
    for path in folder.soundscapes:
        add(path, contents[path])
    if labels is not None:
        add("labels", labels["path"].to_list(), labels["start_s"].to_list(), labels["end_s"].to_list())
        digest.update(labels[list(classes)].to_numpy(np.uint8).tobytes())
    if folder.soundscape_events is not None:
        add("events", *(folder.soundscape_events[name].to_list() for name in folder.soundscape_events))
    return digest.hexdigest()
