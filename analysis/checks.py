"""Checks of a table's values; each returns what is wrong with the repair, or nothing."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

N_EXAMPLES = 5


def vector_problems(name: str, vectors: pd.Series, n_classes: int) -> list[str]:
    """Vectors that are not `n_classes` long, or leave 0..1."""
    lengths = vectors.map(len)
    wrong = int((lengths != n_classes).sum())
    if wrong:
        return [
            f"{name} has {examples(lengths[lengths != n_classes].unique())} values in {wrong} rows, "
            f"but the file names {n_classes} classes; write one value a class."
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
    return f"{name} {examples(twice)} stands in more than one row; keep one row a trial." if len(twice) else ""


def outside(name: str, values: pd.Series, low: float, high: float = np.inf) -> str:
    """Numbers outside low..high; missing ones are another check's."""
    given = values.dropna().astype("float64")
    wrong = given[~given.between(low, high)]
    limit = f"at least {low}" if np.isinf(high) else f"within {low}..{high}"
    return f"{name} is {examples(wrong.unique())}, must be {limit}; mend the writer." if len(wrong) else ""


def examples(values: Iterable[object], n_most: int = N_EXAMPLES) -> str:
    """The first few values, and how many more there are."""
    shown = list(values)
    more = f" and {len(shown) - n_most} more" if len(shown) > n_most else ""
    return ", ".join(str(value) for value in shown[:n_most]) + more


def matrix(vectors: pd.Series, n_classes: int) -> np.ndarray:
    """float32 [rows, classes] of a column of equally long vectors."""
    return np.array(vectors.tolist(), dtype=np.float32).reshape(len(vectors), n_classes)


def first_line(error: Exception) -> str:
    """The first line of a library's error message."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
