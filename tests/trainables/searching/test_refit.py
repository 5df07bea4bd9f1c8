"""Finalists trained again, after a warm-started search for the front of score and cost: one real run."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
import pytest

from analysis.ranks import rank_trials
from analysis.tables import read_run
from sed_model.model.checkpoint import read_lineage
from trainables.searching.refit import changes_for
from trainables.searching.searcher import STUDY_NAME, WARM_START, open_journal
from trainables.spaces.load import load_space

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def refitted(
    run_search: Callable[..., str],
    finished_run: Path,
    tiny_space: Path,
    tiny_root: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, str]:
    """Run folder and output."""
    out = tmp_path_factory.mktemp("refits")
    output = run_search(
        *("--space", tiny_space, "--data", tiny_root, "--out", out, "--name", "new", "--num-trials", "2"),
        *("--cost", "cpu_ms_per_window", "--warm-start", finished_run, "--refit-folds", "0,1,2", "--top-k", "1"),
        *("--max-concurrent", "2", "--no-pseudo-labels"),
    )
    return out / "new", output


@slow
def test_the_best_trial_has_a_mean_and_a_spread(refitted: tuple[Path, str]) -> None:
    run, _ = refitted
    board, refits = pd.read_csv(run / "leaderboard.csv"), pd.read_parquet(run / "refits.parquet")
    first = board.iloc[0]
    scores = refits.loc[refits["fold"] > 0, "macro_auc"].to_list()

    assert set(refits["trial_id"]) == {first["trial_id"]}
    assert set(refits["fold"]) == ({1, 2} if first["status"] == "complete" else {0, 1, 2})
    assert first["n_refits"] == len(scores) == 2
    assert first["refit_mean"] == pytest.approx(statistics.mean(scores), rel=1e-5)
    assert first["refit_sd"] == pytest.approx(statistics.stdev(scores), rel=1e-5)


@slow
def test_the_model_that_is_delivered_is_a_whole_training(refitted: tuple[Path, str]) -> None:
    """Of the finalist whether it was pruned or not; its row and its model tell the same."""
    run, _ = refitted
    first = pd.read_csv(run / "leaderboard.csv").iloc[0]
    lineage = read_lineage(run / "trials" / first["trial_id"])

    refits = pd.read_parquet(run / "refits.parquet").set_index("fold")
    whole = run / "trials" / first["trial_id"] / ("refit_0" if first["status"] == "pruned" else ".")

    assert (refits["epochs"][0] if first["status"] == "pruned" else first["epochs"]) == 3
    assert lineage.weights_sha256 == read_lineage(whole).weights_sha256
    assert lineage.metrics["macro_auc"] == pytest.approx(first["macro_auc"], rel=1e-5)


@slow
def test_refits_are_validated_as_the_search_was(refitted: tuple[Path, str]) -> None:
    run, _ = refitted
    tables = [pd.read_parquet(run / f"{name}.parquet") for name in ("trials", "refits")]
    assert len({digest for table in tables for digest in table["split"]}) == 1


@slow
def test_the_analysis_ranks_finalists_as_the_leaderboard_does(refitted: tuple[Path, str]) -> None:
    ranking, board = rank_trials(read_run(refitted[0])), pd.read_csv(refitted[0] / "leaderboard.csv")

    assert ranking["trial_id"].to_list() == board["trial_id"].to_list()
    assert ranking["refit_mean"].to_list() == pytest.approx(board["refit_mean"].to_list(), rel=1e-5, nan_ok=True)


@slow
def test_labelled_soundscapes_validate_so_the_seed_changes(refitted: tuple[Path, str]) -> None:
    run, _ = refitted
    refits, seed = pd.read_parquet(run / "refits.parquet"), load_seed(run)

    assert (refits["seed"] - refits["fold"] == seed).all()
    assert refits["epochs"].to_list() == [3] * len(refits)


def load_seed(run: Path) -> int:
    return int(pd.read_parquet(run / "trials.parquet")["seed"].iloc[0])


@slow
def test_the_study_starts_with_the_earlier_trials(refitted: tuple[Path, str], finished_run: Path) -> None:
    run, output = refitted
    study = optuna.load_study(study_name=STUDY_NAME, storage=open_journal(run / "optuna.journal"))
    earlier = [trial for trial in study.get_trials() if WARM_START in trial.user_attrs]

    assert len(earlier) == len(pd.read_parquet(finished_run / "trials.parquet")) == 8
    assert pd.read_parquet(run / "trials.parquet")["number"].to_list() == [8, 9]
    assert "8 of 8 scored trials of done lie in the space" in output


@slow
def test_the_cost_is_an_objective_and_a_column(refitted: tuple[Path, str]) -> None:
    run, output = refitted
    study = optuna.load_study(study_name=STUDY_NAME, storage=open_journal(run / "optuna.journal"))
    trials = pd.read_parquet(run / "trials.parquet").set_index("number")
    complete = [t for t in study.get_trials() if t.state.name == "COMPLETE" and WARM_START not in t.user_attrs]

    assert complete
    for trial in complete:
        score, cost = trial.values  # noqa: PD011
        assert [score, cost] == trials.loc[trial.number, ["macro_auc", "cpu_ms_per_window"]].to_list()
    assert trials["on_front"].any()
    assert "cpu_ms_per_window" in output


def test_held_out_recordings_take_the_fold(tiny_space: Path) -> None:
    config = load_space(tiny_space).base

    assert changes_for(config, "folds", 2) == {"data.fold": 2}
    assert changes_for(config, "soundscapes", 2) == {"seed": config.seed + 2}
