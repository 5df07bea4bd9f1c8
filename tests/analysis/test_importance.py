from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.importance import importance_by_parameter
from analysis.tables import Run


def run_of(n_trials: int, *, is_conditional: bool = False) -> Run:
    """The score follows the learning rate alone; pooling and the number of heads do nothing."""
    rng = np.random.default_rng(0)
    log_rate = rng.uniform(-4, -2, n_trials)
    trials = pd.DataFrame(
        {
            "trial_id": [f"t{number}" for number in range(n_trials)],
            "number": range(n_trials),
            "status": "complete",
            "macro_auc": 0.9 - 0.1 * (log_rate + 3) ** 2,
            "config.optim.lr": 10**log_rate,
            "config.model.pool_type": rng.choice(["avg", "gem"], n_trials),
            "config.model.heads": rng.choice([2, 4, 8], n_trials),
        }
    )
    space = {"optim.lr": {"loguniform": [1e-4, 1e-2]}}
    if is_conditional:
        space["model.heads"] = {"choice": [2, 4, 8], "when": {"model.pool_type": ["gem"]}}
    return Run(Path(), {"space": space}, trials, pd.DataFrame())


@pytest.mark.parametrize("method", ["ped_anova", "fanova"])
def test_the_setting_that_makes_the_score_leads_and_passes_chance(method: str) -> None:
    importance = importance_by_parameter(run_of(60), method, n_resamples=5).set_index("parameter")

    assert importance.index[0] == "lr"
    assert importance["importance"]["lr"] > 0.8
    assert importance["importance"]["lr"] > importance["chance"]["lr"]
    assert importance["importance"].sum() == pytest.approx(1)
    assert (importance["low"] <= importance["high"]).all()


def test_a_conditional_setting_counts_where_it_is_active() -> None:
    run = run_of(40, is_conditional=True)

    importance = importance_by_parameter(run, n_resamples=3).set_index("parameter")

    assert importance["n_trials"]["heads"] == (run.trials["config.model.pool_type"] == "gem").sum()


def test_fanova_leaves_conditional_settings_out() -> None:
    importance = importance_by_parameter(run_of(20, is_conditional=True), "fanova", n_resamples=2)

    assert sorted(importance["parameter"]) == ["lr", "pool_type"]


def test_the_same_seed_gives_the_same_bars() -> None:
    run = run_of(20)

    first, again = (importance_by_parameter(run, n_resamples=3, seed=1) for _ in range(2))

    pd.testing.assert_frame_equal(first, again)


def test_too_few_trials_or_equal_scores_have_no_importance(run: Run) -> None:
    assert importance_by_parameter(replace(run, trials=run.trials.head(3))).empty
    assert importance_by_parameter(replace(run, trials=run.trials.assign(macro_auc=0.5))).empty


def test_a_resample_of_one_score_has_no_importance(run: Run) -> None:
    """With five trials, of which three score alike, some resamples hold a single score."""
    scores = [0.7, 0.8, 0.7, 0.7, None, 0.7, None]
    same = replace(run, trials=run.trials.assign(macro_auc=scores))

    assert importance_by_parameter(same, "fanova", n_resamples=20)["low"].min() == 0
