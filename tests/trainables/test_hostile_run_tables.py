"""Hostile tables of a run and of its members: refused by file and column, and no trial names another folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import best_trials
from sed_model.run_folder.run_tables import TRIAL_FIELDS
from tests.hostile import (
    NO_FILES,
    NO_TABLES,
    columns,
    drawn,
    overwritten,
    places,
    put_in_place,
    refusal,
    refused,
    scalars,
    trees,
    truncated,
    with_column,
)
from tests.trainables.run_tables import TABLES
from trainables.labelling.run_members import members_of


def read(bare_run: RunFolder, name: str) -> list[dict[str, Any]]:
    return {"trials": bare_run.read_trials, "curves": bare_run.read_curves, "refits": bare_run.read_refits}[name]()


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_themselves_are_good(bare_run: RunFolder, name: str) -> None:
    assert len(read(bare_run, name)) == 1


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("content", NO_TABLES.values(), ids=NO_TABLES)
def test_bytes_that_are_no_table_are_refused_by_name(bare_run: RunFolder, name: str, content: bytes) -> None:
    (bare_run.path / f"{name}.parquet").write_bytes(content)
    refusal(lambda: read(bare_run, name), f"{name}.parquet", "damaged")


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("percent", [1, 50, 99])
def test_a_truncated_table_is_refused_by_name(bare_run: RunFolder, name: str, percent: int) -> None:
    truncated(bare_run.path / f"{name}.parquet", percent)
    refusal(lambda: read(bare_run, name), f"{name}.parquet", "damaged")


@pytest.mark.parametrize("name", TRIAL_FIELDS.names)
def test_a_column_of_another_type_is_refused_by_name(bare_run: RunFolder, name: str) -> None:
    table = bare_run.path / "trials.parquet"
    stored = pq.read_table(table)
    pq.write_table(stored.set_column(stored.column_names.index(name), name, pa.array([b"x"])), table)
    refusal(bare_run.read_trials, "trials.parquet", name)


NAMES = ["trial_id", "number", "status"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, change) for name in NAMES for change in ("missing", "empty", "there twice")),
        ("macro_auc", "missing"),
        ("macro_auc", "there twice"),
    ],
)
def test_trials_without_a_name_or_a_state_are_refused(bare_run: RunFolder, name: str, change: str) -> None:
    path = bare_run.path / "trials.parquet"
    table = pq.read_table(path)
    place = table.column_names.index(name)
    changed = {
        "missing": lambda: table.remove_column(place),
        "empty": lambda: table.set_column(place, name, pa.nulls(1)),
        "there twice": lambda: table.append_column(name, table[name]),
    }[change]()
    pq.write_table(changed, path)
    refusal(bare_run.read_trials, "trials.parquet", name)


IDS = ["../../etc", "trial_0001", "trial_0000/..", "", "trial_0", "trial_0000\0", "TRIAL_0000"]


@pytest.mark.parametrize("name", ["trials", "refits"])
@pytest.mark.parametrize("trial", IDS, ids=lambda name: ascii(name[:14]))
def test_a_trial_cannot_name_another_folder(bare_run: RunFolder, name: str, trial: str) -> None:
    schema, row = TABLES[name]
    pq.write_table(pa.Table.from_pylist([row | {"trial_id": trial}], schema), bare_run.path / f"{name}.parquet")
    refusal(lambda: read(bare_run, name), f"{name}.parquet", "number 0")


@drawn
@given(name=st.sampled_from(list(TABLES)), place=places, data=st.binary(min_size=1, max_size=6))
def test_a_table_with_other_bytes_is_refused_or_read(bare_run: RunFolder, name: str, place: float, data: bytes) -> None:
    schema, row = TABLES[name]
    pq.write_table(pa.Table.from_pylist([row], schema), bare_run.path / f"{name}.parquet")
    overwritten(bare_run.path / f"{name}.parquet", place, data)
    if not refused(lambda: read(bare_run, name), f"{name}.parquet") and name == "trials":
        best_trials(read(bare_run, name), 1)


PLACES = [(name, column) for name, (schema, _) in TABLES.items() for column in (*schema.names, "config.model.gem_p")]


@drawn
@given(place=st.sampled_from(PLACES), column=columns(1))
def test_a_column_of_any_kind_is_refused_or_read(bare_run: RunFolder, place: tuple[str, str], column: pa.Array) -> None:
    name = place[0]
    schema, row = TABLES[name]
    path = bare_run.path / f"{name}.parquet"
    pq.write_table(with_column(pa.Table.from_pylist([row], schema), place[1], column), path)
    if not refused(lambda: read(bare_run, name), path.name) and name == "trials":
        best_trials(read(bare_run, name), 1)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("put", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_no_table_of_a_run(bare_run: RunFolder, name: str, put: Callable[[Path], None]) -> None:
    put_in_place(bare_run.path / f"{name}.parquet", put)
    refusal(lambda: read(bare_run, name), f"{name}.parquet", "it is no file")


VALUES = [
    *(("trials", "macro_auc", value) for value in (-0.1, 1.5, math.inf, -math.inf)),
    *(("trials", "status", value) for value in ("done", "", "Complete", "<script>")),
    *(("curves", "macro_auc", value) for value in (-0.1, 1.5, math.inf)),
    ("curves", "epoch", -1),
    ("refits", "macro_auc", 1.5),
]


@pytest.mark.parametrize(("name", "column", "value"), VALUES)
def test_a_value_that_no_search_writes_is_refused(bare_run: RunFolder, name: str, column: str, value: Any) -> None:
    schema, row = TABLES[name]
    pq.write_table(pa.Table.from_pylist([row | {column: value}], schema), bare_run.path / f"{name}.parquet")
    refusal(lambda: read(bare_run, name), f"{name}.parquet", column, "trial_0000")


# --- members.json

MEMBER: dict[str, Any] = {"trial_id": "trial_0000", "weight": 1.0}
GOOD: dict[str, Any] = {"method": "mean", "members": [MEMBER]}
MEMBERS: dict[str, tuple[Any, str]] = {
    "null": (None, "TypeError"),
    "no members": ({"method": "mean"}, "KeyError: 'members'"),
    "an empty list": (GOOD | {"members": []}, "no members"),
    "an unknown method": (GOOD | {"method": "best"}, "'best' is none of mean"),
    "an exponent of 0": (GOOD | {"mean_exponent": 0}, "no number above 0"),
    "an exponent of text": (GOOD | {"mean_exponent": "1"}, "finite numbers"),
    "an exponent without end": (GOOD | {"mean_exponent": 10**400}, "OverflowError"),
    "a member twice": (GOOD | {"members": [MEMBER, MEMBER]}, "is there twice"),
    **{
        f"the name {name!r:.20}": (GOOD | {"members": [MEMBER | {"trial_id": name}]}, "is no name of a trial")
        for name in ("../../x", "", "trial_0000/..", "a\0b", 3, "refit_0")
    },
    **{
        f"the weight {weight!r:.20}": (GOOD | {"members": [MEMBER | {"weight": weight}]}, "finite numbers")
        for weight in (-1, math.nan, math.inf, "1", 0)
    },
    "weights that add up to too much": (
        GOOD | {"members": [MEMBER | {"weight": 1e308}, {"trial_id": "trial_0001", "weight": 1e308}]}, "finite numbers"
    ),
    "other weights": (GOOD | {"members": [MEMBER | {"weights_sha256": 3}]}, "no trained model"),
}  # fmt: skip


@pytest.mark.parametrize(("tree", "word"), MEMBERS.values(), ids=MEMBERS)
def test_a_hostile_table_of_members_is_refused(bare_run: RunFolder, tree: Any, word: str) -> None:
    bare_run.ensemble.mkdir()
    (bare_run.ensemble / "members.json").write_text(json.dumps(tree))
    refusal(lambda: members_of(bare_run.path), str(bare_run.path), word)


@pytest.mark.parametrize("put", NO_FILES.values(), ids=NO_FILES)
def test_members_in_no_file_are_refused(bare_run: RunFolder, put: Callable[[Path], None]) -> None:
    bare_run.ensemble.mkdir()
    put(bare_run.ensemble / "members.json")
    refusal(lambda: members_of(bare_run.path), "members.json", "it is no file")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000], ids=range(3))
def test_members_that_are_no_json_are_refused(bare_run: RunFolder, content: bytes) -> None:
    bare_run.ensemble.mkdir()
    (bare_run.ensemble / "members.json").write_bytes(content)
    refusal(lambda: members_of(bare_run.path), "members.json")


names = scalars | st.just("trial_0000")


@drawn
@given(
    method=scalars | st.just("mean"),
    members=trees | st.lists(st.fixed_dictionaries({"trial_id": names}, optional={"weight": scalars}), max_size=2),
    exponent=scalars,
)
def test_any_table_of_members_stays_in_its_run_or_is_refused(
    bare_run: RunFolder, method: Any, members: Any, exponent: Any
) -> None:
    bare_run.ensemble.mkdir(exist_ok=True)
    tree = {"method": method, "members": members, "mean_exponent": exponent}
    (bare_run.ensemble / "members.json").write_text(json.dumps(tree))
    if not refused(lambda: members_of(bare_run.path), "members.json"):
        assert {folder.parent for folder in members_of(bare_run.path).folders} == {bare_run.path / "trials"}
