"""Hostile recent.jsonl, which holds what the tables lack so far: refused with the line, or left out where cut short."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile import drawn, refusal, refused
from trainables.searching.recorder import RecentEntries

ENTRY = {"name": "trial_0000", "updates": {"epochs": 1}, "curve": {"epoch": 1}}
LINES = {
    "null": "null",
    "a list": "[]",
    "deep lists": "[" * 100_000,
    "no updates": '{"name": "trial_0000", "curve": null}',
    "one field more": json.dumps(ENTRY | {"x": 1}),
    "a number for a name": json.dumps(ENTRY | {"name": 3}),
    "a list of updates": json.dumps(ENTRY | {"updates": []}),
    "a list for a curve": json.dumps(ENTRY | {"curve": []}),
    "a curve without an epoch": json.dumps(ENTRY | {"curve": {}}),
    "a curve of text": json.dumps(ENTRY | {"curve": {"epoch": "1"}}),
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_damaged_line_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "recent.jsonl"
    path.write_text("\n".join([json.dumps(ENTRY), line, json.dumps(ENTRY), ""]))
    refusal(RecentEntries(path).read, "recent.jsonl line 2")


@drawn
@given(content=st.binary(max_size=80))
def test_any_lines_are_entries_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "recent.jsonl"
    path.write_bytes(json.dumps(ENTRY).encode() + b"\n" + content)
    refused(RecentEntries(path).read, "recent.jsonl line ")


@pytest.mark.parametrize("n_bytes", range(0, 120, 13))
def test_a_last_line_that_is_cut_short_is_left_out(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "recent.jsonl"
    whole = json.dumps(ENTRY).encode() + b"\n"
    path.write_bytes((whole * 2)[:n_bytes])
    assert RecentEntries(path).read() == [ENTRY] * (n_bytes // len(whole))


def test_a_line_that_is_cut_short_is_gone_before_others_follow(tmp_path: Path) -> None:
    path = tmp_path / "recent.jsonl"
    path.write_text(json.dumps(ENTRY) + "\n" + json.dumps(ENTRY)[:20])
    entries = RecentEntries(path)
    entries.read()
    entries.add(ENTRY)
    assert entries.read() == [ENTRY] * 2


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    entries = RecentEntries(tmp_path / "recent.jsonl")
    entries.add(ENTRY)
    size = (tmp_path / "recent.jsonl").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))  # ten bytes fit
    try:
        with pytest.raises(OSError, match="No space left"):
            entries.add(ENTRY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "recent.jsonl").stat().st_size == size
