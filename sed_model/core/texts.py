"""Values from files as text for people: short, and without what a terminal obeys."""

from __future__ import annotations

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
