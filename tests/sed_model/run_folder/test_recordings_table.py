"""recordings.parquet: what is read is what was written; what no probe writes is refused with a reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given

from sed_model.core.errors import DataError
from sed_model.run_folder.recordings_table import (
    MAX_TEXT,
    RECORDING_FIELDS,
    RECORDINGS_FILE,
    read_recordings,
    write_recordings,
)
from tests.hostile import NO_FILES, drawn, overwritten, places, put_in_place, refusal, refused, truncated


def rows() -> list[dict[str, Any]]:
    """Three recordings; the last has no place on the map, and nobody can judge it."""
    common = {"author": "Ann", "x": 0.5, "y": -1.0, "similarity": 0.75, "same_label_share": 0.25}
    return [
        common | {"filename": "train_audio/a/1.ogg", "primary_label": "a", "neighbour": "train_audio/b/2.ogg",
                  "neighbour_label": "b", "suggested_label": "b"},
        common | {"filename": "train_audio/b/2.ogg", "primary_label": "b", "neighbour": "train_audio/a/1.ogg",
                  "neighbour_label": "a", "suggested_label": None},
        common | {"filename": "train_audio/c/3.ogg", "primary_label": "c", "neighbour": "train_audio/a/1.ogg",
                  "neighbour_label": "a", "suggested_label": None, "x": None, "y": None, "same_label_share": None},
    ]  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_recordings(tmp_path, rows())
    return tmp_path / RECORDINGS_FILE


def test_what_is_read_is_what_was_written(table: Path) -> None:
    found = read_recordings(table.parent)
    assert found is not None
    assert found.schema == RECORDING_FIELDS
    assert found.to_pylist() == rows()


def test_a_run_without_the_table_has_none(tmp_path: Path) -> None:
    assert read_recordings(tmp_path) is None


def test_a_run_in_which_nothing_was_heard_has_an_empty_one(tmp_path: Path) -> None:
    write_recordings(tmp_path, [])
    found = read_recordings(tmp_path)
    assert found is not None
    assert len(found) == 0


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "an absolute path": ({"filename": "/etc/passwd"}, "leaves the data folder: /etc/passwd"),
    "a way up": ({"filename": "train_audio/../../x.ogg"}, "leaves the data folder"),
    "a neighbour above": ({"neighbour": "../x.ogg"}, "neighbour leaves the data folder"),
    "no name": ({"filename": ""}, "no text of 1 to 4,096"),
    "a name without end": ({"author": "x" * (MAX_TEXT + 1)}, "author is"),
    "a label that a terminal obeys": ({"suggested_label": "\x1b[2J"}, "no label of a class"),
    "a name twice": ({"filename": "train_audio/b/2.ogg"}, "stands in more than one row"),
    "no cosine": ({"similarity": 1.5}, "similarity is 1.5, must be within"),
    "no share": ({"same_label_share": -0.5}, "same_label_share is -0.5, must be within 0..1"),
    "no place": ({"x": math.inf}, "x is inf"),
    "half a place": ({"x": None}, "has one of x and y"),
    "half a neighbour": ({"similarity": None}, "has some of neighbour"),
    "a neighbour that is not there": ({"neighbour": "z.ogg"}, "no other recording of the table"),
    "its own neighbour": ({"neighbour": "train_audio/a/1.ogg"}, "no other recording of the table"),
    "another label of the neighbour": ({"neighbour_label": "c"}, "is not train_audio/b/2.ogg's"),
    "its own label suggested": ({"suggested_label": "a"}, "is suggested the label that it has"),
    "no author": ({"author": None}, "'author' is empty in 1 of 3 rows"),
}


@pytest.mark.parametrize(("change", "words"), ODD.values(), ids=ODD)
def test_what_no_probe_writes_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    fields = pa.schema([field.with_nullable(True) for field in RECORDING_FIELDS])
    odd = [rows()[0] | change, *rows()[1:]]
    pq.write_table(pa.Table.from_pylist(odd, fields), tmp_path / RECORDINGS_FILE)
    message = refusal(lambda: read_recordings(tmp_path), RECORDINGS_FILE, words, "trainables.probe", kind=DataError)
    assert message.isprintable()


def test_a_column_of_another_kind_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"filename": [1, 2]}), tmp_path / RECORDINGS_FILE)
    refusal(lambda: read_recordings(tmp_path), "'filename' holds int64", "'author' is missing", kind=DataError)


@pytest.mark.parametrize("put", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_refused(table: Path, put: Callable[[Path], None]) -> None:
    put_in_place(table, put)
    refusal(lambda: read_recordings(table.parent), RECORDINGS_FILE, kind=DataError)


def test_a_link_out_of_the_run_is_not_followed(table: Path) -> None:
    run = table.parent / "run"
    run.mkdir()
    (run / RECORDINGS_FILE).symlink_to(table)
    assert read_recordings(run) is not None
    refusal(lambda: read_recordings(run, within=run), RECORDINGS_FILE, kind=DataError)


@drawn
@given(place=places)
def test_damaged_bytes_are_refused_or_read_right(table: Path, place: float) -> None:
    write_recordings(table.parent, rows())
    overwritten(table, place, b"\xff\x00\xfe")
    refused(lambda: read_recordings(table.parent), kind=DataError)
    truncated(table, 100 * place)
    refused(lambda: read_recordings(table.parent), kind=DataError)
