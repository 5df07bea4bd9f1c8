"""Searches that are broken off, and gone on with: real interrupts, a real kill, real Ray."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest

from sed_model.files import sha256_of

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
LONG = (
    *("--scheduler", "none", "--max-concurrent", "1", "--set", "optim.early_stopping_epochs=0"),
    *("--set", "stages.pretrain_ce.epochs=3", "--set", "stages.train_bce.epochs=25"),
    *("--set", "optim.min_steps_per_epoch=6"),
)
"""Trials of two stages, the second long enough to be killed in it."""
STAGE_EPOCHS, ALL_EPOCHS = 3, 28


class Search:
    """The search command in a process of its own, to be signalled."""

    def __init__(self, out: Path, cache_dir: Path, *arguments: object) -> None:
        self.out = out
        environment = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONWARNINGS", "RAY_ADDRESS")
        }
        words = [sys.executable, "-m", "trainables.search", "--out", out, "--name", "run", "--no-dashboard", *arguments]
        self.process = subprocess.Popen(
            [str(word) for word in words],
            cwd=ROOT,
            env=environment | {"SED_CACHE_DIR": str(cache_dir), "PYTHONDONTWRITEBYTECODE": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_epoch(self, trial_id: str, epoch: int) -> None:
        """Until the epoch is in the tables."""
        end_s = time.monotonic() + 120
        while time.monotonic() < end_s and self.process.poll() is None:
            path = self.out / "run" / "curves.parquet"
            if path.exists() and (trial_id, epoch) in reported(path):
                return
            time.sleep(0.05)
        pytest.fail(f"{trial_id} did not report epoch {epoch}: {self.process.communicate(timeout=60)}")

    def signal(self, number: int) -> tuple[int, str]:
        """Status and standard error after a signal."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


def reported(curves: Path) -> set[tuple[str, int]]:
    table = pq.read_table(curves, columns=["trial_id", "epoch"]).to_pydict()
    return set(zip(table["trial_id"], table["epoch"], strict=True))


def ray_processes_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


@pytest.fixture
def start(cache_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Search]]:
    """Starts searches into one folder; none outlives the test."""
    started: list[Search] = []

    def run(*arguments: object) -> Search:
        started.append(Search(tmp_path, cache_dir, *arguments))
        return started[-1]

    yield run
    for search in started:
        if search.process.poll() is None:
            search.process.kill()
            search.process.communicate()


def test_more_trials_leave_the_finished_ones_alone(
    run_search: Callable[..., str], tiny_space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    common = ("--out", tmp_path, "--name", "run", "--no-pseudo-labels", "--max-concurrent", "2")
    run_search("--space", tiny_space, "--data", tiny_root, "--num-trials", "2", *common)
    models = sorted((tmp_path / "run" / "trials").glob("*/model.*"))
    before = {path: (sha256_of(path), path.stat().st_mtime_ns) for path in models}
    first = pd.read_parquet(tmp_path / "run" / "trials.parquet")

    output = run_search("--resume", "--num-trials", "4", *common)

    after = pd.read_parquet(tmp_path / "run" / "trials.parquet")
    assert {path: (sha256_of(path), path.stat().st_mtime_ns) for path in models} == before
    assert "trial_0000 starts" not in output
    assert after["number"].to_list() == [0, 1, 2, 3]
    assert after["config.stages.pretrain_ce.lr"].nunique() == 4
    pd.testing.assert_frame_equal(after.head(2), first, check_dtype=False)


def test_nothing_is_left_to_do(run_search: Callable[..., str], finished_run: Path) -> None:
    before = (finished_run / "trials.parquet").read_bytes()
    output = run_search("--resume", "--out", finished_run.parent, "--name", "done", "--no-pseudo-labels")

    assert "all 8 trials are done" in output
    assert (finished_run / "trials.parquet").read_bytes() == before


def test_an_interrupted_and_then_killed_search_goes_on(
    start: Callable[..., Search], run_search: Callable[..., str], tiny_space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    search = start("--space", tiny_space, "--data", tiny_root, "--num-trials", "2", *LONG)
    search.wait_for_epoch("trial_0000", 1)
    children = ray_processes_of(search.process.pid)
    status, errors = search.signal(signal.SIGINT)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert status == 130
    assert alive == []
    assert "Traceback" not in errors
    assert f"interrupted; go on with: python -m trainables.search --resume --name run --out {tmp_path}" in errors

    search = start("--resume", "--max-concurrent", "1")
    search.wait_for_epoch("trial_0001", STAGE_EPOCHS + 1)
    search.signal(signal.SIGKILL)
    run = tmp_path / "run"
    before = {path: sha256_of(path) for path in (run / "trials" / "trial_0000").iterdir()}
    output = run_search("--resume", "--out", tmp_path, "--name", "run", "--no-pseudo-labels")

    trials, curves = pd.read_parquet(run / "trials.parquet"), pd.read_parquet(run / "curves.parquet")
    assert {path: sha256_of(path) for path in (run / "trials" / "trial_0000").iterdir()} == before
    assert trials["status"].to_list() == ["complete"] * 2
    assert trials["number"].to_list() == [0, 1]
    assert curves.groupby("trial_id")["epoch"].apply(list).to_list() == [list(range(1, ALL_EPOCHS + 1))] * 2
    went_on_at = re.search(rf"^trial_0001  train_bce   epoch +(\d+)/{ALL_EPOCHS}", output, re.MULTILINE)
    assert went_on_at is not None
    assert int(went_on_at[1]) > STAGE_EPOCHS
    assert "trial_0001  pretrain_ce" not in output
    assert list(run.rglob("state.*")) == []
