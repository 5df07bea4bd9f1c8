from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.slices import INACTIVE, parallel_table, slice_table, thinned
from analysis.study import study_of
from analysis.tables import Run, read_run


def test_a_slice_leaves_out_trials_in_which_the_setting_was_not_active(tiny_run: Path) -> None:
    table = slice_table(read_run(tiny_run))

    gem_p = table[table["parameter"] == "gem_p"]
    assert gem_p["trial_id"].tolist() == ["trial_0001", "trial_0003"]
    pools = table[table["parameter"] == "pool_type"].drop_duplicates("value")
    assert dict(zip(pools["text"], pools["value"], strict=True)) == {"avg": 0.0, "gem": 1.0}


def test_a_line_runs_from_the_least_to_the_greatest_value(tiny_run: Path) -> None:
    table = parallel_table(read_run(tiny_run)).set_index(["parameter", "trial_id"])

    assert table.loc[("gem_p", "trial_0001"), "position"] == 0
    assert table.loc[("gem_p", "trial_0003"), "position"] == 1
    assert table.loc[("gem_p", "trial_0000"), "text"] == INACTIVE
    # lr was drawn on a logarithmic scale: from 1e-4 to 2e-3, 3e-4 is at log(3) / log(20).
    assert table.loc[("lr", "trial_0001"), "position"] == pytest.approx(np.log(3) / np.log(20))


def test_thousands_of_trials_are_thinned_to_the_best_the_middle_and_some_more(run: Run) -> None:
    n = 1000
    trials = pd.concat([run.trials.iloc[[0]]] * n, ignore_index=True)
    trials = trials.assign(number=range(n), trial_id=[f"t{i}" for i in range(n)], macro_auc=np.arange(n) / n)
    many = Run(run.path, run.search, trials, run.curves.head(0))

    shown = thinned(many, n_most=30).trials["number"].tolist()

    assert len(shown) == 30
    assert set(range(990, 1000)) <= set(shown)
    assert len([number for number in shown if 490 <= number <= 510]) >= 10


def test_few_trials_stay_as_they_are(run: Run) -> None:
    assert thinned(run) is run


def test_a_study_has_the_active_settings_of_the_scored_trials(tiny_run: Path) -> None:
    study = study_of(read_run(tiny_run), ["gem_p", "pool_type"])

    assert [sorted(trial.params) for trial in study.trials] == [
        ["pool_type"], ["gem_p", "pool_type"], ["pool_type"], ["gem_p", "pool_type"], ["pool_type"],
    ]  # fmt: skip
    assert study.best_value == pytest.approx(0.85)


def test_no_scored_trial_gives_no_slices(run: Run) -> None:
    assert slice_table(replace(run, trials=run.trials.assign(macro_auc=np.nan))).empty
