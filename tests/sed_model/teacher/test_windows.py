"""Where a foreign model's windows begin."""

from __future__ import annotations

import pytest

from sed_model.teacher.windows import window_starts

STARTS = {
    "a whole number of hops": (20, 10, 5.0, [0, 5, 10]),
    "a last window that ends with the recording": (23, 10, 5.0, [0, 5, 10, 13]),
    "exactly one window": (10, 10, 5.0, [0]),
    "shorter than a window": (4, 10, 5.0, [0]),
    "a hop of no whole number of samples": (20, 10, 2.5, [0, 2, 5, 8, 10]),
    "as good as nothing left at the end": (20_050, 10_000, 5_000.0, [0, 5_000, 10_000]),
    "no more than that": (20_101, 10_000, 5_000.0, [0, 5_000, 10_000, 10_101]),
}


@pytest.mark.parametrize(("n_samples", "length", "hop", "expected"), STARTS.values(), ids=STARTS)
def test_where_windows_begin(n_samples: int, length: int, hop: float, expected: list[int]) -> None:
    assert window_starts(n_samples, length, hop).tolist() == expected
