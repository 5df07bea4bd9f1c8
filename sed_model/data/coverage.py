"""What the score of a data folder covers: said before a search, for a score of two classes looks like one of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sed_model.core.errors import DataError, some
from sed_model.core.texts import counted
from sed_model.data.recordings import DataFolder
from sed_model.data.soundscape_parts import LEAST_FILES
from sed_model.data.splits import Split
from sed_model.run_folder.metrics import POSITIVE_FROM

N_NAMED = 10


@dataclass(frozen=True)
class Coverage:
    """Which classes the macro AUC is of.

    Attributes:
        n_classes: of the data folder.
        scored: classes that some validation windows hold and others do not: only those have an AUC.
        everywhere: classes that every validation window holds.
        without_recording: classes that no recording names, neither as its primary label nor as a secondary one.
        soundscapes_only: those of them that labelled soundscapes hold.
        n_files: files that the validation windows are of.
        kind: what validates.
        soundscapes_train: whether labelled soundscapes train (`data.soundscape_folds`).
    """

    n_classes: int
    scored: tuple[str, ...]
    everywhere: tuple[str, ...]
    without_recording: tuple[str, ...]
    soundscapes_only: tuple[str, ...]
    n_files: int
    kind: str
    soundscapes_train: bool

    @property
    def files(self) -> str:
        return counted(self.n_files, "soundscape" if self.kind == "soundscapes" else "recording")

    def __str__(self) -> str:
        """`"the score covers 2 of 12 classes (16 soundscapes decide); 2 have no recording: a, b"` and the like."""
        decide = "decides" if self.n_files == 1 else "decide"
        parts = [f"the score covers {len(self.scored)} of {self.n_classes} classes ({self.files} {decide})"]
        for names, one, several in (
            (self.without_recording, "has no recording", "have no recording"),
            (self.soundscapes_only, "occurs in soundscapes only", "occur in soundscapes only"),
        ):
            if names:
                parts.append(f"{len(names)} {one if len(names) == 1 else several}: {some(names, N_NAMED)}")
        if self.soundscapes_only and self.kind == "soundscapes" and not self.soundscapes_train:
            parts.append(
                "only data.soundscape_folds trains what soundscapes alone hold (finalists of a search do, from "
                f"{LEAST_FILES} labelled soundscapes on)"
            )
        return "; ".join(parts)


def coverage(folder: DataFolder, split: Split, targets: Float[np.ndarray, "n k"], paths: Sequence[str]) -> Coverage:
    """What the validation windows with these targets, of these files, can tell."""
    classes = np.asarray(folder.classes, dtype=object)
    positive = np.asarray(targets) >= POSITIVE_FROM
    somewhere, everywhere = positive.any(axis=0), positive.all(axis=0)
    recorded = set(folder.recordings["primary_label"]).union(*folder.recordings["secondary_labels"])
    absent = tuple(name for name in folder.classes if name not in recorded)
    table = folder.soundscape_labels
    heard = frozenset() if table is None else {name for name in absent if table[name].to_numpy().any()}
    return Coverage(
        n_classes=len(classes),
        scored=tuple(classes[somewhere & ~everywhere]),
        everywhere=tuple(classes[everywhere]),
        without_recording=absent,
        soundscapes_only=tuple(name for name in absent if name in heard),
        n_files=len(set(paths)),
        kind=split.kind,
        soundscapes_train=bool(split.soundscapes_train),
    )


def check_coverage(covered: Coverage, folder: DataFolder, n_windows: int) -> None:
    """
    Raises:
        DataError: no class can be scored, whatever a model predicts.
    """
    if covered.scored:
        return
    held = (
        f"every one of them holds {some(covered.everywhere)}, and no other class is in any"
        if covered.everywhere
        else "none of them holds any class"
    )
    if covered.kind == "soundscapes":
        repair = (
            f"mend the labels of {folder.root} (a score needs windows with a class and windows without it), or set "
            "data.validation=folds to validate on recordings"
        )
    else:
        repair = "validate on recordings of more classes: set another data.fold, or a smaller data.n_folds"
    raise DataError(
        f"macro AUC can never be defined: of {n_windows} validation windows of {covered.files}, {held}; {repair}."
    )
