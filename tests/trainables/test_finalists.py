"""Finalists of a search: what is trained again, which scores their mean is of, and which model is delivered."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sed_model.config.sed_config import SedConfig
from sed_model.model.checkpoint import load_model, read_lineage
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import best_trials, finalists
from sed_model.run_folder.run_tables import trial_id
from tests.models import save_random_model
from trainables.labelling.candidates import EnsembleJob, find_candidates
from trainables.labelling.run_members import members_of
from trainables.searching.refit import deliver, plan_refits, write_spread
from trainables.spaces.load import load_space
from trainables.spaces.search_space import SearchSpace
from trainables.trials.trial import SearchJob


def row(space: SearchSpace, number: int, status: str, score: float, **changes: Any) -> dict[str, Any]:
    config = space.base.with_overrides(changes)
    flat = {f"config.{key}": value for key, value in config.flat().items()}
    facts = {"trial_id": trial_id(number), "number": number, "status": status, "macro_auc": score}
    return {
        **facts,
        "stage": "pretrain_ce",
        "epoch": 1,
        "epochs": 1,
        "fold": config.data.fold,
        "seed": config.seed,
        **flat,
    }


def refit_row(number: int, fold: int, score: float, error: str | None = None) -> dict[str, Any]:
    facts = {"trial_id": trial_id(number), "number": number, "fold": fold, "seed": 7 + fold, "macro_auc": score}
    return {**facts, "epochs": 3, "duration_s": 1.0, "error": error}


def job(space: SearchSpace, *folds: int) -> SearchJob:
    search = space.search.model_copy(update={"refit_folds": folds})
    whole = SearchSpace(space.name, space.base, search, space.parameters)
    return SearchJob(whole, Path("data"), Path("run"), ("pretrain_ce", "train_bce"), 1.0, 1, 0, 0)


# --- what is trained again


def places(space: SearchSpace, rows: list[dict[str, Any]], validation: str, *folds: int) -> list[tuple[int, int]]:
    return [(plan.number, plan.fold) for plan in plan_refits(rows, job(space, *folds), validation, len(rows))]


def test_a_complete_finalist_is_not_trained_again_as_it_was(space: SearchSpace) -> None:
    soundscapes = [row(space, 0, "complete", 0.8)]
    folds = [row(space, 0, "complete", 0.8, **{"data.fold": 1})]

    assert places(space, soundscapes, "soundscapes", 0, 1, 2) == [(0, 1), (0, 2)]
    assert places(space, folds, "folds", 0, 1, 2) == [(0, 0), (0, 2)]


def test_a_pruned_finalist_is_trained_to_its_end_on_its_own_fold_too(tiny_space: Path) -> None:
    """Whichever folds are asked for."""
    space = load_space(tiny_space, {"data.fold": 1})
    rows = [row(space, 0, "pruned", 0.8)]

    assert places(space, rows, "folds", 0, 2) == [(0, 1), (0, 0), (0, 2)]
    assert places(space, rows, "soundscapes", 2) == [(0, 0), (0, 2)]
    plans = plan_refits(rows, job(space, 0), "folds", 1)
    assert [plan.changes for plan in plans] == [{"data.fold": 1}, {"data.fold": 0}]


def test_finalists_are_chosen_by_their_own_scores(space: SearchSpace) -> None:
    """A trial that came after the others were trained again may outdo them."""
    rows = [row(space, 0, "complete", 0.7) | {"refit_mean": 0.6}, row(space, 1, "complete", 0.8)]

    assert [trial["number"] for trial in finalists(rows, 1)] == [1]
    assert [trial["number"] for trial in best_trials(rows, 1)] == [0]


# --- what is ranked, and what is delivered


@pytest.fixture
def run(space: SearchSpace, tmp_path: Path) -> RunFolder:
    """A complete trial of .85, a pruned one of .80 that ends at .90 when it goes on, and a pruned one of .82."""
    folder = RunFolder(tmp_path / "run")
    trials = [(0, "complete", 0.85), (1, "pruned", 0.80), (2, "pruned", 0.82)]
    for number, _, score in trials:
        save(folder.trial(number), space.base, number, score, stage="pretrain_ce", epoch=1)
    save(folder.refit(1, False, 0), space.base, 10, 0.90, stage="train_bce", epoch=3)
    save(folder.refit(1, False, 1), space.base, 11, 0.95, stage="train_bce", epoch=3)
    folder.write_tables([row(space, *trial) for trial in trials], [])
    return folder


def save(folder: Path, config: SedConfig, seed: int, score: float, **facts: Any) -> None:
    """A model, and predictions and frames that say whose they are."""
    save_random_model(folder, config, seed, metrics={"macro_auc": score}, **facts)
    (folder / "oof.parquet").write_text(f"predictions of {seed}")
    (folder / "frames.parquet").write_text(f"frames of {seed}")


REFITS = [
    *(refit_row(0, 1, 0.70), refit_row(0, 2, 0.80)),
    *(refit_row(1, 0, 0.90), refit_row(1, 1, 0.72), refit_row(1, 2, 0.76)),
]


def test_the_score_that_chose_a_finalist_is_no_part_of_its_mean(run: RunFolder) -> None:
    """Trial 0: (.70 + .80) / 2 without its .85; trial 1: (.72 + .76) / 2, for its .90 goes on from the .80."""
    run.write_refits(REFITS)
    write_spread(run)
    trials = {trial["number"]: trial for trial in run.read_trials()}

    assert trials[0]["refit_mean"] == pytest.approx(0.75)
    assert trials[0]["refit_sd"] == pytest.approx(0.1 / 2**0.5)
    assert trials[1]["refit_mean"] == pytest.approx(0.74)
    assert [trials[number]["n_refits"] for number in range(3)] == [2, 2, None]
    assert pd.read_csv(run.leaderboard)["trial_id"].to_list() == ["trial_0000", "trial_0001", "trial_0002"]


def test_a_pruned_finalist_delivers_the_model_that_was_trained_to_its_end(run: RunFolder) -> None:
    wanted = read_lineage(run.refit(1, False, 0)).weights_sha256
    run.write_refits(REFITS)
    write_spread(run)
    trial = run.read_trials()[1]

    assert read_lineage(run.trial(1)).weights_sha256 == wanted
    assert load_model(run.trial(1)).lineage.metrics["macro_auc"] == trial["macro_auc"] == 0.90
    assert (trial["status"], trial["stage"], trial["epoch"], trial["epochs"]) == ("pruned", "train_bce", 3, 1)
    assert (run.trial(1) / "oof.parquet").read_text() == "predictions of 10"
    assert not (run.trial(1) / "frames.parquet").exists()
    assert (run.trial(2) / "frames.parquet").read_text() == "frames of 2"


def test_predictions_and_ensembles_take_what_was_ranked(run: RunFolder) -> None:
    run.write_refits([refit_row(1, 0, 0.90), refit_row(1, 1, 0.72)])
    write_spread(run)
    shutil.rmtree(run.trial(1) / "refit_1")
    best = best_trials(run.read_trials(), 1)[0]

    assert (best["number"], best["macro_auc"]) == (1, 0.90)
    assert load_model(members_of(run.path, 1).folders[0]).lineage.epoch == 3
    candidate = find_candidates(EnsembleJob(run.path, Path("data"), run.ensemble, top_k=1)).candidates[0]
    assert (candidate.row["macro_auc"], candidate.lineage.stage) == (0.90, "train_bce")


def test_a_half_trained_model_is_not_ranked_by_whole_trainings(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write_refits([refit_row(1, 0, float("nan"), "out of memory"), refit_row(1, 1, 0.95), refit_row(1, 2, 0.97)])
    write_spread(run)
    trial = run.read_trials()[1]

    assert (trial["refit_mean"], trial["n_refits"], trial["macro_auc"]) == (None, None, 0.80)
    assert read_lineage(run.trial(1)).epoch == 1
    assert "trial_0001 was not trained to its end: it is ranked by its own score" in capsys.readouterr().out
    assert [best["number"] for best in best_trials(run.read_trials(), 3)] == [0, 2, 1]


def test_a_delivery_that_was_killed_is_made_again(run: RunFolder) -> None:
    """The weights came first, the lineage last: model.json still tells of the old ones."""
    shutil.copyfile(run.refit(1, False, 0) / "model.safetensors", run.trial(1) / "model.safetensors")
    run.write_refits(REFITS)

    assert deliver(run, run.read_refits(), run.read_trials()) == {1}
    assert load_model(run.trial(1)).lineage.metrics["macro_auc"] == 0.90


def test_the_own_fold_is_that_of_the_search(run: RunFolder, space: SearchSpace) -> None:
    """Where fold 1 validated, --refit-folds 1 is no new score, and 0 is one."""
    folds = {"validation": "folds", "stage": "pretrain_ce", "epoch": 1}
    save(run.trial(0), space.base, 0, 0.85, **folds)
    run.write_tables([row(space, 0, "complete", 0.85, **{"data.fold": 1})], [])
    run.write_refits([refit_row(0, 0, 0.6), refit_row(0, 1, 0.9), refit_row(0, 2, 0.8)])
    write_spread(run)

    assert run.read_trials()[0]["refit_mean"] == pytest.approx(0.7)
