from dataclasses import replace
from pathlib import Path

import pytest

from analysis.curves import (
    StageSpan,
    epochs_saved,
    history,
    learning_curves,
    rungs,
    stage_gains,
    stage_spans,
)
from analysis.tables import Run, read_run


def test_the_best_so_far_never_falls(tiny_run: Path) -> None:
    scores = history(read_run(tiny_run))

    assert scores["trial_id"].tolist() == ["trial_0000", "trial_0001", "trial_0002", "trial_0003", "trial_0005"]
    assert scores["best_so_far"].tolist() == [0.70, 0.80, 0.80, 0.85, 0.85]


def test_a_failed_trial_is_no_best_so_far(run: Run) -> None:
    trials = run.trials.assign(status=["complete", "failed", *run.trials["status"][2:]])

    assert history(replace(run, trials=trials))["best_so_far"].tolist()[:3] == [0.70, 0.70, 0.70]


def test_learning_curves_know_their_trial(tiny_run: Path) -> None:
    curves = learning_curves(read_run(tiny_run))

    pruned = curves[curves["trial_id"] == "trial_0002"]
    assert pruned["status"].tolist() == ["pruned"]
    assert len(curves) == 14


def test_the_best_so_far_is_that_of_comparable_stages_where_the_search_recorded_it(run: Run) -> None:
    """After cross-entropy it begins anew: a rung that judged by a higher score of that stage would tell otherwise."""
    recorded = run.curves["macro_auc"].where(run.curves["epoch"] > 0, 0.9)  # the first epoch scored 0.9, they say
    recorded = replace(run, curves=run.curves.assign(best_macro_auc=recorded))
    curves = learning_curves(recorded).set_index(["trial_id", "epoch"])["best_so_far"]

    assert curves["trial_0003"].tolist() == pytest.approx([0.9, 0.83, 0.84, 0.85])
    assert rungs(recorded).iloc[0]["best_pruned"] == pytest.approx(0.9)


def test_stages_lie_one_after_the_other(tiny_run: Path) -> None:
    spans = stage_spans(read_run(tiny_run).curves)

    assert spans == [StageSpan("pretrain_ce", 0, 1), StageSpan("train_bce", 2, 3)]


def test_the_gain_of_a_stage_is_over_the_best_before(tiny_run: Path) -> None:
    gains = stage_gains(read_run(tiny_run)).set_index("stage")

    # Every trial gains .01 an epoch; the two pruned ones finished no stage.
    assert gains["n_trials"].tolist() == [3, 3]
    assert gains["median_gain"].tolist() == pytest.approx([0.01, 0.02])
    assert gains["median_end"].tolist() == pytest.approx([0.78, 0.80])


def test_a_stage_after_cross_entropy_gains_over_its_own_start(own_run: Path) -> None:
    """The best so far begins anew in epoch 2, lower than what cross-entropy had."""
    run = read_run(own_run)
    own = run.curves["macro_auc"] - 0.3 * (run.curves["stage"] == "train_bce")
    curves = run.curves.assign(macro_auc=own, best_macro_auc=own)
    gains = stage_gains(replace(run, curves=curves)).set_index("stage")
    assert gains.loc["train_bce", "median_gain"] == pytest.approx(0.01)


def test_epochs_saved_by_pruning(tiny_run: Path) -> None:
    saved = epochs_saved(read_run(tiny_run)).iloc[0]

    # Three trials of 4 epochs and two stopped after 1: 14 epochs run, 20 without pruning; 14 x 30 s.
    assert (saved["epochs_run"], saved["epochs_full"]) == (14, 20)
    assert saved["saved_share"] == pytest.approx(0.3)
    assert saved["trial_hours"] == pytest.approx(14 * 30 / 3600)


def test_a_rung_tells_what_it_took_to_go_on(tiny_run: Path) -> None:
    row = rungs(read_run(tiny_run)).iloc[0]

    # trial_0002 (0.60) and trial_0005 (0.70) stopped after epoch 0; of those that went on, trial_0000 had the least:
    # 0.70 - 3 x 0.01.
    assert (row["epoch"], row["n_reached"], row["n_pruned"]) == (0, 5, 2)
    assert row["best_pruned"] == pytest.approx(0.70)
    assert row["lowest_kept"] == pytest.approx(0.67)
