"""Checks of a table's columns: each says what is wrong, or nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sed_model.core.texts import examples


def empty(table: pa.Table, names: Iterable[str]) -> Iterator[str]:
    """Those of the named columns with cells that are empty, or NaN."""
    for name in [name for name in names if name in table.column_names]:
        if n_empty := pc.sum(pc.is_null(table[name], nan_is_null=True)).as_py():
            yield f"column {name!r} is empty in {n_empty} of {len(table)} rows"


def unknown(name: str, values: pa.ChunkedArray, known: Collection[str], whose: pa.ChunkedArray | None = None) -> str:
    """Values that are not among the known; empty ones are another check's."""
    strange = [value for value in pc.unique(values).to_pylist() if value is not None and value not in known]
    if not strange:
        return ""
    wrong = np.isin(np.array(values.to_pylist(), dtype=object), strange)
    return f"unknown {name} {examples(strange)}; known: {examples(known, n_most=12)}{_of(whose, wrong)}"


def outside(
    name: str, values: pa.ChunkedArray, low: float, high: float = np.inf, whose: pa.ChunkedArray | None = None
) -> str:
    """Numbers outside low..high, and infinite ones; missing ones are another check's."""
    ends = pc.min_max(values).as_py().values()  # NaN left out; to_numpy and pa.array would import pandas
    if all(end is None or np.isnan(end) or (low <= end <= high and np.isfinite(end)) for end in ends):
        return ""
    numbers = values.to_numpy().astype(np.float64)
    wrong = ~((numbers >= low) & (numbers <= high) & np.isfinite(numbers)) & ~np.isnan(numbers)
    limit = f"at least {low} and finite" if np.isinf(high) else f"within {low}..{high}"
    return f"{name} is {examples(np.unique(numbers[wrong]).tolist())}, must be {limit}{_of(whose, wrong)}"


def duplicates(name: str, values: pa.ChunkedArray) -> str:
    """Values that should name a row each, and name several."""
    twice = [count["values"] for count in values.value_counts().to_pylist() if count["counts"] > 1]
    return f"{name} {examples(twice)} stands in more than one row" if twice else ""


def _of(whose: pa.ChunkedArray | None, chosen: np.ndarray) -> str:
    """The names of the chosen rows."""
    return "" if whose is None else f" ({examples(pc.unique(whose.filter(pa.array(chosen))).to_pylist())})"
