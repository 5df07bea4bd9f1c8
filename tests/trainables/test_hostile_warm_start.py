"""A search that starts from the trials of a hostile run: refused, or only what fits is told."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from sed_model.run_folder.folder import RunFolder
from tests.hostile import refusal
from tests.trainables.run_tables import CURVE, RECORD, TRIAL
from trainables.searching.warm_start import check_comparable, earlier_trials
from trainables.spaces.load import load_space
from trainables.spaces.search_space import SearchSpace
from trainables.spaces.settings import parse_search

RECORDS: dict[str, Any] = {
    "a list": [1],
    "data that is text": RECORD | {"data": "data"},
    "a number for a folder": RECORD | {"data": {"folder": 3, "fingerprint": "0"}},
    "no fingerprint": RECORD | {"data": {"folder": "data"}},
    "a list for a name": RECORD | {"space_name": []},
    "a number for a teacher": RECORD | {"teacher": 5},
}


@pytest.mark.parametrize("tree", RECORDS.values(), ids=RECORDS)
def test_a_hostile_record_of_a_search_is_refused(bare_run: RunFolder, tree: Any) -> None:
    bare_run.search_file.write_text(yaml.safe_dump(tree))
    refusal(bare_run.read_search, "search.yaml")


SECTIONS = [
    {}, {"search": 3}, {"search": {}, "base": "base.yaml"}, {"search": {}, "base": {"stages": 3}},
    {"search": {"stages": 3}, "base": {"stages": {}}}, {"search": {"stages": [3]}, "base": {"stages": {"3": 1}}},
]  # fmt: skip


@pytest.mark.parametrize("sections", SECTIONS, ids=repr)
def test_a_warm_start_from_a_hostile_record_is_refused(bare_run: RunFolder, tiny_space: Path, sections: Any) -> None:
    bare_run.search_file.write_text(yaml.safe_dump(RECORD | sections))
    refusal(lambda: check_comparable(load_space(tiny_space), bare_run, "0"), "--warm-start")


def earlier(space: SearchSpace, bare_run: RunFolder, record: Any = None, **search: Any) -> list[Any]:
    """Trials of the run for a search in `space` with some settings of its own."""
    settings, problems = parse_search(space.search.as_dict() | search)
    assert problems == []
    changed = replace(space, search=settings)
    bare_run.search_file.write_text(yaml.safe_dump(RECORD | changed.as_dict() | (record or {})))
    return earlier_trials(changed, bare_run.path, "0")


def write_trials(bare_run: RunFolder, space: SearchSpace, trial: dict[str, Any], curves: list[dict[str, Any]]) -> None:
    flat = {f"config.{name}": value for name, value in space.base.flat().items()}
    bare_run.write_tables([TRIAL | flat | trial], curves)


OUTSIDE: list[dict[str, Any]] = [
    *({"config.stages.pretrain_ce.lr": value} for value in (math.nan, math.inf, -1.0, 0.0, None, "x", True, 10)),
    *({"config.model.pool_type": value} for value in (None, "median", 3, True, "x" * 100_000)),
    *({"config.model.pool_type": "gem", "config.model.gem_p": value} for value in (None, "3", 1e300)),
    *({"macro_auc": value} for value in (None, math.nan)),
    *({"status": value} for value in ("failed", "running")),
]


@pytest.mark.parametrize("trial", OUTSIDE, ids=lambda trial: str(trial)[:50])
def test_a_trial_outside_the_space_is_not_told(bare_run: RunFolder, space: SearchSpace, trial: dict[str, Any]) -> None:
    write_trials(bare_run, space, trial, [CURVE])
    assert earlier(space, bare_run) == []


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
    bare_run: RunFolder, space: SearchSpace, status: str, curves: list[dict[str, Any]]
) -> None:
    write_trials(bare_run, space, {"status": status}, curves)
    assert len(earlier(space, bare_run)) == 1
    assert earlier(space, bare_run, metric="val_loss", mode="min") == []


def test_a_run_that_measured_no_cost_tells_none(bare_run: RunFolder, space: SearchSpace) -> None:
    write_trials(bare_run, space, {}, [CURVE])
    table = pq.read_table(bare_run.path / "trials.parquet").drop_columns(["cpu_ms_per_window"])
    pq.write_table(table, bare_run.path / "trials.parquet")
    assert earlier(space, bare_run, cost="cpu_ms_per_window") == []


@pytest.mark.parametrize(
    "record", [{"base": 3}, {"search": []}, {"search": {"stages": [[1]]}}, {"search": {"metric": ["a"]}},
               {"data": {"folder": "\x1b[31m", "fingerprint": "1"}}], ids=str,
)  # fmt: skip
def test_a_record_that_does_not_compare_is_refused(
    bare_run: RunFolder, space: SearchSpace, record: dict[str, Any]
) -> None:
    write_trials(bare_run, space, {}, [CURVE])
    refusal(lambda: earlier(space, bare_run, record), "--warm-start")
