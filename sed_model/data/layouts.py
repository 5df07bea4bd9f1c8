"""Which of the competitions' layouts a data folder has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sed_model.core.errors import DataError
from sed_model.core.paths import is_file, is_folder
from sed_model.core.texts import nearest
from sed_model.data.tables import columns_of

LabelForm = Literal["columns", "spans", "birds"]
TABLES = ("train.csv", "train_metadata.csv")
LABEL_TABLES = ("train_soundscapes_labels.csv", "train_soundscape_labels.csv")
EVENT_TABLE = "train_soundscapes_events.csv"
SPANS = {"filename", "start", "end", "primary_label"}
FORMS: dict[LabelForm, str] = {
    "columns": "row_id and one column per class",
    "spans": "filename, start, end, primary_label",
    "birds": "row_id and birds",
}


@dataclass(frozen=True)
class Layout:
    """The names of a data folder's parts; of folders that are not there, those that they would have.

    Attributes:
        year: of BirdCLEF, as text.
        table: of the recordings.
        audio: folder of the recordings.
        soundscapes: folder of the soundscapes.
        labels: table of the labelled soundscapes; None where there is none.
        form: how that table gives the labels.
    """

    year: str
    table: str
    audio: str
    soundscapes: str
    labels: str | None
    form: LabelForm = "columns"

    def __str__(self) -> str:
        parts = [self.table, f"{self.audio}/", f"{self.soundscapes}/"]
        labels = f", {self.labels} ({FORMS[self.form]})" if self.labels else ""
        return f"{self.year} ({', '.join(parts)}{labels})"

    @property
    def in_label_folders(self) -> bool:
        """Whether file names are given without the folder, which is that of the label."""
        return self.audio == "train_short_audio"


def find_layout(root: Path) -> Layout:
    """The layout of a folder.

    Raises:
        DataError: it is none with recordings in any of them; a near one is named.
    """
    _check_place(root)
    table = next(name for name in TABLES if os.path.lexists(root / name))
    audio = "train_audio"
    if not os.path.lexists(root / audio) and is_folder(root / "train_short_audio"):
        audio = "train_short_audio"
    soundscapes = "train_soundscapes"
    if not os.path.lexists(root / soundscapes) and is_folder(root / "unlabeled_soundscapes"):
        soundscapes = "unlabeled_soundscapes"
    labels = next((name for name in LABEL_TABLES if os.path.lexists(root / name)), None)
    form = "columns" if labels is None else label_form(columns_of(root / labels))
    return Layout(_year(table, audio, soundscapes, form), table, audio, soundscapes, labels, form)


def label_form(columns: tuple[str, ...]) -> LabelForm:
    """How a table of labelled soundscapes gives its labels, by its columns; of misspelt ones by the nearest."""
    if SPANS.issubset(columns):
        return "spans"
    if {"row_id", "birds", "seconds"}.issubset(columns):
        return "birds"
    n_near = sum(bool(nearest(name, columns)) for name in SPANS)
    return "spans" if n_near > 1 and not nearest("row_id", columns) else "columns"


def _year(table: str, audio: str, soundscapes: str, form: LabelForm) -> str:
    if audio == "train_short_audio":
        return "BirdCLEF 2021"
    if table == "train_metadata.csv":
        return "BirdCLEF 2024" if soundscapes == "unlabeled_soundscapes" else "BirdCLEF 2022 to 2024"
    return "BirdCLEF+ 2026" if form == "spans" else "BirdCLEF+ 2025"


def _check_place(root: Path) -> None:
    """
    Raises:
        DataError: it is no data folder.
    """
    wanted = "give the folder that holds train.csv and train_audio/"
    if root.suffix == ".zip" and is_file(root):
        raise DataError(f"{root} is packed; unpack it, and {wanted}.")
    if not is_folder(root):
        raise DataError(f"{root} is not a folder; {wanted}.")
    if any(os.path.lexists(root / name) for name in TABLES):
        return
    places = (root.parent, *sorted(root.glob("*")))
    near = [place for place in places if any(is_file(place / name) for name in TABLES)]
    packed = sorted(root.glob("*.zip"))
    hint = f" ({near[0]}?)" if near else f" (unpack {packed[0].name} first)" if packed else ""
    raise DataError(f"{root} holds no train.csv; {wanted}{hint}.")
