"""A folder in BirdCLEF layout -> checked tables; every problem in one report.

`DIR/train.csv`, `DIR/train_audio/<primary_label>/*`, optionally `taxonomy.csv`, `train_soundscapes/` and
`train_soundscapes_labels.csv`; or what earlier competitions called these (`layouts`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from sed_model.audio.audio_files import AudioListing, beside, content_digests, list_audio
from sed_model.data.layouts import find_layout
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


def read_data_folder(root: Path, target_s: float = 5.0) -> DataFolder:
    """Read and check a data folder; `target_s` is the length of the windows of train_soundscapes_labels.csv.

    Raises:
        DataError: one report of everything that is wrong, each line with file, row, value and repair.
    """
    layout = find_layout(root)
    problems, notes = Problems(), Notes()
    rows = problems.attempt(lambda: read_text_table(root / layout.table, ["primary_label", "filename"], notes))
    table = None if rows is None else TrainTable(layout, rows, problems, notes)
    classes = read_classes(root, table, problems, notes)
    audio = list_audio(root, layout.audio)
    recordings = pd.DataFrame()
    if table is not None and classes:
        recordings = read_recordings(table, classes, audio)
    scapes = list_audio(root, layout.soundscapes)
    problems.add_unreadable({**audio.unreadable, **scapes.unreadable})
    soundscapes = _read_soundscapes(scapes, problems, notes)
    labels = None
    if layout.labels is not None and classes:
        labels_csv = root / layout.labels
        labels = problems.attempt(
            lambda: read_soundscape_labels(labels_csv, root / layout.soundscapes, classes, target_s, notes)
        )
    problems.raise_if_any(root)
    paths = [*recordings["path"], *soundscapes]
    contents = dict(zip(paths, content_digests(root, paths), strict=True))
    fingerprint = _fingerprint(classes, recordings, contents, soundscapes, labels)
    return DataFolder(
        root,
        classes,
        recordings,
        soundscapes,
        labels,
        notes.lines(),
        fingerprint,
        layout=str(layout),
        soundscapes_name=layout.soundscapes,
    )


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


def _fingerprint(
    classes: tuple[str, ...],
    recordings: pd.DataFrame,
    contents: dict[str, bytes],
    soundscapes: tuple[str, ...],
    labels: pd.DataFrame | None,
) -> str:
    digest = hashlib.blake2b(digest_size=16)

    def add(*parts: object) -> None:
        digest.update(repr(parts).encode("utf-8", "backslashreplace"))

    add("classes", classes)
    for row in recordings.itertuples(index=False):
        add(contents[str(row.path)], *row)
    for path in soundscapes:
        add(path, contents[path])
    if labels is not None:
        add("labels", labels["path"].to_list(), labels["start_s"].to_list(), labels["end_s"].to_list())
        digest.update(labels[list(classes)].to_numpy(np.uint8).tobytes())
    return digest.hexdigest()
