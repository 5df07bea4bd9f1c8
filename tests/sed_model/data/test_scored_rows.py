"""A submission and its truth: which windows and classes are scored, and what is refused with the repair."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.core.errors import DataError
from sed_model.data.scored_rows import ScoredRows, read_scored_rows
from tests.hostile import drawn, refusal, refused

SUBMISSION = "row_id,wren,robin\nH01_5,0.9,0.1\nH01_10,0.2,0.3\nH02_5,0.4,0.5\n"
TRUTH = "row_id,wren,robin\nH01_5,1,0\nH02_5,0,1\n"
Read = Callable[..., ScoredRows]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Scores a submission and a truth of these contents."""

    def call(submission: str = SUBMISSION, truth: str = TRUTH, **options: object) -> ScoredRows:
        (tmp_path / "submission.csv").write_text(submission, encoding="utf-8")
        (tmp_path / "truth.csv").write_text(truth, encoding="utf-8")
        return read_scored_rows(tmp_path / "submission.csv", tmp_path / "truth.csv", **options)

    return call


def test_the_windows_and_classes_of_the_truth_are_scored(read: Read) -> None:
    rows = read(truth="row_id,robin\nH02_5,1\nH01_5.0,0\n")
    assert rows.windows.classes == ("robin",)
    assert rows.windows.files == ["H02", "H01"]
    assert rows.windows.probabilities.tolist() == [[0.5], [0.1]]
    assert rows.windows.targets.tolist() == [[1.0], [0.0]]
    assert rows.notes == (
        "columns of the submission that the truth lacks, not scored: 1",
        "rows of submission.csv that the truth says nothing about, not scored: 1",
    )


def test_in_the_form_of_2026_windows_without_a_row_hold_no_call(read: Read) -> None:
    truth = "filename,start,end,primary_label\nH01.ogg,00:00:05,00:00:10,robin;wren\n"
    rows = read(truth=truth)
    assert [(stem, end_s) for stem, _, end_s in rows.windows.windows] == [("H01", 10.0), ("H01", 5.0)]
    assert rows.windows.targets.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert "windows of labelled soundscapes without a row in truth.csv, taken as without a call: 1" in rows.notes


def test_in_the_form_of_2021_the_rows_are_the_windows(read: Read) -> None:
    truth = "row_id,site,audio_id,seconds,birds\nH01_5,COR,1,5,wren robin\nH02_5,COR,1,5,nocall\n"
    assert read(truth=truth).windows.targets.tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_folders_and_underscores_belong_to_the_file(read: Read) -> None:
    rows = read("row_id,wren\nS/2_a_5,0.5\n", "filename,start,end,primary_label\nS\\2_a.WAV,0,5,wren\n")
    assert rows.windows.files == ["S/2_a"]


@pytest.mark.parametrize(
    ("stem", "pattern", "site"),
    [
        ("BC_H02_20230420_074000", None, "H02"),
        ("folder/H02_20230420_074000", None, "H02"),
        ("field-7", None, ""),
        ("field-7", r"-(\d)", "7"),
        ("SITE/0600", "^([^/]+)/", "SITE"),
    ],
)
def test_sites_are_told_by_names(read: Read, stem: str, pattern: str | None, site: str) -> None:
    options = {"site": re.compile(pattern)} if pattern else {}
    assert read(f"row_id,wren\n{stem}_5,0.5\n", f"row_id,wren\n{stem}_5,1\n", **options).sites == (site,)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"truth": TRUTH + "H03_5,0,0\n"}, ["H03_5: add the row to submission.csv, or take it out of the truth"]),
        ({"submission": SUBMISSION + "H01_5,0,0\n"}, ["line 5: H01_5 is in line 2 already; remove one"]),
        ({"submission": SUBMISSION + "H01_5.00,0,0\n"}, ["line 5: H01_5.00 is in line 2 already"]),
        ({"truth": TRUTH + "H01_5,0,0\n"}, ["line 4: H01_5 is in line 2 already"]),
        ({"submission": SUBMISSION.replace("0.9", "nan")}, ["line 2, column wren: 'nan'; predict these windows again"]),
        ({"submission": SUBMISSION.replace("0.9", "")}, ["line 2, column wren: ''"]),
        ({"submission": SUBMISSION.replace("0.9", "inf")}, ["no finite number (1)"]),
        ({"submission": SUBMISSION.replace("H02_5", "H02")}, ["line 4: 'H02' is not <file stem>_<end second>"]),
        ({"submission": "row_id,wren,robin\n"}, ["no scores"]),
        ({"submission": "row_id\nH01_5\n"}, ["no scores"]),
        ({"submission": "id,wren\nH01_5,1\n"}, ["row_id: add the column"]),
        ({"truth": "row_id,wrenn\nH01_5,1\n"}, ["wrenn: add it to the submission", "(did you mean wren?)"]),
        ({"truth": TRUTH.replace(",1,0", ",2,0")}, ["line 2, column wren: '2'; write 0 or 1"]),
        ({"truth": "row_id,wren\n"}, ["no labels"]),
        ({"truth": "filename,start,end,primary_label\nH01,0,5,wrenn\n"}, ["line 2: 'wrenn'", "(did you mean wren?)"]),
        ({"truth": "filename,start,end,primary_label\nH01,5,0,wren\n"}, ["line 2: H01, 5, 0, wren; write its times"]),
        (
            {"truth": "filename,start,end,primary_label\nH01,0,5,wren\nH01,5.2,10,wren\n"},
            ["4.8 to 5 s; events become windows by sed_model.import_annotations"],
        ),
        ({"truth": "row_id,seconds,birds\nH01,5,wren\n"}, ["line 2: H01, wren, 5"]),
    ],
)
def test_what_cannot_be_scored_is_refused_with_the_repair(
    read: Read, changes: dict[str, str], parts: list[str]
) -> None:
    refusal(lambda: read(**changes), *parts, kind=DataError)


def test_all_problems_of_a_table_are_told_at_once(read: Read) -> None:
    message = refusal(lambda: read(truth="row_id,wren,owl\nH01_5,x,0\nH07_5,0,0\n"), kind=DataError)
    for part in ("owl: add it", "'x'; write 0 or 1", "H07_5: add the row"):
        assert part in message


CELL = st.sampled_from(
    ["H01_5", "H01_10", "H01", "0", "1", "0.5", "nan", "", "wren", "row_id", "5", '"', ";", "\ufeff"]
)
TABLE = st.lists(st.lists(CELL, min_size=1, max_size=4).map(",".join), max_size=5).map("\n".join)


@drawn
@given(body=TABLE, truth=TABLE, has_head=st.booleans())
def test_any_table_is_scored_or_refused(read: Read, body: str, truth: str, has_head: bool) -> None:
    head = "row_id,wren\n" if has_head else ""
    if not refused(lambda: read(head + body, head + truth), kind=DataError):
        rows = read(head + body, head + truth)
        assert np.isfinite(rows.windows.probabilities).all()
        assert rows.windows.targets.shape == rows.windows.probabilities.shape
