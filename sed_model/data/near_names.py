"""Which file or label a table means by a name that is not spelt as it: where only one can be meant."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from sed_model.audio.audio_files import APPLE_DOUBLE, AUDIO_SUFFIXES, UNREADABLE_SUFFIXES, AudioListing
from sed_model.core.texts import fold

BACKSLASHES = "filenames with backslashes, read as /"
PREFIXED = "filenames that begin with the folder of the recordings, read without it"
OTHER_FORM = "filenames in another Unicode form than the file's (NFC, NFD)"
CAPITALS = "filenames in other capitals than the file's"
OTHER_SUFFIX = "filenames with another suffix than the file's"
BARE = "filenames without their folder"
SPREADSHEET_NUMBERS = "labels that a spreadsheet made numbers (1234.0), read as 1234"
LABEL_FORM = "labels in another Unicode form (NFC, NFD)"
NEAR_AMONG = 5_000
"""So many names of a folder are compared for the nearest one."""


@dataclass(frozen=True)
class Found:
    """A file by a name in a table.

    Attributes:
        path: None where no file is meant, or several may be.
        ways: how the name differs from the path; empty for one that is exact.
        candidates: the files that may be meant, where they are several.
    """

    path: str | None
    ways: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()


class FileFinder:
    """The audio files of a listing by the names that a table gives them."""

    def __init__(self, listing: AudioListing, filenames: Collection[str], in_label_folders: bool = False) -> None:
        """
        Args:
            filenames: all that the table names: a file that one of them names exactly is meant by no other.
            in_label_folders: names have no folder, for it is that of the label (BirdCLEF 2021).
        """
        self._listing, self._in_label_folders = listing, in_label_folders
        self._filenames = filenames
        self._indices: dict[tuple[int, int], dict[str, list[str]]] = {}

    @cached_property
    def _exact(self) -> frozenset[str]:
        """The files that the table names exactly; asked for when a name first is not."""
        return frozenset(path for name in self._filenames if (path := self._join(name)) in self._listing.sizes)

    def _join(self, filename: str) -> str:
        return f"{self._listing.name}/{PurePosixPath(filename).as_posix()}"

    def path_of(self, filename: str, label: str) -> str:
        """Where the name says that the file is."""
        return self._join(f"{label}/{filename}" if self._in_label_folders and "/" not in filename else filename)

    def find(self, filename: str, label: str) -> Found:
        """The file that the name means; for a name with `..` none."""
        if (path := self.path_of(filename, label)) in self._listing.sizes:
            return Found(path)
        parts, ways = self._parts(filename)
        if not parts or ".." in parts or parts[0] == "/":
            return Found(None)
        bare = len(parts) == 1
        places = [("/".join(parts), 0, ()), *([(f"{label}/{parts[0]}", 0, (BARE,)), (parts[0], 1, (BARE,))] * bare)]
        for name, by_name_alone, more in places:
            if self._in_label_folders:
                more = ()
            for number, (way, key) in enumerate(_LADDER):
                text = name if by_name_alone else self._join(name)
                hits = self._index(number, by_name_alone).get(key(text), [])
                free = [path for path in hits if path not in self._exact]
                if len(free) == 1:
                    return Found(free[0], (*ways, *more, *filter(None, [way])))
                if free:
                    return Found(None, candidates=tuple(sorted(free)))
        return Found(None)

    def _parts(self, filename: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The name's parts below the folder of the recordings, and what had to be changed for them."""
        ways: tuple[str, ...] = ()
        if "\\" in filename:
            filename, ways = filename.replace("\\", "/"), (BACKSLASHES,)
        parts = PurePosixPath(filename).parts
        if self._listing.name in parts[:-1] and ".." not in parts:
            parts, ways = parts[parts.index(self._listing.name) + 1 :], (*ways, PREFIXED)
        return parts, ways

    def _index(self, number: int, by_name_alone: int) -> Mapping[str, list[str]]:
        """The files by what is left of their paths (or names) on a rung of the ladder."""
        index = self._indices.get((number, by_name_alone))
        if index is None:
            index, key = {}, _LADDER[number][1]
            for path in self._listing.sizes:
                index.setdefault(key(PurePosixPath(path).name if by_name_alone else path), []).append(path)
            self._indices[number, by_name_alone] = index
        return index

    def repair(self, filename: str, label: str) -> str:
        """What to do about a name that means no file: what lies nearest to it, where something does."""
        path = PurePosixPath(self.path_of("/".join(self._parts(filename)[0]), label))
        if path.name.startswith(APPLE_DOUBLE):
            return f"files that begin with {APPLE_DOUBLE} are a Mac's notes on others; remove the row"
        for other in self._listing.others:
            suffix = PurePosixPath(other).suffix.lower()
            if suffix in UNREADABLE_SUFFIXES and _stem(other) == _stem(str(path)):
                name = PurePosixPath(other)
                return f"{other} cannot be read, as all {suffix}; convert it: ffmpeg -i {name.name} {name.stem}.flac"
        beside = [one for one in self._listing.sizes if one.rpartition("/")[0] == str(path.parent)]
        names = {fold(PurePosixPath(one).name): one for one in (beside or self._listing.sizes)}
        compared = list(names)[:NEAR_AMONG]
        close = difflib.get_close_matches(fold(path.name), compared, n=1, cutoff=0.6)
        near = f" (did you mean {names[close[0]].removeprefix(self._listing.name + '/')}?)" if close else ""
        return f"there is no audio file {path}; add it or remove the row{near}"


def _stem(path: str) -> str:
    """The folded path without the suffix of a sound file; a name may have other dots."""
    suffix = PurePosixPath(path).suffix
    known = suffix.lower() in AUDIO_SUFFIXES | UNREADABLE_SUFFIXES
    return fold(path[: -len(suffix)] if suffix and known else path)


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


_LADDER: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("", str),
    (OTHER_FORM, nfc),
    (CAPITALS, fold),
    (OTHER_SUFFIX, _stem),
)


class LabelFinder:
    """The classes by the labels that a table gives them."""

    def __init__(self, classes: Iterable[str]) -> None:
        self._known = frozenset(classes)
        by_form: dict[str, list[str]] = {}
        for name in self._known:
            by_form.setdefault(nfc(name), []).append(name)
        self._by_form = {form: names[0] for form, names in by_form.items() if len(names) == 1}

    def find(self, label: str) -> tuple[str, str]:
        """The class and how the label differs from it; a label that means none is given back as it is."""
        if label in self._known:
            return label, ""
        if (form := nfc(label)) in self._by_form:
            return self._by_form[form], LABEL_FORM
        whole = label.removesuffix(".0")
        if whole.isdecimal() and whole in self._known:
            return whole, SPREADSHEET_NUMBERS
        return label, ""

    def __contains__(self, label: object) -> bool:
        return label in self._known
