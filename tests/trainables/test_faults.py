"""Searches on which much is inflicted: kills at any moment, a dead trial, a full disk. Real Ray, real processes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ray
from _run_checks import Ledger, check_equal, ended, history, problems_of, started, tables
from ray.util import placement_group_table

from sed_model.core.errors import DiskFullError
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import best_trials
from sed_model.run_folder.run_tables import trial_id
from trainables.searching.recorder import Recorder

pytestmark = pytest.mark.slow
ARGUMENTS = ("--max-concurrent", "1", "--no-pseudo-labels")
"""What the finished search was run with, but for its pseudo-labels: other searches have to agree with it."""
N_TRIALS = 8
ENDLESS = 60
"""Trials of a search that is to be killed: more than any machine trains before the last moment has come."""

MOMENTS: dict[str, Callable[[Any], object]] = {
    "start-up": lambda search: (search.run / "search.yaml").exists(),
    "in an epoch": lambda search: "  loss " in search.output,
    "with a state to go on from": lambda search: (
        "  loss " in search.output and any(search.run.glob("trials/*/state.pt"))
    ),
    "between two trials": lambda search: ended(search.output),
    "while a file is written": lambda search: len(ended(search.output)) > 1 and any(search.run.glob("trials/*/.*.tmp")),
}
LONGEST_WAIT_S = {"start-up": 4.0, "in an epoch": 0.3, "between two trials": 0.05}


def wait_until_all_is_given_back(timeout_s: float = 30) -> None:
    """Until the cluster has noticed that a driver is dead, and ended what that had running."""
    end_s = time.monotonic() + timeout_s
    while ray.available_resources().get("CPU") != 2.0:
        assert time.monotonic() < end_s, "a dead driver keeps its CPUs"
        time.sleep(0.05)
    assert all(group["state"] == "REMOVED" for group in placement_group_table().values())


@pytest.mark.timeout(600)  # on a loaded machine
def test_a_search_that_is_killed_at_five_moments_equals_an_unbroken_one(
    start_search: Callable[..., Any], run_search: Callable[..., str], finished_run: Path, tiny_space: Path,
    tiny_root: Path, tmp_path: Path,
) -> None:  # fmt: skip
    """The searches join a Ray that runs: it takes 15 s to start one. test_resume.py kills one with a Ray of its own."""
    rng = np.random.default_rng(4)
    run, outputs, ledger = tmp_path / "run", [""], Ledger(tmp_path / "run")
    address = ray.get_runtime_context().gcs_address
    what = ["--space", tiny_space, "--data", tiny_root, "--num-trials", ENDLESS]
    for moment, holds in MOMENTS.items():
        search = start_search(*what, *ARGUMENTS, "--address", address)
        search.wait_until(lambda search=search, holds=holds: holds(search))
        time.sleep(rng.uniform(0, LONGEST_WAIT_S.get(moment, 0)))
        assert search.signal(signal.SIGKILL) == -signal.SIGKILL
        wait_until_all_is_given_back()
        for state in run.glob("trials/*/state.pt"):
            os.truncate(state, state.stat().st_size // 2)
        assert ledger.look() == []
        outputs.append(search.output)
        what = ["--resume"]
    n_trials = max(N_TRIALS, len(history(run)))  # one of them may have been drawn, and not started yet
    resume = ("--resume", "--num-trials", n_trials, "--out", tmp_path, "--name", "run")
    outputs.append(run_search(*resume, *ARGUMENTS))

    assert ledger.look() == []
    assert problems_of(run, n_trials) == []
    check_equal(run, finished_run, N_TRIALS, n_trials - N_TRIALS)
    for number, output in enumerate(outputs):
        assert set(ended("".join(outputs[:number]))) & set(started(output)) == set()


def test_a_search_whose_ray_is_killed_says_so_and_goes_on(
    start_search: Callable[..., Any], run_search: Callable[..., str], finished_run: Path, tiny_space: Path,
    tiny_root: Path, tmp_path: Path,
) -> None:  # fmt: skip
    """Ray itself would end the process after a quarter of a minute, without a word on how to go on."""
    search = start_search("--space", tiny_space, "--data", tiny_root, "--num-trials", N_TRIALS, *ARGUMENTS)
    search.wait_until(lambda: "  loss " in search.output)
    (raylet,) = (process for process in search.started() if process.name() == "raylet")
    raylet.kill()

    assert search.process.wait(timeout=60) == 1
    assert search.errors.splitlines()[-1] == (
        "error: Ray's processes were killed, perhaps for want of memory. Then go on with: python -m "
        f"trainables.search --resume --name run --out {tmp_path}"
    )
    search.check_that_all_have_ended()
    run_search("--resume", "--out", tmp_path, "--name", "run", *ARGUMENTS)
    check_equal(tmp_path / "run", finished_run, N_TRIALS)


def test_a_trial_whose_process_is_killed_goes_on(
    run_search: Callable[..., str], finished_run: Path, tiny_space: Path, tiny_root: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    record, killed = Recorder.on_trial_result, []

    def kill_once(self: Recorder, *places: Any, **info: Any) -> None:
        record(self, *places, **info)
        if info["result"]["epoch"] == 2 and not killed:
            killed.append(info["result"]["pid"])
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(Recorder, "on_trial_result", kill_once)
    output = run_search(
        *("--space", tiny_space, "--data", tiny_root, "--out", tmp_path, "--name", "run", "--num-trials", 1, *ARGUMENTS)
    )

    assert len(killed) == 1
    assert output.count("trial_0000 broke off and starts again: ") == 1
    assert re.findall(r"^trial_0000  \w+ +epoch +(\d+)", output, re.MULTILINE) == ["1", "2", "3"]
    check_equal(tmp_path / "run", finished_run, 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB: a trial of 2.7 MB takes up to 14 MB while it trains, but six trials leave more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here ({mounted.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_the_search_and_nothing_is_lost(
    run_search: Callable[..., str], finished_run: Path, tiny_space: Path, tiny_root: Path, small_disk: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run, place = small_disk / "run", ("--out", small_disk, "--name", "run")
    with pytest.raises(DiskFullError) as stop:
        run_search("--space", tiny_space, "--data", tiny_root, "--num-trials", 6, *place, *ARGUMENTS)

    assert str(small_disk) in str(stop.value)
    assert f"go on with: python -m trainables.search --resume --name run --out {small_disk}" in str(stop.value)
    assert capfd.readouterr().err == ""
    assert list(run.rglob("*.tmp")) == []
    trials, _ = tables(run, N_TRIALS)
    assert trials["status"].iloc[0] == "complete"
    assert trials["status"].iloc[-1] == "running"
    assert "failed" not in set(trials["status"])

    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    output = run_search("--resume", *place, *ARGUMENTS)

    assert set(trials.loc[trials["status"] != "running", "trial_id"]) & set(started(output)) == set()
    check_equal(run, finished_run, 6)


def test_a_disk_that_is_full_when_finalists_are_trained_again_stops_that_and_nothing_is_lost(
    run_search: Callable[..., str], finished_run: Path, small_disk: Path
) -> None:
    shutil.copytree(finished_run, small_disk / "run", ignore=shutil.ignore_patterns("trials", "tune", "ensemble"))
    best = trial_id(best_trials(RunFolder(finished_run).read_trials(), 1)[0]["number"])
    shutil.copytree(finished_run / "trials" / best, small_disk / "run" / "trials" / best)
    (small_disk / "ballast").write_bytes(bytes(8 * 2**20))
    again = ("--resume", "--refit-folds", "1,2", "--top-k", "1", "--out", small_disk, "--name", "run", *ARGUMENTS)
    with pytest.raises(DiskFullError, match=f"{small_disk}.*go on with: python -m trainables.search --resume"):
        run_search(*again)
    assert not (small_disk / "run" / "refits.parquet").exists()

    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    run_search(*again)

    refits = pd.read_parquet(small_disk / "run" / "refits.parquet")
    assert refits["fold"].to_list() == [1, 2]
    assert refits["error"].isna().all()
    assert list(small_disk.rglob("*.tmp")) == list(small_disk.rglob("state*.pt")) == []
