"""A folder in BirdCLEF layout -> checked tables; every problem in one report.

`DIR/train.csv`, `DIR/train_audio/<primary_label>/*`, optionally `taxonomy.csv`, `train_soundscapes/` and
`train_soundscapes_labels.csv`.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import math
import os
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from sed_model.audio_files import AudioListing, content_digests, list_audio
from sed_model.errors import DataError, some
from sed_model.paths import is_file, is_folder
from sed_model.soundscape_labels import read_soundscape_labels
from sed_model.tables import Problems, nearest, read_text_table
from sed_model.taxonomy import read_taxonomy, reserved_labels

TABLE = "train.csv"
MAX_RATING = 5.0


@dataclass(frozen=True)
class DataFolder:
    """What a folder holds; paths are posix and relative to `root`."""

    root: Path
    classes: tuple[str, ...]
    recordings: pd.DataFrame
    """path, primary_label, secondary_labels (tuple of known classes without the primary), author (the recording's own
    path where the table names none), rating (0 to 5 stars, 0 = not rated)."""
    soundscapes: tuple[str, ...]
    """Files of train_soundscapes, sorted."""
    soundscape_labels: pd.DataFrame | None
    """path, start_s, end_s, then a float32 column of 0 and 1 for each class; None without the table."""
    notes: tuple[str, ...]
    """Counted oddities that do not stop a run, in plain words."""
    fingerprint: str
    """Depends on classes, tables, and names and content of audio files; not on where the folder lies."""


def read_data_folder(root: Path, target_s: float = 5.0) -> DataFolder:
    """Read and check a data folder; `target_s` is the length of the windows of train_soundscapes_labels.csv.

    Raises:
        DataError: one report of everything that is wrong, each line with file, row, value and repair.
    """
    _check_place(root)
    problems, notes = Problems(), _Notes()
    table = problems.attempt(lambda: read_text_table(root / TABLE, ["primary_label", "filename"]))
    classes = _read_classes(root, table, problems, notes)
    audio = list_audio(root, "train_audio")
    recordings = pd.DataFrame()
    if table is not None and classes:
        recordings = _read_recordings(table, classes, audio, problems, notes)
    scapes = list_audio(root, "train_soundscapes")
    problems.add_unreadable({**audio.unreadable, **scapes.unreadable})
    soundscapes = _read_soundscapes(scapes, problems, notes)
    labels = None
    labels_csv = root / "train_soundscapes_labels.csv"
    if os.path.lexists(labels_csv) and classes:
        labels = problems.attempt(
            lambda: read_soundscape_labels(labels_csv, root / "train_soundscapes", classes, target_s)
        )
    problems.raise_if_any(root)
    paths = [*recordings["path"], *soundscapes]
    contents = dict(zip(paths, content_digests(root, paths), strict=True))
    fingerprint = _fingerprint(classes, recordings, contents, soundscapes, labels)
    return DataFolder(root, classes, recordings, soundscapes, labels, notes.lines(), fingerprint)


def _check_place(root: Path) -> None:
    """Whether it is the right folder; a near one is named.

    Raises:
        DataError: it is none, or the tables are elsewhere.
    """
    wanted = "give the folder that holds train.csv and train_audio/"
    if root.suffix == ".zip" and is_file(root):
        raise DataError(f"{root} is packed; unpack it, and {wanted}.")
    if not is_folder(root):
        raise DataError(f"{root} is not a folder; {wanted}.")
    if os.path.lexists(root / TABLE):
        return
    near = [place for place in (root.parent, *sorted(root.glob("*"))) if is_file(place / TABLE)]
    packed = sorted(root.glob("*.zip"))
    hint = f" ({near[0]}?)" if near else f" (unpack {packed[0].name} first)" if packed else ""
    raise DataError(f"{root} holds no {TABLE}; {wanted}{hint}.")


@functools.lru_cache(maxsize=65_536)
def parse_label_list(text: str) -> tuple[str, ...]:
    """`"['a', 'b']"` -> `("a", "b")`; blank text, `"[]"` and `"['']"` are no labels. Repetitions are dropped.

    Raises:
        ValueError: the text is not a Python list of strings.
    """
    if not text:
        return ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{text!r} is not a list of labels") from None
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{text!r} is not a list of quoted labels")
    return tuple(dict.fromkeys(item.strip() for item in value if item.strip()))


class _Notes:
    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, text: str, n: int = 1) -> None:
        self._counts[text] += n

    def lines(self) -> tuple[str, ...]:
        return tuple(f"{text}: {n}" for text, n in self._counts.items() if n)


def _read_classes(root: Path, table: pd.DataFrame | None, problems: Problems, notes: _Notes) -> tuple[str, ...]:
    taxonomy_csv = root / "taxonomy.csv"
    if os.path.lexists(taxonomy_csv):
        return problems.attempt(lambda: read_taxonomy(taxonomy_csv)) or ()
    if table is None:
        return ()
    classes = tuple(sorted({label for label in table["primary_label"] if label}))
    for label in classes:
        if not label.isprintable():
            problems.add(
                "unprintable labels", f"train.csv: primary_label {label!r} would break tables; rename the class"
            )
    for label in reserved_labels(classes):
        problems.add(
            "reserved labels", f"train.csv: primary_label {label} is the name of a table column; rename the class"
        )
    notes.count("no taxonomy.csv, classes taken from the primary labels of train.csv", len(classes))
    return classes


def _read_recordings(
    table: pd.DataFrame, classes: tuple[str, ...], audio: AudioListing, problems: Problems, notes: _Notes
) -> pd.DataFrame:
    if table.empty:
        problems.add("no recordings", "train.csv: the table has no rows; list one recording a row")
    paths = _check_paths(table["filename"], audio, problems)
    labels = table["primary_label"]
    known = frozenset(classes)
    for line, label in labels[~labels.isin(known)].items():
        problems.add(
            "unknown primary labels",
            f"train.csv line {line}: {label!r} is not in taxonomy.csv; add or mend it{nearest(label, classes)}",
        )
    present = set(labels)
    absent = [label for label in classes if label not in present]
    notes.count(f"classes without a recording ({some(absent)})", len(absent))
    folders = [PurePosixPath(path).parent.name for path in paths]
    notes.count("recordings in a folder that is not named like their primary label", int((labels != folders).sum()))
    notes.count("audio files of train_audio without a row in train.csv", len(audio.sizes.keys() - set(paths)))
    notes.count("other files in train_audio", len(audio.others))
    return pd.DataFrame(
        {
            "path": pd.Series(paths, dtype=object),
            "primary_label": pd.Series(labels.to_list(), dtype=object),
            "secondary_labels": pd.Series(_secondary_labels(table, known, problems, notes), dtype=object),
            "author": pd.Series(_authors(table, paths, notes), dtype=object),
            "rating": pd.Series(_ratings(table, problems, notes), dtype=np.float64),
        }
    )


def _check_paths(filenames: pd.Series, audio: AudioListing, problems: Problems) -> list[str]:
    paths: list[str] = []
    first_line: dict[str, object] = {}
    for line, filename in filenames.items():
        where = f"train.csv line {line}: filename {filename!r}"
        pure = PurePosixPath(filename)
        path = f"{audio.name}/{pure.as_posix()}"
        paths.append(path)
        if not filename:
            problems.add("missing files", f"{where}: name the file or remove the row")
        elif pure.is_absolute() or ".." in pure.parts or "\\" in filename or audio.leads_outside(path):
            problems.add(
                "paths that leave the folder", f"{where}: give a path below {audio.name}/, without links out of it"
            )
        elif path not in audio.sizes:
            problems.add("missing files", f"{where}: there is no audio file {path}; add it or remove the row")
        elif path in first_line:
            problems.add("repeated rows", f"{where}: is in line {first_line[path]} already; remove one")
        first_line.setdefault(path, line)
    return paths


def _secondary_labels(
    table: pd.DataFrame, known: frozenset[str], problems: Problems, notes: _Notes
) -> list[tuple[str, ...]]:
    if "secondary_labels" not in table:
        notes.count("no column secondary_labels in train.csv, recordings taken as single-label", len(table))
        return [()] * len(table)
    result: list[tuple[str, ...]] = []
    for line, text, primary in zip(table.index, table["secondary_labels"], table["primary_label"], strict=True):
        try:
            labels = parse_label_list(text)
        except ValueError as error:
            problems.add(
                "malformed secondary labels",
                f"train.csv line {line}: secondary_labels {error}; write it like \"['a', 'b']\", or [''] for none",
            )
            labels = ()
        result.append(tuple(label for label in labels if label in known and label != primary))
        notes.count("unknown secondary labels dropped", sum(label not in known for label in labels))
        notes.count("secondary labels equal to the primary label dropped", labels.count(primary))
    return result


def _authors(table: pd.DataFrame, paths: list[str], notes: _Notes) -> list[str]:
    if "author" not in table:
        notes.count("no column author in train.csv, recordings grouped one by one", len(table))
        return paths
    authors = table["author"].to_list()
    notes.count("recordings without an author, each a group of its own", authors.count(""))
    return [author or path for author, path in zip(authors, paths, strict=True)]


def _ratings(table: pd.DataFrame, problems: Problems, notes: _Notes) -> list[float]:
    if "rating" not in table:
        notes.count("no column rating in train.csv, recordings taken as unrated", len(table))
        return [0.0] * len(table)
    ratings: list[float] = []
    for line, text in table["rating"].items():
        rating = _number(text or "0")
        if not 0 <= rating <= MAX_RATING:
            problems.add(
                "ratings out of range",
                f"train.csv line {line}: {text!r} is not between 0 and {MAX_RATING:g}; write 0 for no rating",
            )
        ratings.append(rating)
    return ratings


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _read_soundscapes(scapes: AudioListing, problems: Problems, notes: _Notes) -> tuple[str, ...]:
    top_level = sorted(path for path in scapes.sizes if path.count("/") == 1)
    notes.count("soundscapes in folders below train_soundscapes, not used", len(scapes.sizes) - len(top_level))
    notes.count("other files in train_soundscapes", len(scapes.others))
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
