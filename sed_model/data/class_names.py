"""What the classes of a data folder are called: their scientific and common names, as taxonomy.csv says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sed_model.data.near_names import LabelFinder
from sed_model.data.tables import Notes, read_text_table
from sed_model.teacher.matching import ClassNames, plain

NAMED = "labels that are a scientific or common name of taxonomy.csv"


def class_groups(root: Path, classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Column class_name of taxonomy.csv (Aves, Amphibia, Insecta ..) -> its classes, in their order; none without it.

    Raises:
        DataError: taxonomy.csv cannot be read.
    """
    path = root / "taxonomy.csv"
    table = read_text_table(path, ["primary_label"], Notes()) if os.path.lexists(path) else None
    if table is None or "class_name" not in table:
        return {}
    group_of = dict(zip(table["primary_label"], table["class_name"], strict=True))
    names = sorted({name for one in classes if (name := group_of.get(one))})
    return {name: tuple(one for one in classes if group_of.get(one) == name) for name in names}


def class_names(root: Path, classes: Sequence[str]) -> tuple[ClassNames, ...]:
    """Of each class, in their order; where the table lacks a name it is the label itself.

    Args:
        root: the data folder.

    Raises:
        DataError: taxonomy.csv cannot be read.
    """
    path = root / "taxonomy.csv"
    known: dict[str, tuple[str, str]] = {}
    if os.path.lexists(path):
        table = read_text_table(path, ["primary_label"], Notes())
        columns = [
            table[name] if name in table else table["primary_label"] for name in ("scientific_name", "common_name")
        ]
        known = dict(zip(table["primary_label"], zip(*columns, strict=True), strict=True))
    return tuple(ClassNames(label, *known.get(label, (label, label))) for label in classes)


class ClassFinder:
    """The classes by what annotators call them: by label, or by a name that taxonomy.csv has once."""

    def __init__(self, root: Path, classes: Sequence[str]) -> None:
        """
        Args:
            root: the data folder.

        Raises:
            DataError: taxonomy.csv cannot be read.
        """
        self._labels = LabelFinder(classes)
        self._names = dict.fromkeys(classes)
        by_name: dict[str, set[str]] = {}
        for one in class_names(root, classes):
            for name in (one.scientific_name, one.common_name):
                by_name.setdefault(plain(name), set()).add(one.primary_label)
                self._names[name] = None
        self._by_name = {name: labels.pop() for name, labels in by_name.items() if name and len(labels) == 1}

    @property
    def names(self) -> tuple[str, ...]:
        """All that a class may be called."""
        return tuple(self._names)

    def __contains__(self, text: object) -> bool:
        return self.find(str(text))[0] is not None

    def find(self, text: str) -> tuple[str | None, str]:
        """The class, None where none is meant, and how the text differs from it."""
        label, way = self._labels.find(text)
        if label in self._labels:
            return label, way
        return self._by_name.get(plain(text)), NAMED
