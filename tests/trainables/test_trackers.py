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
from sed_model.run_folder.delivered import Delivered, Finalist, Lead, Member
from sed_model.run_folder.folder import RunFolder
from trainables.searching import trackers
from trainables.searching.trackers import check_tracker, delivered_numbers, open_tracker, track_delivered

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


@pytest.fixture
def delivered() -> Delivered:
    """The default, and one that is better."""
    members = tuple(Member(folder=f"trials/trial_0000/part_{part}", weights_sha256="0" * 64) for part in range(2))
    facts: dict[str, Any] = {"se": 0.02, "is_delivered": True, "members": members}
    lead = Lead(mean=0.05, se=0.01, p_better=0.9, shrunken=0.02)
    finalists = (
        Finalist(trial_id="trial_0003", macro_auc=0.85, is_default=False, lead=lead, **facts),
        Finalist(trial_id="trial_0000", macro_auc=0.8, is_default=True, lead=None, **facts),
    )
    return Delivered(n_parts=2, n_files=8, finalists=finalists, macro_auc=0.875, se=0.01, lead=lead)


PARTS = [
    {"trial_id": "trial_0003", "fold": 1, "in_parts": True, "macro_auc": 0.75, "error": None},
    {"trial_id": "trial_0003", "fold": 0, "in_parts": True, "macro_auc": None, "error": "broke"},
    {"trial_id": "trial_0003", "fold": 0, "in_parts": False, "macro_auc": 0.5, "error": None},
]
"""Of refits.parquet: one that counts."""


def test_what_is_delivered_is_a_run_for_each_finalist_and_one_for_the_mean(delivered: Delivered) -> None:
    numbers = delivered_numbers(delivered, PARTS)
    assert list(numbers) == ["trial_0003 finalist", "trial_0000 finalist", "delivered mean"]
    lead = {"lead": 0.05, "p_better": 0.9}
    own = {"macro_auc": 0.85, "macro_auc_se": 0.02, "n_models": 2, "is_delivered": 1, "part_1": 0.75}
    assert numbers["trial_0003 finalist"] == own | lead
    assert numbers["delivered mean"] == {"macro_auc": 0.875, "macro_auc_se": 0.01, "n_models": 4} | lead


@needs("mlflow")
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # of MLflow's own tables
def test_finalists_and_the_mean_are_in_the_mlflow_database(delivered: Delivered, tmp_path: Path) -> None:
    track_delivered("mlflow", tmp_path / "tracked", delivered)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        query = "select name, status, value from runs join metrics using (run_uuid) where key = 'macro_auc'"
        assert sorted(database.execute(query)) == [
            ("delivered mean", "FINISHED", 0.875),
            ("trial_0000 finalist", "FINISHED", 0.8),
            ("trial_0003 finalist", "FINISHED", 0.85),
        ]


@needs("wandb")
def test_finalists_and_the_mean_are_offline_runs_of_wandb(
    delivered: Delivered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    track_delivered("wandb", tmp_path, delivered)
    files = list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 3
    written = b"".join(file.read_bytes() for file in files)
    assert all(name in written for name in (b"trial_0003 finalist", b"delivered mean", b"0.875"))


@needs("mlflow")
def test_a_tracker_that_fails_at_the_end_is_told_and_ends_nothing(
    delivered: Delivered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    track_delivered(f"mlflow:file:{tmp_path / 'mlruns'}", tmp_path / "run", delivered)
    assert "what is delivered could not be reported: " in capsys.readouterr().out


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
