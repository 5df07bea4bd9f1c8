"""Which label of a foreign model is which class of the data: by scientific name, then by common name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from sed_model.core.texts import fold

QUALIFIERS = frozenset({"common", "eurasian", "european", "northern", "western", "eastern", "african", "american"})
"""What one list of names has and another leaves out: European Magpie, Eurasian Magpie."""
SPELLINGS = {"gray": "grey", "colored": "coloured"}
Way = Literal["scientific name", "common name", "common name, but for its qualifier", ""]


@dataclass(frozen=True)
class ClassNames:
    """What a class is called, as taxonomy.csv says."""

    primary_label: str
    scientific_name: str
    common_name: str


@dataclass(frozen=True)
class Match:
    """A class and the foreign label for it; `label` and `index` are None where there is none, and `way` is empty."""

    primary_label: str
    label: str | None
    index: int | None
    way: Way


def match_labels(classes: Sequence[ClassNames], labels: Sequence[str], label_format: str) -> tuple[Match, ...]:
    """A row a class. A name that several labels or classes share matches none: a wrong match is worse than none.

    Args:
        labels: those of the foreign model, in the order of its logits.
        label_format: what a label holds, see `TeacherDescription`.
    """
    scientific, common = [""] * len(labels), [""] * len(labels)
    for index, label in enumerate(labels):
        first, _, second = label.partition("_") if label_format == "scientific_common" else (label, "", label)
        scientific[index] = "" if label_format == "common" else first
        common[index] = "" if label_format == "scientific" else second
    ways: list[tuple[Way, list[str], list[str], Callable[[str], str]]] = [
        ("scientific name", [one.scientific_name for one in classes], scientific, plain),
        ("common name", [one.common_name for one in classes], common, plain),
        ("common name, but for its qualifier", [one.common_name for one in classes], common, unqualified),
    ]
    found: dict[int, tuple[int, Way]] = {}
    for way, ours, theirs, form in ways:
        index_of = _unique([form(name) for name in theirs])
        taken = {index for index, _ in found.values()}
        for name, place in _unique([form(name) for name in ours]).items():
            if place not in found and name in index_of and index_of[name] not in taken:
                found[place] = index_of[name], way
    return tuple(
        Match(one.primary_label, labels[found[place][0]], *found[place])
        if place in found
        else Match(one.primary_label, None, None, "")
        for place, one in enumerate(classes)
    )


def plain(name: str) -> str:
    """A name without capitals, hyphens, apostrophes and the spellings that differ between lists."""
    words = re.split(r"[\s_\-]+", re.sub(r"['’`.]", "", fold(name)).strip())
    return " ".join(SPELLINGS.get(word, word) for word in words)


def unqualified(name: str) -> str:
    """`plain`, without a first word that one list has and another leaves out."""
    words = plain(name).split()
    return " ".join(words[1:] if len(words) > 1 and words[0] in QUALIFIERS else words)


def _unique(names: Sequence[str]) -> dict[str, int]:
    """Name -> its place, of the names that are there once."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name:
            places.setdefault(name, []).append(place)
    return {name: found[0] for name, found in places.items() if len(found) == 1}
