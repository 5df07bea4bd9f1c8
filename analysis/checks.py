"""Checks of a table's values; each returns what is wrong with the repair, or nothing."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

N_EXAMPLES = 5
MAX_NAME_BYTES = 200
MAX_SHOWN = 300
"""Characters of a value from a file that people are shown; a cell may hold a million."""


def vector_problems(name: str, vectors: pd.Series, n_classes: int) -> list[str]:
    """Vectors that are not `n_classes` long, or leave 0..1."""
    lengths = vectors.map(len)
    wrong = int((lengths != n_classes).sum())
    if wrong:
        return [
            f"{name} has {examples(lengths[lengths != n_classes].unique())} values in {wrong} rows, "
            f"but the file names {n_classes} classes; write one value per class."
        ]
    values = matrix(vectors, n_classes)
    outside = int((~((values >= 0) & (values <= 1))).any(axis=1).sum())
    return [f"{name} leaves 0..1 (or is not finite) in {outside} rows; write probabilities."] if outside else []


def duplicate_windows(table: pd.DataFrame) -> list[str]:
    """Windows of a file that stand in the table more than once."""
    twice = table.loc[table.duplicated(["filename", "start_s", "end_s"]), "filename"]
    return [f"windows given twice in {examples(twice.unique())}; write each window once."] if len(twice) else []


def unknown(name: str, values: pd.Series, known: Sequence[str]) -> str:
    """Values that are not among the known."""
    strange = values[~values.isin(known)].unique()
    if not len(strange):
        return ""
    return f"unknown {name} {examples(strange)}; known: {examples(known, n_most=12)}."


def duplicates(name: str, values: pd.Series) -> str:
    """Values that should name a row each, and name several."""
    twice = values[values.duplicated()].unique()
    return f"{name} {examples(twice)} stands in more than one row; keep one row per trial." if len(twice) else ""


def no_names(name: str, values: pd.Series) -> str:
    """Values that should name a folder each, and could lead elsewhere, or break a terminal."""
    strange = [value for value in values if not is_plain_name(value)]
    return f"{name} {examples(strange)} is no plain name of a folder; mend the writer." if strange else ""


def is_plain_name(name: str) -> bool:
    """Whether a folder of this name lies where it is put: no slash, no dots alone, all of it printable and not long."""
    is_odd = name in ("", ".", "..") or not {"/", "\\"}.isdisjoint(name) or not name.isprintable()
    return not is_odd and len(name.encode()) <= MAX_NAME_BYTES


def outside(name: str, values: pd.Series, low: float, high: float = np.inf) -> str:
    """Numbers outside low..high, and infinite ones; missing ones are another check's."""
    given = values.dropna().astype("float64")
    wrong = given[~given.between(low, high) | np.isinf(given)]
    limit = f"at least {low} and finite" if np.isinf(high) else f"within {low}..{high}"
    return f"{name} is {examples(wrong.unique())}, must be {limit}; mend the writer." if len(wrong) else ""


def examples(values: Iterable[object], n_most: int = N_EXAMPLES) -> str:
    """The first few values, and how many more there are."""
    given = list(values)
    more = f" and {len(given) - n_most} more" if len(given) > n_most else ""
    return ", ".join(shown(value) for value in given[:n_most]) + more


def shown(value: object, n_most: int = MAX_SHOWN) -> str:
    """A value from a file as text for people: cut, and with everything escaped that a terminal would obey."""
    text = str(value)
    text = text if len(text) <= n_most else f"{text[: n_most - 1]}…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def matrix(vectors: pd.Series, n_classes: int) -> np.ndarray:
    """float32 [rows, classes] of a column of equally long vectors."""
    return np.array(vectors.tolist(), dtype=np.float32).reshape(len(vectors), n_classes)


def first_line(error: Exception) -> str:
    """The first line of a library's error message."""
    return shown(str(error).splitlines()[0]) if str(error) else type(error).__name__
