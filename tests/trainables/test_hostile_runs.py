"""Hostile run folders: tables, journals, records and manifests that are damaged, or name what is not theirs."""

from __future__ import annotations

import json
import math
import resource
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile import drawn, in_time, refusal, refused
from trainables.recent import RecentEntries
from trainables.run_members import members_of
from trainables.runs import CURVE_FIELDS, REFIT_FIELDS, TRIAL_FIELDS, RunFolder, best_trials
from trainables.runs_command import find_run
from trainables.space import load_space
from trainables.trial_storage import MANIFEST, TrialFiles
from trainables.warm_start import check_comparable

TRIAL = {"trial_id": "trial_0000", "number": 0, "status": "complete", "macro_auc": 0.5, "fold": 0, "seed": 0}
CURVE = {"trial_id": "trial_0000", "stage": "pretrain_ce", "epoch": 1, "stage_epoch": 1, "macro_auc": 0.5}
TABLES: dict[str, tuple[pa.Schema, dict[str, Any]]] = {
    "trials": (TRIAL_FIELDS, TRIAL),
    "curves": (CURVE_FIELDS, CURVE),
    "refits": (REFIT_FIELDS, {name: value for name, value in TRIAL.items() if name != "status"}),
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run folder with a trial's row in each table."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    for name, (schema, row) in TABLES.items():
        pq.write_table(pa.Table.from_pylist([row], schema), folder.path / f"{name}.parquet")
    return folder


def read(run: RunFolder, name: str) -> list[dict[str, Any]]:
    return {"trials": run.read_trials, "curves": run.read_curves, "refits": run.read_refits}[name]()


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_themselves_are_good(run: RunFolder, name: str) -> None:
    assert len(read(run, name)) == 1


# --- tables

CONTENTS = {
    "nothing": b"",
    "the magic alone": b"PAR1",
    "twice the magic": b"PAR1PAR1",
    "a footer beyond the file": b"PAR1" + b"\xff\xff\xff\x7fPAR1",
    "a footer of nothing": b"PAR1" + bytes(4) + b"PAR1",
    "CSV": b"trial_id,number\ntrial_0000,0\n",
    "JSON": b"{}",
    "Arrow": b"ARROW1\0\0" + bytes(50),
    "zeros": bytes(500),
    "an HTML page": b"<!doctype html>",
    "a pickle": b"\x80\x04K\x03.",
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_bytes_that_are_no_table_are_refused_by_name(run: RunFolder, name: str, content: bytes) -> None:
    (run.path / f"{name}.parquet").write_bytes(content)
    refusal(lambda: read(run, name), f"{name}.parquet", "damaged")


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("percent", [1, 10, 50, 90, 99])
def test_a_truncated_table_is_refused_by_name(run: RunFolder, name: str, percent: int) -> None:
    path = run.path / f"{name}.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * percent // 100])
    refusal(lambda: read(run, name), f"{name}.parquet", "damaged")


@pytest.mark.parametrize("name", TRIAL_FIELDS.names)
def test_a_column_of_another_type_is_refused_by_name(run: RunFolder, name: str) -> None:
    table = run.path / "trials.parquet"
    stored = pq.read_table(table)
    pq.write_table(stored.set_column(stored.column_names.index(name), name, pa.array([b"x"])), table)
    refusal(run.read_trials, "trials.parquet", name)


NAMES = ["trial_id", "number", "status"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, change) for name in NAMES for change in ("missing", "empty", "there twice")),
        ("macro_auc", "missing"),
        ("macro_auc", "there twice"),
    ],
)
def test_trials_without_a_name_or_a_state_are_refused(run: RunFolder, name: str, change: str) -> None:
    path = run.path / "trials.parquet"
    table = pq.read_table(path)
    place = table.column_names.index(name)
    changed = {
        "missing": lambda: table.remove_column(place),
        "empty": lambda: table.set_column(place, name, pa.nulls(1)),
        "there twice": lambda: table.append_column(name, table[name]),
    }[change]()
    pq.write_table(changed, path)
    refusal(run.read_trials, "trials.parquet", name)


IDS = [
    "../../etc",
    "/etc",
    "trial_0001",
    "trial_0000/..",
    "",
    ".",
    "..",
    "trial_0",
    "trial_0000\0",
    "TRIAL_0000",
    "x" * 300,
]


@pytest.mark.parametrize("name", ["trials", "refits"])
@pytest.mark.parametrize("trial", IDS, ids=lambda name: ascii(name[:14]))
def test_a_trial_cannot_name_another_folder(run: RunFolder, name: str, trial: str) -> None:
    schema, row = TABLES[name]
    pq.write_table(pa.Table.from_pylist([row | {"trial_id": trial}], schema), run.path / f"{name}.parquet")
    refusal(lambda: read(run, name), f"{name}.parquet", "number 0")


@drawn
@given(
    name=st.sampled_from(list(TABLES)), place=st.floats(0, 1, exclude_max=True), data=st.binary(min_size=1, max_size=6)
)
def test_a_table_with_other_bytes_is_refused_or_read(run: RunFolder, name: str, place: float, data: bytes) -> None:
    schema, row = TABLES[name]
    pq.write_table(pa.Table.from_pylist([row], schema), run.path / f"{name}.parquet")
    path = run.path / f"{name}.parquet"
    content = bytearray(path.read_bytes())
    start = int(len(content) * place)
    content[start : start + len(data)] = data
    path.write_bytes(bytes(content))
    if not refused(lambda: read(run, name), f"{name}.parquet") and name == "trials":
        best_trials(read(run, name), 1)


# --- what the tables do not hold yet

ENTRY = {"name": "trial_0000", "updates": {"epochs": 1}, "curve": {"epoch": 1}}
LINES = {
    "nothing": "",
    "null": "null",
    "a number": "3",
    "a list": "[]",
    "an empty mapping": "{}",
    "half a line": '{"name": "tr',
    "deep lists": "[" * 100_000,
    "no updates": '{"name": "trial_0000", "curve": null}',
    "one field more": json.dumps(ENTRY | {"x": 1}),
    "a number for a name": json.dumps(ENTRY | {"name": 3}),
    "a list for a name": json.dumps(ENTRY | {"name": []}),
    "a list of updates": json.dumps(ENTRY | {"updates": []}),
    "a list for a curve": json.dumps(ENTRY | {"curve": []}),
    "a curve without an epoch": json.dumps(ENTRY | {"curve": {}}),
    "a curve of text": json.dumps(ENTRY | {"curve": {"epoch": "1"}}),
    "NULs": "\0" * 50,
    "digits": "9" * 5_000,
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


@pytest.mark.parametrize("n_bytes", range(0, 120, 7))
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


# --- members.json

MEMBER: dict[str, Any] = {"trial_id": "trial_0000", "weight": 1.0}
GOOD: dict[str, Any] = {"method": "mean", "members": [MEMBER]}
MEMBERS: dict[str, Any] = {
    "null": None,
    "a number": 3,
    "a list": [],
    "no members": {"method": "mean"},
    "an empty list": GOOD | {"members": []},
    "members of text": GOOD | {"members": "trial_0000"},
    "a number for a member": GOOD | {"members": [3]},
    "a nameless member": GOOD | {"members": [{"weight": 1}]},
    "a mapping of members": GOOD | {"members": {"a": MEMBER}},
    "no method": {"members": [MEMBER]},
    "an unknown method": GOOD | {"method": "best"},
    "a method of null": GOOD | {"method": None},
    "a list of methods": GOOD | {"method": ["mean"]},
    "an exponent of 0": GOOD | {"mean_exponent": 0},
    "an exponent of text": GOOD | {"mean_exponent": "1"},
    "an exponent of nan": GOOD | {"mean_exponent": math.nan},
    "an exponent without end": GOOD | {"mean_exponent": 10**400},
    "a member twice": GOOD | {"members": [MEMBER, MEMBER]},
    **{
        f"the name {name!r:.20}": GOOD | {"members": [MEMBER | {"trial_id": name}]}
        for name in ("../../x", "/etc", "", ".", "..", "trial_0000/..", "a\0b", "x" * 300, 3, None, [], "refit_0")
    },
    **{
        f"the weight {weight!r:.20}": GOOD | {"members": [MEMBER | {"weight": weight}]}
        for weight in (-1, math.nan, math.inf, "1", None, [], 0, 10**400)
    },
    "weights that add up to too much": GOOD
    | {"members": [MEMBER | {"weight": 1e308}, MEMBER | {"trial_id": "trial_0001", "weight": 1e308}]},
    "other weights": GOOD | {"members": [MEMBER | {"weights_sha256": 3}]},
}


@pytest.mark.parametrize("tree", MEMBERS.values(), ids=MEMBERS)
def test_a_hostile_table_of_members_is_refused(run: RunFolder, tree: Any) -> None:
    run.ensemble.mkdir()
    (run.ensemble / "members.json").write_text(json.dumps(tree))
    refusal(lambda: members_of(run.path), str(run.path))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"{'method': 'mean'}", bytes(20)], ids=range(6)
)
def test_members_that_are_no_json_are_refused(run: RunFolder, content: bytes) -> None:
    run.ensemble.mkdir()
    (run.ensemble / "members.json").write_bytes(content)
    refusal(lambda: members_of(run.path), "members.json")


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["trial_0000"])
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
)


@drawn
@given(
    method=leaves | st.just("mean"),
    members=trees | st.lists(st.fixed_dictionaries({"trial_id": leaves}, optional={"weight": leaves}), max_size=2),
    exponent=leaves,
)
def test_any_table_of_members_stays_in_its_run_or_is_refused(
    run: RunFolder, method: Any, members: Any, exponent: Any
) -> None:
    run.ensemble.mkdir(exist_ok=True)
    tree = {"method": method, "members": members, "mean_exponent": exponent}
    (run.ensemble / "members.json").write_text(json.dumps(tree))
    if not refused(lambda: members_of(run.path), "members.json"):
        assert {folder.parent for folder in members_of(run.path).folders} == {run.path / "trials"}


# --- search.yaml

RECORD: dict[str, Any] = {"space_name": "tiny", "data": {"folder": "data", "fingerprint": "0"}}
RECORDS: dict[str, Any] = {
    "nothing": None,
    "a list": [1],
    "text": "space",
    "an empty mapping": {},
    "no data": {"space_name": "tiny"},
    "data that is text": RECORD | {"data": "data"},
    "data that is a list": RECORD | {"data": ["data"]},
    "a number for a folder": RECORD | {"data": {"folder": 3, "fingerprint": "0"}},
    "no fingerprint": RECORD | {"data": {"folder": "data"}},
    "a list for a name": RECORD | {"space_name": []},
}


@pytest.mark.parametrize("tree", RECORDS.values(), ids=RECORDS)
def test_a_hostile_record_of_a_search_is_refused(run: RunFolder, tree: Any) -> None:
    run.search_file.write_text(yaml.safe_dump(tree))
    refusal(run.read_search, "search.yaml")


SECTIONS = [
    {},
    {"search": 3},
    {"search": {}},
    {"search": {}, "base": "base.yaml"},
    {"search": {}, "base": {}},
    {"search": {}, "base": {"stages": 3}},
    {"search": {"stages": 3}, "base": {"stages": {}}},
    {"search": {"stages": [3]}, "base": {"stages": {"3": 1}}},
    {"search": [], "base": {"stages": []}},
]


@pytest.mark.parametrize("sections", SECTIONS, ids=repr)
def test_a_warm_start_from_a_hostile_record_is_refused(run: RunFolder, tiny_space: Path, sections: Any) -> None:
    run.search_file.write_text(yaml.safe_dump(RECORD | sections))
    refusal(lambda: check_comparable(load_space(tiny_space), run, "0"), "--warm-start")


@pytest.mark.parametrize(
    "name", ["../..", "/", "", "~nobody-has-this-name", "a" * 300, "a\0b", "../../../etc"], ids=ascii
)
def test_a_run_that_is_none_is_not_found(run: RunFolder, name: str) -> None:
    refusal(lambda: find_run(run.path, name))


# --- the manifest of a storage

MANIFESTS: dict[str, bytes] = {
    "nothing": b"",
    "null": b"null",
    "a number": b"3",
    "a list": b'["a"]',
    "half": b'{"a',
    "deep": b"[" * 100_000,
    "another encoding": b"\xff\xfe",
    "a number for a file": b'{"a": 3}',
    "a list for a file": b'{"a": ["b"]}',
    **{
        f"the file {name}": json.dumps({name: "0-1.txt"}).encode()
        for name in ("../x", "../../x", "/tmp/x", "a/b", "", ".", "..")
    },
    **{f"the source {name}": json.dumps({"x": name}).encode() for name in ("../x", "/etc/passwd", "a/b", "", "..")},
}


@pytest.mark.parametrize("content", MANIFESTS.values(), ids=MANIFESTS)
def test_a_hostile_manifest_writes_nothing_outside_the_folder(tmp_path: Path, content: bytes) -> None:
    storage, folder = tmp_path / "storage", tmp_path / "trials" / "trial_0000"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    files = TrialFiles(folder, storage.as_uri())
    files.push()
    (storage / MANIFEST).write_bytes(content)
    before = sorted(tmp_path.rglob("*"))

    refusal(TrialFiles(folder, storage.as_uri()).pull, "trial_0000")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_stored_file_of_another_content_is_refused(tmp_path: Path) -> None:
    storage, folder = tmp_path / "storage", tmp_path / "trial_0000"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(bytes(100))
    TrialFiles(folder, storage.as_uri()).push()
    next(storage.glob("*.bin")).write_bytes(bytes(99))
    shutil.rmtree(folder)
    folder.mkdir()
    with in_time():
        refusal(TrialFiles(folder, storage.as_uri()).pull, "weights.bin", "damaged")
    assert list(folder.iterdir()) == []
