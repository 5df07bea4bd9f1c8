"""Searches that are broken off, and gone on with: real interrupts, a real kill, real Ray."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from _run_checks import left_over

from sed_model.core.errors import ConfigError
from sed_model.core.files import sha256_of
from sed_model.run_folder.predictions import FRAMES_FILE

slow = pytest.mark.slow
LONG = (
    *("--scheduler", "none", "--max-concurrent", "1", "--set", "optim.early_stopping_epochs=0"),
    *("--set", "stages.pretrain_ce.epochs=3", "--set", "stages.train_bce.epochs=22"),
    *("--set", "optim.batch_size=2"),
)
"""Trials of two stages, the second long enough to be killed in it."""
STAGE_EPOCHS, ALL_EPOCHS = 3, 25


@slow
def test_more_trials_leave_the_finished_ones_alone(
    run_search: Callable[..., str], finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    models = sorted((run / "trials").glob("*/model.*"))
    before = {path: (sha256_of(path), path.stat().st_mtime_ns) for path in models}
    first = pd.read_parquet(run / "trials.parquet")

    output = run_search(
        *("--resume", "--num-trials", "10", "--out", tmp_path, "--name", "run"),
        *("--no-pseudo-labels", "--max-concurrent", "1"),
    )

    after = pd.read_parquet(run / "trials.parquet")
    assert len(models) == 2 * 8
    assert {path: (sha256_of(path), path.stat().st_mtime_ns) for path in models} == before
    assert "trial_0000 starts" not in output
    assert "trial_0007 starts" not in output
    assert after["number"].to_list() == list(range(10))
    assert after["config.stages.pretrain_ce.lr"].nunique() == 10
    # Which trials are on the front depends on the others.
    pd.testing.assert_frame_equal(
        after.head(8).drop(columns="on_front"), first.drop(columns="on_front"), check_dtype=False
    )


def test_nothing_is_left_to_do(run_search: Callable[..., str], finished_run: Path, tmp_path: Path) -> None:
    """But for the files that a search leaves which is killed after its last trial."""
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    before = (run / "trials.parquet").read_bytes()
    (run / "trials" / "trial_0007" / "state.pt").touch()
    (run / "trials" / ".ray_train" / "train_trial_0007").mkdir(parents=True)
    output = run_search("--resume", "--out", tmp_path, "--name", "run", "--no-pseudo-labels")

    assert "all 8 trials are done" in output
    assert (run / "trials.parquet").read_bytes() == before
    assert left_over(run) == []


def test_an_interrupted_and_then_killed_search_goes_on(
    start_search: Callable[..., Any], run_search: Callable[..., str], tiny_space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    search = start_search("--space", tiny_space, "--data", tiny_root, "--num-trials", "2", *LONG)
    search.wait_until(lambda: "trial_0000  pretrain_ce epoch" in search.output)  # the tables may tell it seconds later
    with pytest.raises(ConfigError, match=rf"a search on .* \(process {search.process.pid}, since .*\) writes there"):
        run_search("--resume", "--out", tmp_path, "--name", "run")
    assert search.signal(signal.SIGINT) == 130
    assert "Traceback" not in search.errors
    go_on = f"interrupted; go on with: python -m trainables.search --resume --name run --out {tmp_path}"
    assert go_on in search.errors

    search = start_search("--resume", "--max-concurrent", "1")
    search.wait_until(lambda: "trial_0001  train_bce" in search.output)
    search.signal(signal.SIGKILL)
    run = tmp_path / "run"
    before = {path: sha256_of(path) for path in (run / "trials" / "trial_0000").iterdir()}
    output = run_search("--resume", "--out", tmp_path, "--name", "run", "--no-pseudo-labels")

    trials, curves = pd.read_parquet(run / "trials.parquet"), pd.read_parquet(run / "curves.parquet")
    assert {path: sha256_of(path) for path in before} == before
    # Only what the end of a search gives its best trial has come to it.
    assert {path.name for path in set((run / "trials" / "trial_0000").iterdir()) - set(before)} <= {FRAMES_FILE}
    assert trials["status"].to_list() == ["complete"] * 2
    assert trials["number"].to_list() == [0, 1]
    assert curves.groupby("trial_id")["epoch"].apply(list).to_list() == [list(range(1, ALL_EPOCHS + 1))] * 2
    went_on_at = re.search(rf"^trial_0001  train_bce   epoch +(\d+)/{ALL_EPOCHS}", output, re.MULTILINE)
    assert went_on_at is not None
    assert int(went_on_at[1]) > STAGE_EPOCHS
    assert "trial_0001  pretrain_ce" not in output
    assert list(run.rglob("state.*")) == []
