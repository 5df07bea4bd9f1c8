"""Trials that fail: recorded with their error, told to Optuna, and the search goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from analysis.tables import read_run
from sed_model.core.errors import TrainingError
from trainables.searching.searcher import STUDY_NAME, open_journal

pytestmark = pytest.mark.slow
SPACE = """
base: base.yaml
search: {num_trials: 3, stages: [pretrain_ce], scheduler: none, searcher: random}
config: {augment.wave.background_prob: 0.5, augment.wave.band_pass_prob: 0, augment.wave.low_pass_prob: 0}
space:
  augment.wave.background_folder: {choice: [null, NOWHERE]}
  augment.wave.prob:              {choice: [0.0, 0.5]}
"""
"""Trials with the folder that is not there fail, but only where waveforms are augmented at all."""

GO_ON = "python -m trainables.search --resume --name run"


@pytest.fixture
def space(tmp_path: Path, tiny_space: Path) -> Path:
    (tmp_path / "base.yaml").write_text((tiny_space.parent / "base.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.replace("NOWHERE", str(tmp_path / "nowhere")), encoding="utf-8")
    return path


def test_a_trial_that_cannot_train_is_failed_and_the_search_goes_on(
    run_search: Callable[..., str], space: Path, tiny_root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common = ("--out", tmp_path, "--name", "run", "--max-concurrent", "1", "--no-pseudo-labels")
    output = run_search("--space", space, "--data", tiny_root, "--num-trials", "8", *common)

    trials = read_run(tmp_path / "run").trials.set_index("number")
    wanted = (trials["config.augment.wave.prob"] > 0) & trials["config.augment.wave.background_folder"].notna()
    failed = trials["status"] == "failed"
    assert failed.to_list() == wanted.to_list()
    assert 0 < failed.sum() < 8
    message = f"background_folder={tmp_path / 'nowhere'}: there is no such folder"
    assert trials.loc[failed, "error"].str.contains(message, regex=False).all()
    assert trials.loc[~failed, "error"].isna().all()
    assert output.count(message) == failed.sum()
    assert capfd.readouterr().err == ""

    study = optuna.load_study(study_name=STUDY_NAME, storage=open_journal(tmp_path / "run" / "optuna.journal"))
    assert [trial.state is TrialState.FAIL for trial in study.get_trials()] == wanted.to_list()
    board = pd.read_csv(tmp_path / "run" / "leaderboard.csv")
    assert (board["status"] == "failed").to_list() == sorted(failed.to_list())


def test_the_same_error_in_the_first_three_trials_stops_the_search_until_it_is_mended(
    run_search: Callable[..., str], space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    space.write_text(space.read_text(encoding="utf-8").replace("[null, ", "[").replace("[0.0, 0.5]", "[0.5]"))
    common = ("--out", tmp_path, "--name", "run", "--max-concurrent", "1", "--no-pseudo-labels")
    with pytest.raises(TrainingError, match="first 3 trials all failed with the same error") as stop:
        run_search("--space", space, "--data", tiny_root, "--num-trials", "5", *common)
    assert f"background_folder={tmp_path / 'nowhere'}: there is no such folder" in str(stop.value)
    assert f"2 trials were not run; mend the cause. Then go on with: {GO_ON} --out {tmp_path}" in str(stop.value)

    (tmp_path / "nowhere").mkdir()
    shutil.copy(tiny_root / "train_audio" / "grekis" / "XC0.wav", tmp_path / "nowhere")
    run_search("--resume", *common)

    statuses = read_run(tmp_path / "run").trials["status"].to_list()
    assert statuses[:3] == ["failed"] * 3
    assert len(statuses) == 5
    assert set(statuses[3:]) <= {"complete", "pruned"}


def test_a_trial_that_raises_is_tried_again_and_leaves_its_traceback(
    run_search: Callable[..., str], finished_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    (run / "trials" / "trial_0008" / "model.safetensors").mkdir(parents=True)  # where a file belongs
    common = ("--out", tmp_path, "--name", "run", "--max-concurrent", "1", "--no-pseudo-labels")
    output = run_search("--resume", "--num-trials", "10", *common)

    trials = read_run(run).trials.set_index("number")
    assert "failed" not in set(trials.loc[:7, "status"])
    assert trials.loc[8, "status"] == "failed"
    assert trials.loc[9, "status"] in ("complete", "pruned")
    assert trials.loc[8, "error"].startswith("IsADirectoryError: ")
    traceback = run / "tune" / "trial_0008" / "error.txt"
    assert output.count("trial_0008 broke off and starts again: IsADirectoryError: ") == 1
    assert f"(traceback: {traceback})" in output
    assert 'trainables/trials/trial.py", line' in traceback.read_text(encoding="utf-8")
    assert "Traceback" not in output + capfd.readouterr().err
