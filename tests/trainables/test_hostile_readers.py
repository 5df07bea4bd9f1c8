"""Files that strangers hand over or that others have damaged: each reader takes them as they are meant, or refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sed_model.data.frame_scores import read_frame_scores
from sed_model.data.leave_out import read_leave_out
from sed_model.data.scored_events import read_scored_events
from sed_model.run_folder.decisions import read_decisions
from sed_model.run_folder.delivered import DELIVERED_FILE, read_delivered
from sed_model.teacher.description import read_description
from tests.hostile import NO_FILES, ODD_JSON, drawn, put_in_place, refusal, refused, trees
from trainables.chaining.ledger import read_record
from trainables.spaces.portfolio import read_portfolio

CLASSES = ("robin", "wren")
EVENTS = "file,start_s,end_s,primary_label\n"


def score_events(path: Path) -> object:
    """A table of events, scored against itself."""
    return read_scored_events([path], [path])


def read_own_delivered(path: Path) -> object:
    return read_delivered(path.parent)


RECORDS: dict[str, Callable[[Path], object]] = {
    "chain.json": read_record,
    "decisions.json": read_decisions,
    DELIVERED_FILE: read_own_delivered,
    "teacher.yaml": lambda path: read_description(str(path)).path,
    "portfolio.yaml": read_portfolio,
}
TABLES: dict[str, Callable[[Path], object]] = {
    "leave_out.txt": read_leave_out,
    "events.csv": score_events,
    "frames.tsv": lambda path: read_frame_scores(path, CLASSES),
}
READERS = RECORDS | TABLES
records = pytest.mark.parametrize("name", RECORDS)
readers = pytest.mark.parametrize("name", READERS)


@records
@pytest.mark.parametrize("kind", ODD_JSON)
def test_a_record_of_another_kind_is_refused_by_name(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(ODD_JSON[kind])

    if name == "portfolio.yaml" and kind in ("nothing", "null", "an empty mapping"):
        assert READERS[name](path) == []
    else:
        refusal(lambda: READERS[name](path), Path(name).stem)


@records
@drawn
@given(tree=trees)
def test_any_record_is_refused_by_name_or_read(tmp_path: Path, name: str, tree: Any) -> None:
    path = tmp_path / name
    write = yaml.safe_dump if path.suffix == ".yaml" else json.dumps
    path.write_text(write(tree), encoding="utf-8")

    refused(lambda: READERS[name](path), Path(name).stem)


@readers
@drawn
@given(content=st.binary(max_size=60))
def test_any_bytes_are_refused_by_name_or_read(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    refused(lambda: READERS[name](path), Path(name).stem)


@readers
@pytest.mark.parametrize("put", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_refused_and_does_not_block(tmp_path: Path, name: str, put: Callable[[Path], None]) -> None:
    path = tmp_path / name
    put_in_place(path, put)
    if name == "portfolio.yaml" and put is os.mkfifo:
        pytest.skip("YAML files that a user names may be pipes, of another command")

    if name == DELIVERED_FILE:  # as where there is none: the run delivers its best trials
        assert READERS[name](path) is None
    else:
        refusal(lambda: READERS[name](path), Path(name).stem)


cells = st.text("0123456789.-+eEinfa:/\\ \"'é\t", max_size=8) | st.floats().map(str)


@drawn
@given(rows=st.lists(st.lists(cells, min_size=4, max_size=4), max_size=4))
def test_any_rows_of_events_are_scored_or_refused(tmp_path: Path, rows: list[list[str]]) -> None:
    path = tmp_path / "events.csv"
    path.write_text(EVENTS + "".join(",".join(row) + "\n" for row in rows), encoding="utf-8")

    refused(lambda: score_events(path), "events")


@drawn
@given(rows=st.lists(st.lists(cells, min_size=3, max_size=4), min_size=1, max_size=4))
def test_any_rows_of_frames_are_numbers_that_follow_one_another_or_refused(
    tmp_path: Path, rows: list[list[str]]
) -> None:
    path = tmp_path / "frames.tsv"
    path.write_text("onset\toffset\trobin\n" + "".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    read: list[Any] = []

    if not refused(lambda: read.append(read_frame_scores(path, CLASSES)), "frames.tsv"):
        edges_s, scores = read[0]
        assert (edges_s[1:] > edges_s[:-1]).all()
        assert scores.shape == (len(edges_s) - 1, len(CLASSES))
