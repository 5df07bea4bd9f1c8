"""A hostile index of the audio cache: damaged, and so built again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.audio.cache import AudioCache, DamagedCacheError
from sed_model.audio.cache_build import join_text
from tests.hostile import drawn, in_time, overwritten, places


def write_cache(folder: Path, **changes: Any) -> None:
    index = {
        "header": np.array([1, 8_000]),
        "paths": join_text(["a", "b"]),
        "lengths": np.array([8_000, 8_000]),
        "bad_paths": join_text([]),
        "bad_reasons": join_text([]),
    } | changes
    np.savez(folder / "index.npz", **{name: value for name, value in index.items() if value is not None})
    np.zeros(16_000, np.int16).tofile(folder / "samples.int16")
    np.zeros(2, np.float32).tofile(folder / "energies.float32")


INDEXES: dict[str, dict[str, Any]] = {
    "no header": {"header": None},
    "a short header": {"header": np.array([1])},
    "a header of text": {"header": np.array(["a", "b"])},
    "a negative rate": {"header": np.array([1, -8_000])},
    "another version": {"header": np.array([99, 8_000])},
    "no paths": {"paths": None},
    "one length": {"lengths": np.array([16_000])},
    "negative lengths": {"lengths": np.array([-1, 16_001])},
    "fractions": {"lengths": np.array([8_000.0, 8_000.0])},
    "square lengths": {"lengths": np.array([[8_000], [8_000]])},
    "lengths beyond the file": {"lengths": np.array([2**40, 2**40])},
    "a path twice": {"paths": join_text(["a", "a"])},
    "more bad paths than reasons": {"bad_paths": join_text(["c", "d"])},
}


@pytest.mark.parametrize("changes", INDEXES.values(), ids=INDEXES)
def test_a_cache_with_a_hostile_index_is_damaged_and_so_built_again(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_cache(tmp_path, **changes)
    with in_time(), pytest.raises(DamagedCacheError):
        AudioCache(tmp_path)


@drawn
@given(place=places, data=st.binary(min_size=1, max_size=6))
def test_an_index_with_other_bytes_is_damaged_or_as_long_as_its_files(
    tmp_path: Path, place: float, data: bytes
) -> None:
    write_cache(tmp_path)
    path = tmp_path / "index.npz"
    overwritten(path, place, data)
    try:
        with in_time():
            cache = AudioCache(tmp_path)
    except DamagedCacheError:
        return
    assert len(cache) == 2
