"""Values from files as text for people: short, and without what a terminal obeys."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

N_EXAMPLES = 5
MAX_SHOWN = 300
"""Characters of a value from a file that people are shown; a cell may hold a million."""


def printable(text: str, kept: str = "\n") -> str:
    """Text with everything escaped that a terminal would obey, but for the characters `kept`: ends of lines."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def shown(value: object, n_most: int = MAX_SHOWN) -> str:
    """A value as printable text, cut."""
    text = str(value)
    return printable(text if len(text) <= n_most else f"{text[: n_most - 1]}…", kept="")


def examples(values: Iterable[object], n_most: int = N_EXAMPLES) -> str:
    """The first few values, and how many more there are."""
    given = list(values)
    more = f" and {len(given) - n_most} more" if len(given) > n_most else ""
    return ", ".join(shown(value) for value in given[:n_most]) + more


def first_line(error: Exception) -> str:
    """The first line of a library's error message."""
    return shown(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__


def nearest(name: object, known: Iterable[str], cutoff: float = 0.6) -> str:
    """` (did you mean X?)`, or nothing when no known name is close; capitals and Unicode forms hardly count.

    Args:
        cutoff: likeness from which on a name is close, 0..1.
    """
    folded: dict[str, str] = {}
    for one in known:
        folded.setdefault(fold(one), one)
    close = difflib.get_close_matches(fold(str(name)), list(folded), n=1, cutoff=cutoff)
    return f" (did you mean {folded[close[0]]}?)" if close else ""


def fold(text: str) -> str:
    """The text without what writing systems and keyboards change: one Unicode form (NFC), no capitals."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def gigabytes(n_bytes: float) -> str:
    """0.54 GB, 5.4 GB, 54 GB."""
    return f"{n_bytes / 1e9:.2g} GB" if n_bytes < 10e9 else f"{n_bytes / 1e9:.0f} GB"


def counted(n: int, thing: str) -> str:
    """1 trial, 1,200 trials."""
    return f"{n} {thing}" if n == 1 else f"{n:,} {thing}s"
