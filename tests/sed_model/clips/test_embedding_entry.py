"""A file of what was heard: read as it was written, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.clips.embedding_entry import Entry, entry_in, read_entry, write_entry
from tests.hostile import drawn, overwritten, places, truncated

ENTRY = Entry(
    np.array([0.0, 1.0]),
    np.array([3.0, 4.0]),
    np.array([[1, 2, 3], [4, 5, 6]], np.float16),
    np.array([[-1.0], [0.5]], np.float16),
)
BAD = Entry(np.empty(0), np.empty(0), np.empty((0, 0), np.float16), np.empty((0, 1), np.float16), "breaks off: ä")


@pytest.mark.parametrize("entry", [ENTRY, BAD], ids=["heard", "bad"])
def test_an_entry_is_read_as_it_was_written(tmp_path: Path, entry: Entry) -> None:
    path = entry_in(tmp_path, bytes(range(16)))
    write_entry(path, entry)
    assert path.name == "000102030405060708090a0b0c0d0e0f.heard"
    read = read_entry(path)
    for field in ("starts_s", "ends_s", "embeddings", "logits"):
        np.testing.assert_array_equal(getattr(read, field), getattr(entry, field), strict=True)
    assert read.reason == entry.reason


def test_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.heard: No such file"):
        read_entry(tmp_path / "absent.heard")


@given(share=st.floats(0, 100, exclude_max=True))
@drawn
def test_one_that_was_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    write_entry(tmp_path / "one.heard", ENTRY)
    truncated(tmp_path / "one.heard", share)
    with pytest.raises(ValueError, match=r"one\.heard"):
        read_entry(tmp_path / "one.heard")


@given(place=places, change=st.integers(1, 255))
@drawn
def test_one_with_another_byte_is_refused(tmp_path: Path, place: float, change: int) -> None:
    path = tmp_path / "one.heard"
    write_entry(path, ENTRY)
    content = path.read_bytes()
    overwritten(path, place, bytes([content[int(len(content) * place)] ^ change]))
    with pytest.raises(ValueError, match=r"one\.heard"):
        read_entry(path)
