"""One real search: what it leaves behind, what Optuna and the analysis read of it, and that it can be repeated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from _run_checks import problems_of

from analysis import predictions, tables
from analysis.ranks import rank_trials
from sed_model.core.errors import ConfigError
from sed_model.model.checkpoint import load_model
from sed_model.run_folder.metrics import macro_auc
from sed_model.run_folder.run_tables import CURVE_FIELDS, TRIAL_FIELDS
from trainables.searching.searcher import STUDY_NAME, open_journal

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def trials(finished_run: Path) -> pd.DataFrame:
    return pd.read_parquet(finished_run / "trials.parquet")


@pytest.fixture(scope="module")
def curves(finished_run: Path) -> pd.DataFrame:
    return pd.read_parquet(finished_run / "curves.parquet")


@pytest.fixture(scope="module")
def study(finished_run: Path) -> optuna.Study:
    return optuna.load_study(study_name=STUDY_NAME, storage=open_journal(finished_run / "optuna.journal"))


def test_the_run_folder_is_whole(finished_run: Path, trials: pd.DataFrame) -> None:
    names = ["search.yaml", "curves.parquet", "leaderboard.csv", "optuna.journal", "tune"]
    names += ["ensemble/members.json", "ensemble/summary.json", "ensemble/pseudo_labels/part-00000.parquet"]
    in_trials = ("model.safetensors", "model.json", "config.json", "oof.parquet")
    names += [f"trials/{trial}/{name}" for trial in trials["trial_id"] for name in in_trials]

    assert [name for name in names if not (finished_run / name).exists()] == []
    assert len(list(finished_run.glob("trials/*/events.out.tfevents.*"))) == 8


def test_tables_curves_models_journal_and_leaderboard_agree(finished_run: Path) -> None:
    """On every trial's state, epochs and best score so far, and nothing is left over; see test_run_checks.py."""
    assert problems_of(finished_run, 8) == []


def test_some_trials_are_pruned(trials: pd.DataFrame) -> None:
    counts = trials["status"].value_counts()

    assert len(trials) == 8
    assert counts["pruned"] >= 1
    assert counts["complete"] >= 1
    assert counts.sum() == counts["pruned"] + counts["complete"]


def test_the_model_is_that_of_the_best_epoch(finished_run: Path, trials: pd.DataFrame) -> None:
    for row in trials.itertuples():
        model = load_model(finished_run / "trials" / str(row.trial_id))
        assert (model.lineage.epoch, model.lineage.stage) == (row.epoch, row.stage)
        assert model.lineage.metrics["macro_auc"] == row.macro_auc


def test_complete_trials_ran_all_epochs_and_pruned_ones_fewer(trials: pd.DataFrame) -> None:
    assert set(trials.loc[trials["status"] == "complete", "epochs"]) == {3}
    assert trials.loc[trials["status"] == "pruned", "epochs"].max() < 3


def test_the_tables_have_the_contract_s_columns(trials: pd.DataFrame, curves: pd.DataFrame) -> None:
    assert list(trials.columns[: len(TRIAL_FIELDS)]) == TRIAL_FIELDS.names
    assert list(curves.columns) == CURVE_FIELDS.names
    assert trials["drawn_by"].to_list() == ["default", "quasi-random", "quasi-random", *["TPE"] * 5]
    assert all(name.startswith("config.") for name in trials.columns[len(TRIAL_FIELDS) :])


def test_the_analysis_reads_and_ranks_the_run(finished_run: Path, trials: pd.DataFrame) -> None:
    ranking = rank_trials(tables.read_run(finished_run))

    assert sorted(ranking["trial_id"]) == sorted(trials["trial_id"])
    assert ranking["macro_auc"].iloc[0] == trials["macro_auc"].max()
    assert ranking["trial_id"].to_list() == pd.read_csv(finished_run / "leaderboard.csv")["trial_id"].to_list()


def test_the_validation_predictions_give_the_trial_s_score(finished_run: Path, trials: pd.DataFrame) -> None:
    for row in trials.itertuples():
        oof = predictions.read_oof(finished_run, str(row.trial_id))
        assert len(oof.windows) == 8
        assert macro_auc(oof.targets, oof.probabilities) == pytest.approx(row.macro_auc, abs=1e-6)


def test_pseudo_labels_are_of_unlabelled_soundscapes_and_above_the_thresholds(finished_run: Path) -> None:
    labels = predictions.read_pseudo_labels(finished_run)

    assert len(labels.table) >= 10
    assert set(labels.table["filename"]) <= {f"U{number}.wav" for number in range(2, 12)}
    assert labels.table["confidence"].min() > 0.05
    assert set(labels.table["n_members"]) == {2}
    np.testing.assert_allclose(labels.probabilities.max(axis=1), labels.table["confidence"], atol=1e-6)


def test_the_members_are_the_top_of_the_leaderboard(finished_run: Path) -> None:
    members = json.loads((finished_run / "ensemble" / "members.json").read_text(encoding="utf-8"))["members"]
    top = pd.read_csv(finished_run / "leaderboard.csv").head(2)

    assert [member["trial_id"] for member in members] == top["trial_id"].to_list()
    assert [member["weight"] for member in members] == [0.5, 0.5]


def test_the_summary_counts_windows_and_labels(finished_run: Path) -> None:
    summary = json.loads((finished_run / "ensemble" / "summary.json").read_text(encoding="utf-8"))
    labels = predictions.read_pseudo_labels(finished_run).table

    # 4 s with windows of 1 s that overlap by half: seven starts in each of ten files.
    assert (summary["soundscapes"], summary["windows"], summary["unreadable"]) == (10, 70, [])
    assert summary["pseudo_labels"] == len(labels)
    assert sum(summary["by_class"].values()) == len(labels)


def test_search_yaml_tells_what_was_searched(finished_run: Path, tiny_root: Path) -> None:
    record = yaml.safe_load((finished_run / "search.yaml").read_text(encoding="utf-8"))

    assert record["data"]["folder"] == str(tiny_root)
    assert record["data"]["classes"] == ["1139490", "abethr1", "grekis"]
    assert record["search"]["num_trials"] == 8
    assert record["search"]["scheduler"] == {"asha": {"grace_period": 1, "reduction_factor": 2.0}}
    assert record["base"]["data"]["window_s"] == 1.5
    assert {"torch", "ray", "optuna", "timm"} <= set(record["versions"])


def test_conditional_parameters_are_drawn_only_when_active(study: optuna.Study, trials: pd.DataFrame) -> None:
    pool_type = trials.set_index("number")["config.model.pool_type"]
    with_gem_p = {trial.number for trial in study.get_trials() if "model.gem_p" in trial.params}

    assert with_gem_p == set(pool_type.index[pool_type == "gem"])
    assert 0 < len(with_gem_p) < 8


def test_the_first_trial_is_the_base(trials: pd.DataFrame) -> None:
    first = trials.set_index("number").loc[0]

    assert first["config.stages.pretrain_ce.lr"] == 0.002
    assert first["config.model.pool_type"] == "avg"


def test_one_actor_runs_all_trials(finished_search: Any) -> None:
    """A new one costs eight seconds."""
    assert len(finished_search.process_ids) == 1


def test_the_terminal_shows_every_epoch_the_leaderboard_and_what_to_type_next(
    finished_search: Any, curves: pd.DataFrame
) -> None:
    output = finished_search.output

    assert sum("  loss " in line for line in output.splitlines()) == len(curves)
    assert "leaderboard (8 trials" in output
    assert "[8 of 8 trials, best 0." in output
    run, best = finished_search.path, next((finished_search.path / "trials").glob("*/frames.parquet")).parent
    commands = [line.split("trainables.")[-1] for line in output.partition("\nnext:\n")[2].splitlines()]
    assert f"  python -m analysis.report --run {run}" in commands
    assert f"student --run {run}" in commands
    assert any(line.startswith(f"train --config {best}/config.json --stage all --data ") for line in commands)
    assert any(line.startswith(f"predict --run {run} --soundscapes ") for line in commands)
    assert f"--resume --name done --out {finished_search.path.parent} --num-trials 16" in output


def test_a_missing_gpu_is_told_before_audio_is_decoded(
    run_search: Callable[..., str], tiny_root: Path, tiny_space: Path, tmp_path: Path
) -> None:
    """Where Ray runs already, too, as in the rounds of students."""
    data = Path(shutil.copytree(tiny_root, tmp_path / "data"))
    (data / "train_audio/grekis/XC0.wav").write_bytes(b"RIFF")
    with pytest.raises(ConfigError, match="a trial with 1 CPUs and 1000 GPUs does not fit"):
        run_search("--space", tiny_space, "--data", data, "--out", tmp_path, "--gpus-per-trial", 1000)


@slow
def test_the_same_seed_gives_the_same_trials_and_scores(
    finished_run: Path, run_search: Callable[..., str], tiny_root: Path, tiny_space: Path, tmp_path: Path
) -> None:
    run_search(
        *("--space", tiny_space, "--data", tiny_root, "--out", tmp_path, "--name", "again"),
        *("--num-trials", "3", "--max-concurrent", "1", "--no-pseudo-labels"),
    )
    again = tmp_path / "again"
    measured = ["duration_s", "cpu_ms_per_window", "on_front"]
    for name, dropped in (("trials", measured), ("curves", ["samples_per_s"])):
        first = pd.read_parquet(finished_run / f"{name}.parquet").drop(columns=dropped)
        second = pd.read_parquet(again / f"{name}.parquet").drop(columns=dropped)
        first = first[first["trial_id"].isin(second["trial_id"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(first, second, check_exact=True)
