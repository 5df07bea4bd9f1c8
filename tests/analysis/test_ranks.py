from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis.ranks import bootstrap_spread, rank_trials, what_mattered
from analysis.summary import summarise
from analysis.tables import Run, RunFolderError, read_run
from tests.analysis.conftest import trial_rows, with_refits, write_table


def test_trials_are_ranked_by_score_complete_before_pruned_failed_last(tiny_run: Path) -> None:
    ranking = rank_trials(read_run(tiny_run))

    assert ranking["trial_id"].tolist() == [
        "trial_0003", "trial_0001", "trial_0000", "trial_0005", "trial_0002", "trial_0006", "trial_0004",
    ]  # fmt: skip
    assert ranking["rank"].dropna().tolist() == [1, 2, 3, 4, 5]
    assert ranking["error"].tolist()[-1] == "out of memory"


def test_finalists_that_were_trained_again_come_first_by_their_mean(tiny_run: Path) -> None:
    ranking = rank_trials(read_run(with_refits(tiny_run)))

    assert ranking["trial_id"].tolist()[:4] == ["trial_0000", "trial_0003", "trial_0001", "trial_0005"]
    assert ranking["rank"].tolist()[:4] == [1, 2, 3, 4]
    assert ranking["gap"].tolist()[:2] == pytest.approx([0.15, 0])


def test_the_summary_tells_the_mean_of_new_trainings(tiny_run: Path) -> None:
    sentences = summarise(read_run(with_refits(tiny_run)), None, pd.DataFrame({"parameter": []}))

    assert "it reaches 0.8200 ± 0.0100 (mean of 3 trainings, without the score that chose it)." in sentences[2]


def test_a_mean_above_one_is_refused(tiny_run: Path) -> None:
    write_table(tiny_run / "trials.parquet", [row | {"refit_mean": 1.5} for row in trial_rows()])

    with pytest.raises(RunFolderError, match="refit_mean"):
        read_run(tiny_run)


def test_a_failed_trial_has_no_rank_whatever_it_reached(run: Run) -> None:
    trials = run.trials.assign(macro_auc=run.trials["macro_auc"].fillna(0.99))

    ranking = rank_trials(replace(run, trials=trials)).set_index("trial_id")

    assert ranking["rank"].isna()["trial_0004"]
    assert ranking["rank"]["trial_0006"] == 1
    assert ranking["gap"]["trial_0003"] == pytest.approx(0.14)


def test_the_gap_is_the_distance_to_the_best(tiny_run: Path) -> None:
    gaps = rank_trials(read_run(tiny_run))["gap"]

    assert gaps.dropna().tolist() == pytest.approx([0, 0.05, 0.15, 0.15, 0.25])


def test_only_varied_settings_are_shown(tiny_run: Path) -> None:
    ranking = rank_trials(read_run(tiny_run))

    assert list(ranking.columns[-3:]) == ["pool_type", "gem_p", "lr"]


def test_a_run_where_all_trials_failed_has_no_ranks(run: Run) -> None:
    ranking = rank_trials(replace(run, trials=run.trials.assign(status="failed")))

    assert ranking["rank"].isna().all()


def test_the_interval_holds_the_score_and_the_leader_beats_a_noisy_trial(tiny_run: Path) -> None:
    spread = bootstrap_spread(read_run(tiny_run), ["trial_0000", "trial_0001", "trial_0003"]).set_index("trial_id")

    assert spread.index.tolist() == ["trial_0003", "trial_0001", "trial_0000"]
    assert (spread["low"] < spread["macro_auc"]).all()
    assert (spread["macro_auc"] < spread["high"]).all()
    assert np.isnan(spread["p_leader_better"]["trial_0003"])
    assert spread["p_leader_better"]["trial_0000"] > 0.95
    assert spread["n_files"].tolist() == [6, 6, 6]


def test_equal_predictions_are_a_coin_flip(tiny_run: Path) -> None:
    source = tiny_run / "trials" / "trial_0003" / "oof.parquet"
    (tiny_run / "trials" / "trial_0001" / "oof.parquet").write_bytes(source.read_bytes())

    spread = bootstrap_spread(read_run(tiny_run), ["trial_0001", "trial_0003"])

    assert spread["p_leader_better"][1] == 0.5


def test_one_file_leaves_nothing_to_resample(tiny_run: Path) -> None:
    file = tiny_run / "trials" / "trial_0003" / "oof.parquet"
    pq.write_table(pq.read_table(file).slice(0, 4), file)

    spread = bootstrap_spread(read_run(tiny_run), ["trial_0003"])

    assert spread["low"][0] == spread["macro_auc"][0] == spread["high"][0]


def test_the_same_seed_draws_the_same_spread(run: Run) -> None:
    first, again, other = (
        bootstrap_spread(run, ["trial_0000", "trial_0001"], n_resamples=50, seed=seed) for seed in (1, 1, 2)
    )

    assert first.equals(again)
    assert not first.equals(other)


def test_trials_of_other_classes_cannot_be_compared(tiny_run: Path) -> None:
    file = tiny_run / "trials" / "trial_0001" / "oof.parquet"
    pq.write_table(pq.read_table(file).replace_schema_metadata({b"classes": b'["a", "b", "c"]'}), file)

    with pytest.raises(RunFolderError, match=r"trial_0001 have other classes than trial_0003"):
        bootstrap_spread(read_run(tiny_run), ["trial_0003", "trial_0001"])


def test_predictions_that_cannot_be_scored_are_named(tiny_run: Path) -> None:
    file = tiny_run / "trials" / "trial_0001" / "oof.parquet"
    pq.write_table(pq.read_table(file).slice(0, 1), file)

    with pytest.raises(RunFolderError, match="trial_0001 have no class with both a positive and a negative"):
        bootstrap_spread(read_run(tiny_run), ["trial_0003", "trial_0001"])


def test_an_unknown_trial_is_named(tiny_run: Path) -> None:
    with pytest.raises(ValueError, match=r"not there: \['trial_0009'\]"):
        bootstrap_spread(read_run(tiny_run), ["trial_0003", "trial_0009"])


def test_what_mattered_gives_medians_by_value(tiny_run: Path) -> None:
    mattered = what_mattered(read_run(tiny_run))

    pooling = mattered[mattered["parameter"] == "pool_type"].set_index("value")
    # gem: .80 and .85 (trial_0004 failed, trial_0006 runs); avg: .60, .70, .70.
    assert pooling["median"].to_dict() == pytest.approx({"gem": 0.825, "avg": 0.70})
    assert pooling["n_trials"].to_dict() == {"gem": 2, "avg": 3}
    assert pooling["n_complete"].to_dict() == {"gem": 2, "avg": 1}
    assert pooling["effect"].tolist() == pytest.approx([0.125, 0.125])


def test_an_inactive_setting_does_not_count_for_its_default(tiny_run: Path) -> None:
    mattered = what_mattered(read_run(tiny_run))

    assert mattered.loc[mattered["parameter"] == "gem_p", "value"].tolist() == ["4", "2"]


def test_numbers_with_many_values_are_cut_into_terciles(tiny_run: Path) -> None:
    mattered = what_mattered(read_run(tiny_run))

    rates = mattered[mattered["parameter"] == "lr"]
    assert rates["n_trials"].sum() == 5
    assert rates["value"].tolist() == ["0.0003667 to 0.001167", "0.0001 to 0.0003667", "0.001167 to 0.002"]


def test_terciles_leave_inactive_values_out(run: Run) -> None:
    gem, avg = (run.trials[run.trials["trial_id"] == name] for name in ("trial_0001", "trial_0000"))
    exponents = [gem.assign(trial_id=f"g{n}", number=10 + n, **{"config.model.gem_p": 1.0 + n}) for n in range(6)]

    mattered = what_mattered(replace(run, trials=pd.concat([avg, *exponents], ignore_index=True)))

    rows = mattered[mattered["parameter"] == "gem_p"]
    assert sorted(zip(rows["value"], rows["n_trials"], strict=True)) == [
        ("1 to 2.667", 2),
        ("2.667 to 4.333", 2),
        ("4.333 to 6", 2),
    ]


def test_the_widest_effect_comes_first(tiny_run: Path) -> None:
    assert what_mattered(read_run(tiny_run))["parameter"].unique().tolist() == ["lr", "pool_type", "gem_p"]


def test_nothing_mattered_where_nothing_was_scored(run: Run) -> None:
    mattered = what_mattered(replace(run, trials=run.trials.assign(status="failed")))

    assert mattered.empty
    assert "effect" in mattered
