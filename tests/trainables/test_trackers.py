"""A search reports its trials to a tracker, too: a real MLflow database, and W&B's files without a network."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sed_model.core.errors import ConfigError
from sed_model.run_folder.folder import RunFolder
from trainables.searching import trackers
from trainables.searching.trackers import check_tracker, open_tracker

SMALL = (
    "--num-trials",
    "2",
    "--max-concurrent",
    "1",
    "--no-pseudo-labels",
    "--finalists",
    "0",
    "--stages",
    "pretrain_ce",
)


@pytest.fixture(autouse=True)
def own_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow notes the last place that it was told in the environment; it is gone after each test."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")


def needs(name: str) -> pytest.MarkDecorator:
    there = importlib.util.find_spec(name) is not None
    return pytest.mark.skipif(not there, reason=f"the extra `{name}` is not installed")


@pytest.mark.parametrize(
    ("track", "message"),
    [
        ("mlfow", r"--track mlfow: unknown; use mlflow, mlflow:URI, wandb or none.*mlflow"),
        ("wandb:project", "--track wandb:project: write mlflow:URI"),
        ("mlflow:", "--track mlflow:: write mlflow:URI"),
        ("none:x", "--track none:x: unknown"),
    ],
)
def test_what_is_no_tracker_is_refused(track: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_tracker(track)


@pytest.mark.parametrize("name", trackers.TRACKERS)
def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"the package {name} is not installed; pip install 'sed-search\[{name}\]'"):
        check_tracker(name)


def test_no_tracker_is_no_callback(tmp_path: Path) -> None:
    assert open_tracker(None, tmp_path) == open_tracker("none", tmp_path) == []


@needs("mlflow")
def test_a_place_that_mlflow_refuses_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--track mlflow:file:.*: .*maintenance mode"):
        open_tracker(f"mlflow:file:{tmp_path / 'mlruns'}", tmp_path / "run")


@pytest.mark.slow
@needs("mlflow")
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # of MLflow's own tables
def test_trials_are_runs_of_an_mlflow_experiment_and_resume_goes_on_there(
    run_search: Callable[..., str], tiny_root: Path, tiny_space: Path, tmp_path: Path
) -> None:
    place = ("--out", tmp_path / "runs", "--name", "tracked")
    run_search("--space", tiny_space, "--data", tiny_root, *place, *SMALL, "--track", "mlflow")
    run_search("--resume", *place, "--num-trials", "3", "--max-concurrent", "1", "--no-pseudo-labels")
    run = RunFolder(tmp_path / "runs" / "tracked")
    assert run.read_search()["track"] == "mlflow"
    with closing(sqlite3.connect(tmp_path / "runs" / "mlflow.db")) as database:

        def asked(query: str) -> list[Any]:
            return database.execute(query).fetchall()

        assert ("tracked",) in asked("select name from experiments")
        assert asked("select status from runs") == [("FINISHED",)] * 3
        scores = asked("select max(value) from metrics where key = 'macro_auc' group by run_uuid")
        assert asked("select count(distinct run_uuid) from params where key like '%pretrain_ce.lr'") == [(3,)]
    known = [row["macro_auc"] for row in run.read_trials()]
    assert sorted(score for (score,) in scores) == pytest.approx(sorted(known))


@pytest.mark.slow
@needs("wandb")
def test_trials_are_files_of_wandb_without_a_network(
    run_search: Callable[..., str], tiny_root: Path, tiny_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    place = ("--out", tmp_path / "runs", "--name", "tracked")
    run_search("--space", tiny_space, "--data", tiny_root, *place, *SMALL, "--track", "wandb")
    assert len(list((tmp_path / "runs" / "tracked" / "wandb").glob("offline-run-*"))) == 2
