"""Hostile run folders: tables, journals, records and manifests that are damaged, or name what is not theirs."""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sed_model.errors import DataError
from tests.hostile import (
    NO_FILES,
    NO_TABLES,
    ODD_JSON,
    as_loop,
    deep_folder,
    drawn,
    in_time,
    overwritten,
    places,
    put_in_place,
    refusal,
    refused,
    scalars,
    trees,
    truncated,
)
from trainables import cli, runs_command
from trainables.recent import RecentEntries
from trainables.run_members import members_of
from trainables.runs import CURVE_FIELDS, REFIT_FIELDS, TRIAL_FIELDS, RunFolder, best_trials
from trainables.runs_command import find_run, removable, remove
from trainables.search_settings import parse_search
from trainables.search_space import SearchSpace
from trainables.space import load_space
from trainables.teacher import find_teacher
from trainables.train_run import training_config
from trainables.trial_storage import MANIFEST, TrialFiles
from trainables.warm_start import check_comparable, earlier_trials

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


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("content", NO_TABLES.values(), ids=NO_TABLES)
def test_bytes_that_are_no_table_are_refused_by_name(run: RunFolder, name: str, content: bytes) -> None:
    (run.path / f"{name}.parquet").write_bytes(content)
    refusal(lambda: read(run, name), f"{name}.parquet", "damaged")


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("percent", [1, 10, 50, 90, 99])
def test_a_truncated_table_is_refused_by_name(run: RunFolder, name: str, percent: int) -> None:
    truncated(run.path / f"{name}.parquet", percent)
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
@given(name=st.sampled_from(list(TABLES)), place=places, data=st.binary(min_size=1, max_size=6))
def test_a_table_with_other_bytes_is_refused_or_read(run: RunFolder, name: str, place: float, data: bytes) -> None:
    schema, row = TABLES[name]
    pq.write_table(pa.Table.from_pylist([row], schema), run.path / f"{name}.parquet")
    overwritten(run.path / f"{name}.parquet", place, data)
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


@pytest.mark.parametrize("put", NO_FILES.values(), ids=NO_FILES)
def test_members_in_no_file_are_refused(run: RunFolder, put: Callable[[Path], None]) -> None:
    run.ensemble.mkdir()
    put(run.ensemble / "members.json")
    refusal(lambda: members_of(run.path), "members.json", "it is no file")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"{'method': 'mean'}", bytes(20)], ids=range(6)
)
def test_members_that_are_no_json_are_refused(run: RunFolder, content: bytes) -> None:
    run.ensemble.mkdir()
    (run.ensemble / "members.json").write_bytes(content)
    refusal(lambda: members_of(run.path), "members.json")


names = scalars | st.just("trial_0000")


@drawn
@given(
    method=scalars | st.just("mean"),
    members=trees | st.lists(st.fixed_dictionaries({"trial_id": names}, optional={"weight": scalars}), max_size=2),
    exponent=scalars,
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


# --- what is no run


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("put", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_no_table_of_a_run(run: RunFolder, name: str, put: Callable[[Path], None]) -> None:
    put_in_place(run.path / f"{name}.parquet", put)
    refusal(lambda: read(run, name), f"{name}.parquet", "it is no file")


VALUES = [
    *(("trials", "macro_auc", value) for value in (-0.1, 1.5, math.inf, -math.inf)),
    *(("trials", "status", value) for value in ("done", "", "Complete", "<script>")),
    *(("curves", "macro_auc", value) for value in (-0.1, 1.5, math.inf)),
    ("curves", "epoch", -1),
    ("refits", "macro_auc", 1.5),
]


@pytest.mark.parametrize(("name", "column", "value"), VALUES)
def test_a_value_that_no_search_writes_is_refused(run: RunFolder, name: str, column: str, value: Any) -> None:
    schema, row = TABLES[name]
    pq.write_table(pa.Table.from_pylist([row | {column: value}], schema), run.path / f"{name}.parquet")
    refusal(lambda: read(run, name), f"{name}.parquet", column, "trial_0000")


@pytest.fixture
def runs(run: RunFolder) -> Path:
    """A folder with a good run, `run`, and with much that is none or damaged."""
    out = run.path.parent
    run.search_file.write_text(yaml.safe_dump(RECORD))
    for kind, put in NO_FILES.items():
        (out / kind).mkdir()
        put(out / kind / "search.yaml")
    (out / "file").touch()
    (out / "round").symlink_to(".")
    as_loop(out / "loop")
    for name in ODD_RUNS:
        shutil.copytree(run.path, out / name)
        (out / name / "search.yaml").write_text(yaml.safe_dump(RECORD | ODD_RUNS[name]))
    deep_folder(out / "deep")
    return out


ODD_RUNS: dict[str, Any] = {
    "deep": {},
    "[bold]x": {},
    "\x1b[31mred": {},
    "two\nlines": {},
    "\udcff": {},
    "markup": {"created": "[/x]\x1b[31m", "space_name": "[/x]\x07"},
    "a search that is a list": {"search": [1]},
    "trials in words": {"search": {"num_trials": "ten"}},
    "no trials": {"search": {"num_trials": 0}},
    "half a trial": {"search": {"num_trials": 0.5}},
    "a start that is a list": {"created": [2026]},
}
DAMAGED = ("a search that is a list", "trials in words", "no trials", "half a trial", "a start that is a list")


@pytest.fixture
def outcome(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], object]], tuple[int, str, str]]:
    """Runs a command as its process would: exit status, what it prints, and its message."""
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)

    def run(command: Callable[[], object]) -> tuple[int, str, str]:
        with in_time(), pytest.raises(SystemExit) as leaving:
            cli.run(lambda _: command() and None)
        return leaving.value.code, *capsys.readouterr()

    return run


Outcome = Callable[[Callable[[], object]], tuple[int, str, str]]


def test_runs_are_listed_beside_what_is_none(runs: Path, outcome: Outcome) -> None:
    status, text, _ = outcome(lambda: runs_command.main(["list", "--out", str(runs), "--json"]))
    listed = json.loads(text)["runs"]
    assert status == 0
    assert {item["name"] for item in listed} == {"run", *ODD_RUNS}
    assert {item["name"] for item in listed if item["status"] == "damaged"} == set(DAMAGED)

    table = outcome(lambda: runs_command.main(["list", "--out", str(runs)]))[1]
    assert [c for c in table if not c.isprintable() and c != "\n"] == []
    assert "[bold]x" in table


@pytest.mark.parametrize("name", [name for name in ODD_RUNS if name not in DAMAGED], ids=ascii)
def test_an_odd_run_is_shown_without_what_a_terminal_obeys(runs: Path, outcome: Outcome, name: str) -> None:
    status, text, _ = outcome(lambda: runs_command.main(["show", name, "--out", str(runs)]))
    assert status == 0
    assert [c for c in text if not c.isprintable() and c != "\n"] == []


@pytest.mark.parametrize("name", [*DAMAGED, *NO_FILES, "file", "round", "loop"])
def test_a_run_that_is_none_is_not_shown(runs: Path, name: str) -> None:
    refusal(lambda: runs_command.main(["show", name, "--out", str(runs)]), name)


LINKS = ["tune", "trials", "trials/trial_0000", "ensemble", "ensemble/predictions", "trials/trial_0000/.ray_train",
         "trials/trial_0000/state.pt"]  # fmt: skip


@pytest.mark.parametrize("link", LINKS)
def test_nothing_behind_a_link_is_pruned(run: RunFolder, tmp_path: Path, link: str) -> None:
    others = tmp_path / "others"
    for name in ("state.pt", "trial_0000/state.pt", ".x.tmp", "predictions/part", ".ray_train/x", "error.log"):
        (others / name).parent.mkdir(parents=True, exist_ok=True)
        (others / name).touch()
    before = sorted(others.rglob("*"))
    (run.path / link).parent.mkdir(parents=True, exist_ok=True)
    (run.path / link).symlink_to(others)

    remove(removable(run))

    assert sorted(others.rglob("*")) == before


# --- --warm-start, --teacher and --config


@pytest.fixture(scope="module")
def space(tiny_space: Path) -> SearchSpace:
    return load_space(tiny_space)


def earlier(space: SearchSpace, run: RunFolder, record: Any = None, **search: Any) -> list[Any]:
    """Trials of the run for a search in `space` with some settings of its own."""
    settings, problems = parse_search(space.search.as_dict() | search)
    assert problems == []
    changed = replace(space, search=settings)
    run.search_file.write_text(yaml.safe_dump(RECORD | changed.as_dict() | (record or {})))
    return earlier_trials(changed, run.path, "0")


def write_trials(run: RunFolder, space: SearchSpace, trial: dict[str, Any], curves: list[dict[str, Any]]) -> None:
    flat = {f"config.{name}": value for name, value in space.base.flat().items()}
    run.write_tables([TRIAL | flat | trial], curves)


OUTSIDE: list[dict[str, Any]] = [
    *({"config.stages.pretrain_ce.lr": value} for value in (math.nan, math.inf, -1.0, 0.0, None, "x", True, 10)),
    *({"config.model.pool_type": value} for value in (None, "median", 3, True, "x" * 100_000)),
    *({"config.model.pool_type": "gem", "config.model.gem_p": value} for value in (None, "3", 1e300)),
    *({"macro_auc": value} for value in (None, math.nan)),
    *({"status": value} for value in ("failed", "running")),
]


@pytest.mark.parametrize("trial", OUTSIDE, ids=lambda trial: str(trial)[:50])
def test_a_trial_outside_the_space_is_not_told(run: RunFolder, space: SearchSpace, trial: dict[str, Any]) -> None:
    write_trials(run, space, trial, [CURVE])
    assert earlier(space, run) == []


ODD_CURVES: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "of another trial": [CURVE | {"trial_id": "trial_0009"}],
    "without a score": [CURVE | {"macro_auc": None}],
    "with NaN for a score": [CURVE | {"macro_auc": math.nan}],
    "of epochs without end": [CURVE | {"epoch": 2**62}],
    "with NaN for a loss": [CURVE | {"val_loss": math.nan}],
}


@pytest.mark.parametrize("curves", ODD_CURVES.values(), ids=ODD_CURVES)
@pytest.mark.parametrize("status", ["complete", "pruned"])
def test_odd_curves_are_told_or_left_out(
    run: RunFolder, space: SearchSpace, status: str, curves: list[dict[str, Any]]
) -> None:
    write_trials(run, space, {"status": status}, curves)
    assert len(earlier(space, run)) == 1
    assert earlier(space, run, metric="val_loss", mode="min") == []


def test_a_run_that_measured_no_cost_tells_none(run: RunFolder, space: SearchSpace) -> None:
    write_trials(run, space, {}, [CURVE])
    table = pq.read_table(run.path / "trials.parquet").drop_columns(["cpu_ms_per_window"])
    pq.write_table(table, run.path / "trials.parquet")
    assert earlier(space, run, cost="cpu_ms_per_window") == []


@pytest.mark.parametrize(
    "record", [{"base": 3}, {"search": []}, {"search": {"stages": [[1]]}}, {"search": {"metric": ["a"]}},
               {"data": {"folder": "\x1b[31m", "fingerprint": "1"}}], ids=str,
)  # fmt: skip
def test_a_record_that_does_not_compare_is_refused(run: RunFolder, space: SearchSpace, record: dict[str, Any]) -> None:
    write_trials(run, space, {}, [CURVE])
    refusal(lambda: earlier(space, run, record), "--warm-start")


NO_RUNS = [*NO_FILES, "file", "loop", "nowhere", "a" * 300, "a\0b", "/dev/null", "/"]


@pytest.mark.parametrize("name", NO_RUNS, ids=lambda name: ascii(name)[:20])
def test_what_is_no_run_starts_teaches_and_predicts_nothing(runs: Path, space: SearchSpace, name: str) -> None:
    refusal(lambda: earlier_trials(space, runs / name, "0"), "no run folder")
    refusal(lambda: find_teacher(runs / name), "no run folder")
    refusal(lambda: members_of(runs / name), "no trial with a model")


NO_CONFIGS = {kind: content for kind, content in ODD_JSON.items() if kind not in ("a comment", "YAML")} | {
    "an unknown section": b'{"modle": {}}',
    "text for a section": b'{"model": "x"}',
    "NaN for a number": b'{"model": {"gem_p": NaN}}',
    "infinity for a number": b'{"model": {"gem_p": Infinity}}',
    "a key twice": b'{"seed": 1, "seed": 2}',
    "the password file for weights": b'{"model": {"weights": "/etc/passwd"}}',
    "a pickle": b"\x80\x04K\x03.",
    "a comment": b"// x\n{}",
}  # fmt: skip


def configuration(path: Path | str) -> object:
    return training_config(argparse.Namespace(config=str(path), data=None, overrides=[]))


@pytest.mark.parametrize("content", NO_CONFIGS.values(), ids=NO_CONFIGS)
def test_a_hostile_configuration_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    refusal(lambda: configuration(tmp_path / "config.json"), "config.json")


@pytest.mark.parametrize("name", [*NO_FILES, "nowhere", "a" * 300, "a\0b", "/dev/zero", ""], ids=ascii)
def test_a_configuration_that_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    for kind, put in NO_FILES.items():
        put(tmp_path / kind)
    refusal(lambda: configuration(tmp_path / name), "no such file")


# --- commands


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EROFS])
def test_a_place_that_may_not_be_used_is_named_in_one_message(number: int, outcome: Outcome) -> None:
    def command() -> None:
        raise OSError(number, os.strerror(number), "/some/\x1b[31mplace")

    reason = os.strerror(number)
    message = f"error: /some/\\x1b[31mplace: {reason}; give a place that you may use.\n"
    assert outcome(command) == (2, "", message)


def test_other_errors_of_the_system_keep_their_traceback(outcome: Outcome) -> None:
    def command() -> None:
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        outcome(command)


def test_messages_do_not_colour_the_terminal(outcome: Outcome) -> None:
    def command() -> None:
        raise DataError("\x1b[31mred\x07: line\nsecond \udcff")

    assert outcome(command) == (2, "", "error: \\x1b[31mred\\x07: line\nsecond \\udcff\n")
