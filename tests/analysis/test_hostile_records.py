"""Hostile search.yaml and members.json: refused by name; what they say is worked out in time."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from analysis.costs import cpus_per_trial
from analysis.parameters import parameter_values, varied_parameters
from analysis.predictions import read_members
from analysis.ranks import rank_trials
from analysis.students import related_run
from analysis.tables import Run, RunFolderError, read_run
from tests.analysis.conftest import SEARCH
from tests.analysis.hostile_run import N_TRIALS, TRIALS, put_column, refuses
from tests.hostile import NO_JSON, drawn, in_time, refused, trees

# --- search.yaml

NO_YAML = {
    "a circle of mappings": "space: {model.gem_p: {when: &a {model.pool_type: *a}}}",
    "nothing": "",
    "a list": "- 1",
}
RECORDS: dict[str, Any] = {
    "data that is text": {"data": "folder"},
    "a folder that is a number": {"data": {"folder": 3}},
    "a space that is a list": {"space": ["model.gem_p"]},
    "a space that is text": {"space": "model.gem_p"},
    "a condition that is a list": {"space": {"model.gem_p": {"when": ["model.pool_type"]}}},
    "a condition that is text": {"space": {"model.gem_p": {"when": "gem"}}},
    "a command that is a list": {"command": ["python"]},
    "a command without end": {"command": "x " * 50_000},
    "a start that is a list": {"created": [2026]},
    "a teacher that is a number": {"teacher": 3},
}


@pytest.mark.parametrize("text", NO_YAML.values(), ids=NO_YAML)
def test_a_hostile_search_file_is_refused_by_name(own_run: Path, text: str) -> None:
    (own_run / "search.yaml").write_text(text)
    refuses(lambda: read_run(own_run), "search.yaml")


@pytest.mark.parametrize("content", [b"a: \xe9", b"a: \0"], ids=["Latin-1", "NUL"])
def test_a_search_file_in_another_encoding_is_refused_by_name(own_run: Path, content: bytes) -> None:
    (own_run / "search.yaml").write_bytes(content)
    refuses(lambda: read_run(own_run), "search.yaml")


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_record_of_another_kind_is_refused_by_name(own_run: Path, record: Any) -> None:
    search = yaml.safe_load((own_run / "search.yaml").read_text()) | record
    (own_run / "search.yaml").write_text(yaml.safe_dump(search))
    refuses(lambda: read_run(own_run), "search.yaml", next(iter(record)))


@drawn
@given(name=st.sampled_from(["space", "data", "command", "created", "teacher", "seed", "versions"]), value=trees)
def test_any_record_is_refused_or_ranked(own_run: Path, name: str, value: Any) -> None:
    search = SEARCH | {name: value}
    (own_run / "search.yaml").write_text(yaml.safe_dump(search))
    if not refused(lambda: read_run(own_run), "search.yaml", kind=RunFolderError):
        read = read_run(own_run)
        rank_trials(read)
        cpus_per_trial(read)
        related_run(read)


def with_search(run: Path, **search: Any) -> Run:
    read = read_run(run)
    return replace(read, search=read.search | search)


def test_conditions_of_all_on_all_are_worked_out_in_time(own_run: Path) -> None:
    for n in range(16):
        put_column(own_run / TRIALS, f"config.k{n}", list(range(N_TRIALS)))
    keys = [f"k{n}" for n in range(16)]
    space = {key: {"when": {other: list(range(3)) for other in keys if other != key}} for key in keys}
    with in_time():
        read = with_search(own_run, space=space)
        values = parameter_values(read, varied_parameters(read))
    assert values["k0"].notna().tolist() == [True] * 3 + [False] * 4


def test_conditions_that_go_in_a_circle_end(own_run: Path) -> None:
    space = {"model.gem_p": {"when": {"model.pool_type": "gem"}}, "model.pool_type": {"when": {"model.gem_p": [2, 4]}}}
    read = with_search(own_run, space=space)
    assert parameter_values(read, varied_parameters(read))["gem_p"].dropna().tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    "words", ["--cpus-per-trial " + "9" * 5_000, "--cpus-per-trial " + "9" * 7, "--cpus-per-trial \u00b2",
              "--cpus-per-trial=-3", "--cpus-per-trial", "'--cpus-per-trial 4", "--cpus-per-trial 0"],
)  # fmt: skip
def test_a_number_of_cpus_that_is_none_counts_as_one(own_run: Path, words: str) -> None:
    assert cpus_per_trial(with_search(own_run, command=words)) == 1


@pytest.mark.parametrize("teacher", ["a\0b", "a" * 300, "", "..", "/etc", "/dev/zero"], ids=ascii)
def test_a_teacher_that_is_no_run_is_none(own_run: Path, teacher: str) -> None:
    with in_time():
        assert related_run(with_search(own_run, teacher=teacher)) is None


# --- members.json

MEMBERS: dict[str, Any] = {
    "null": None,
    "members of text": {"members": "trial_0000"},
    "a number for a member": {"members": [3]},
    "a nameless member": {"members": [{"weight": 1}]},
    "a list for a name": {"members": [{"trial_id": ["a"]}]},
    "a path for a name": {"members": [{"trial_id": "../../x"}]},
    "text for a weight": {"members": [{"trial_id": "trial_0000", "weight": "1"}]},
    "an infinite weight": {"members": [{"trial_id": "trial_0000", "weight": math.inf}]},
    "a mapping for a score": {"members": [{"trial_id": "trial_0000", "macro_auc": {}}]},
}


@pytest.mark.parametrize("tree", MEMBERS.values(), ids=MEMBERS)
def test_a_hostile_table_of_members_is_refused(own_run: Path, tree: Any) -> None:
    (own_run / "ensemble/members.json").write_text(json.dumps(tree))
    refuses(lambda: read_members(own_run), "members.json")


@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
def test_members_that_are_no_json_are_refused(own_run: Path, content: bytes) -> None:
    (own_run / "ensemble/members.json").write_bytes(content)
    refuses(lambda: read_members(own_run), "members.json")


def test_members_have_the_columns_that_are_there(own_run: Path) -> None:
    assert read_members(own_run).empty
    rows = [{"trial_id": "trial_0003", "weight": 0.75, "score_after": None, "x": 1}]
    (own_run / "ensemble/members.json").write_text(json.dumps({"members": rows}))
    assert read_members(own_run).to_dict("records") == [{"trial_id": "trial_0003", "weight": 0.75, "score_after": None}]
