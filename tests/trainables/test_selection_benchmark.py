"""What the replay of selection rules computes, by hand; and that a summary replays like the recorded table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from _selection_auc import agreement, file_pairs, rank_agreement, standard_ranks, weighted_macro_auc
from _selection_replay import SetReplay, Validation, replay
from _selection_rules import (
    TODAY,
    Delivery,
    Search,
    all_rules,
    beyond_one_error,
    by_posterior,
    by_sum,
    combined_at_random,
    combined_by_score,
    finalists,
    probably_better,
    two_seeds,
)
from selection import jackknife_error, summarise, with_fitted
from tables.record import known_rows
from tables.summary import decode, encode, read_recorded, read_summary, read_tables, shifts, write_summary

from sed_model.run_folder.metrics import macro_auc

TARGETS = np.array([[1, 0], [0, 1], [1, 0], [0, 0]], dtype=np.int8)
FILES = np.array([0, 0, 1, 1], dtype=np.int16)
SCORES = np.array([[0.4, 0.1], [0.3, 0.9], [0.2, 0.1], [0.2, 0.9]])
"""Class 0 has pairs (.4, .3), (.4, .2), (.2, .3), (.2, .2): 2.5 of 4; class 1: .9 against .1, .1, .9: 2.5 of 3."""


def test_auc_of_files_that_count_once() -> None:
    auc = file_pairs(TARGETS, SCORES[None], FILES).macro_auc(np.ones((1, 2)))

    assert auc == pytest.approx((2.5 / 4 + 2.5 / 3) / 2)


def test_auc_of_files_that_count_more_than_once_or_not_at_all() -> None:
    """Of file 0 alone all pairs are right; of file 1 alone only class 0 has both kinds, and they tie."""
    pairs = file_pairs(TARGETS, SCORES[None], FILES)
    three_to_one = np.repeat(np.arange(4), [3, 3, 1, 1])

    auc = pairs.macro_auc(np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]]))[:, 0]

    assert auc == pytest.approx([1.0, 0.5, macro_auc(TARGETS[three_to_one], SCORES[three_to_one])])


def test_auc_is_undefined_where_no_class_has_both_kinds() -> None:
    assert np.isnan(file_pairs(TARGETS[:2, :1] * 0, SCORES[None, :2, :1], FILES[:2]).macro_auc(np.ones((1, 1)))).all()


def test_auc_of_weighted_windows_is_that_of_weighted_files() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((60, 3)) < 0.3).astype(np.int8)
    scores, files = rng.random((2, 60, 3)), np.repeat(np.arange(6), 10).astype(np.int16)
    weights = np.array([[1.0] * 6, [2.0, 0, 1, 0, 3, 1]])

    auc = weighted_macro_auc(targets, scores, weights[:, files])

    assert auc == pytest.approx(file_pairs(targets, scores, files).macro_auc(weights).T, abs=1e-6)
    assert auc[:, 0] == pytest.approx([macro_auc(targets, one) for one in scores], abs=1e-6)


def test_agreement_is_a_rank_correlation_with_the_mean_of_the_others() -> None:
    """Ranks of the third are those of the others turned round; the mean of the first and the third is .5, .4, .7."""
    scores = np.array([[0.1, 0.2, 0.9], [0.3, 0.5, 0.6], [0.9, 0.6, 0.5]])[:, :, None]

    assert agreement(scores) == pytest.approx([-0.5, 0.5, -1.0], abs=1e-6)


def test_agreement_with_mean_ranks() -> None:
    """Each of three: two agree, so their ranks and those of the third cancel for either; the third opposes both."""
    ranks = standard_ranks(np.array([[1.0, 2, 3], [10.0, 20, 30], [3.0, 2, 1]])[:, :, None])

    assert rank_agreement(ranks) == pytest.approx([0, 0, -1], abs=1e-6)


def search(scores: list[float], noise: float = 0.0, agreed: list[float] | None = None) -> Search:
    """Candidates are rows 0, 1, ..; each has a twin 10 rows on that scores .01 less; the files' noise is `noise`."""
    n = len(scores)
    by_row = np.array([*scores, *[0.0] * (10 - n), *(np.array(scores) - 0.01)])
    resampled = np.array(scores) + noise * np.where(np.arange(n) > 0, 1, 0) * np.array([[1.0], [-1.0]])
    similarity = {"mean": np.array(agreed or scores), "ranks": np.array(agreed or scores)}
    twins = {row: (row + 10,) for row in range(n)}
    return Search(tuple(range(n)), {"mean": by_row, "best": by_row}, "mean", similarity, resampled, twins)


def test_the_default_is_left_for_more_than_one_standard_error_only() -> None:
    """Leads .05 on the files, plus or minus the noise: a standard deviation of 1.41 noise."""
    assert beyond_one_error(search([0.7, 0.75, 0.6], noise=0.03)) == Delivery((1,))
    assert beyond_one_error(search([0.7, 0.75, 0.6], noise=0.04)) == Delivery((0,))


def test_the_default_is_left_where_the_other_is_probably_better() -> None:
    assert probably_better(search([0.7, 0.75, 0.6], noise=0.04)) == Delivery((1,))
    assert probably_better(search([0.7, 0.75, 0.6], noise=0.06)) == Delivery((0,))


def test_a_posterior_mean_is_shrunk_to_the_mean_lead() -> None:
    """Leads .05 and -.15 (mean -.05, variance .02); noise of variance .0128 leaves .0072: lead -.014."""
    assert by_posterior(search([0.7, 0.75, 0.55])) == Delivery((1,))
    assert by_posterior(search([0.7, 0.75, 0.55], noise=0.08)) == Delivery((0,))


def test_weight_decides_between_score_and_agreement() -> None:
    mixed = search([0.7, 0.8, 0.6], agreed=[0.5, 0.1, 0.9])

    assert [by_sum(mixed, weight, "mean").members for weight in (0.25, 0.75)] == [(1,), (2,)]


def test_finalists_have_the_default_or_leave_it_out() -> None:
    scores = np.array([0.9, 0.7, 0.8, 0.6])

    assert finalists(scores, 2, with_default=True) == [0, 2]
    assert finalists(scores, 2, with_default=False) == [2, 1]
    assert finalists(scores, None, with_default=True) == [0, 2, 1, 3]


def test_two_seeds_train_the_finalists_once_more() -> None:
    delivery = two_seeds(search([0.7, 0.75, 0.6]), 2, "one")

    assert delivery == Delivery((1, 11), "one", trained=(0, 1, 2, 10, 11))
    assert two_seeds(search([0.7, 0.75]), 3, "one") is None


def test_two_candidates_have_no_spread_to_shrink_by_and_no_three_finalists() -> None:
    assert by_posterior(search([0.7, 0.75])) is None
    assert combined_by_score(search([0.7, 0.75]), 3, "mean", with_default=True) is None


def test_candidates_at_random_cost_only_themselves() -> None:
    assert combined_at_random(search([0.7, 0.75, 0.6]), 2) == Delivery((0, 1), "mean", trained=(0, 1))


def test_a_fitted_rule_takes_the_setting_that_gains_most_on_the_other_sets() -> None:
    gains = {"one": (0.03, 0.0), "two": (0.0, 0.01), "three": (0.0, 0.05)}
    rows = [
        {"set": name, "files": "half", "n": 8, "rule": rule, "gain": gain}
        for name, of_set in gains.items()
        for rule, gain in zip(("score", "score + 0.5 agreement with mean"), of_set, strict=True)
    ]

    table = with_fitted(pd.DataFrame(rows))

    fitted = table[table["rule"] == "score + agreement with mean, weight from the other sets"].set_index("set")
    assert fitted["gain"].to_dict() == {"one": 0.0, "two": 0.01, "three": 0.0}
    assert fitted.loc["three", "chosen"] == "score"


def test_jackknife_error_of_ten_parts() -> None:
    """Means by part are 0 five times and .2 five times: sqrt(.9 x 10 x .01)."""
    leads = pd.Series([np.array([0.0, 0.2] * 5), np.array([0.0, 0.2] * 5), np.array([])])

    assert jackknife_error(leads) == pytest.approx(0.3)
    assert np.isnan(jackknife_error(pd.Series([np.array([])])))


def test_codes_keep_the_order_and_equal_scores() -> None:
    scores = np.array([0.0, 0.5, 0.5, 0.9, 1.0], dtype=np.float16)[None, :, None]

    codes, limits = encode(scores, 256)

    assert codes[0, 0].tolist() == [0, 128, 128, 145, 255]
    assert limits.ravel().tolist() == [-16.0, 16.0]
    assert decode(codes, limits, 256) == pytest.approx(scores.astype(float), abs=0.02)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Two sets of four configurations, two seeds each, on six files of a part, and twelve of the test."""
    rng = np.random.default_rng(0)
    files = np.repeat(np.arange(6), 12).astype(np.int16)
    targets = (rng.random((72, 3)) < 0.3).astype(np.int8)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        truth = {"labelled_files": files, "unlabelled_files": files, "test_files": np.arange(72, dtype=np.int16) // 6}
        np.savez(tmp_path / name / "truth.npz", labelled_targets=targets, test_targets=targets, **truth)
        for number, seed in np.ndindex(4, 2):
            windows = {part: record_windows(targets, rng) for part in ("labelled", "unlabelled", "test")}
            windows["unlabelled"] = windows["unlabelled"][2:]
            write_row(tmp_path / name / f"{number:03d}_{seed}", targets, windows)
    return tmp_path


def record_windows(targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (1 / (1 + np.exp(1 - targets - rng.normal(size=(3, *targets.shape))))).astype(np.float16)


def write_row(file: Path, targets: np.ndarray, windows: dict[str, np.ndarray]) -> None:
    number, seed = map(int, file.name.split("_"))
    scores = {
        f"{part}_{variant}": macro_auc(targets, windows[part][place])
        for part in ("labelled", "test")
        for place, variant in enumerate(("best", "last", "mean"))
    }
    facts = {"number": number, "seed": seed, "values": {"optim.lr": 0.1} if number else {}, "curve": [0.5, 0.6]}
    np.savez(file.with_suffix(".npz"), **windows)
    file.with_suffix(".json").write_text(json.dumps({**facts, **scores}), encoding="utf-8")


def test_a_summary_replays_like_the_table(recorded: Path, tmp_path: Path) -> None:
    (table, _) = read_tables(recorded)
    file = write_summary(table, tmp_path / "summary")

    summary = read_summary(file)

    assert max(shifts(table, summary).values()) < 0.01
    assert summary.n_epochs.tolist() == [2] * 8
    assert summary.rows["test_best"].tolist() == pytest.approx(table.rows["test_best"].tolist())
    assert summary.predictions["unlabelled", "mean"].shape == (8, 72, 3)
    (of_summary,) = read_tables(tmp_path / "summary")
    assert of_summary.name == "one"


def test_a_summary_grows_by_what_is_recorded_later(recorded: Path, tmp_path: Path) -> None:
    """A row that is recorded anew replaces the earlier one, and all stay in the order of seed and number."""
    table = read_recorded(recorded / "one")
    first, second = table.rows.iloc[[0, 2, 5]], table.rows.iloc[[1, 2, 7]]
    write_summary(table.only(first), tmp_path)

    file = write_summary(table.only(second), tmp_path)

    summary = read_summary(file)
    assert list(zip(summary.rows["number"], summary.rows["seed"], strict=True)) == [
        (0, 0),
        (1, 0),
        (0, 1),
        (2, 1),
        (3, 1),
    ]
    expected = table.only(summary.rows)
    for part in ("labelled", "test"):
        assert summary.predictions[part, "mean"] == pytest.approx(expected.predictions[part, "mean"], abs=0.01)
    assert known_rows(tmp_path, "one") == {(0, 0), (1, 0), (0, 1), (2, 1), (3, 1)}
    assert known_rows(tmp_path, "two") == set()


def test_every_rule_delivers_in_every_search(recorded: Path) -> None:
    """Of four configurations searches of 3, and of all of them where 8 are asked for; an epoch is half a training."""
    tables = [SetReplay(table, "mean") for table in read_tables(recorded)]
    results = pd.concat([replay(table, [3, 4, 8], 2, all_rules()) for table in tables], ignore_index=True)

    labelled = results[results["files"] == "labelled"]
    missing = set(all_rules()) - set(labelled["rule"])
    assert missing == {name for name in all_rules() if name.startswith(("6", "8", "default, mean of 4"))}
    assert set(labelled["n"]) == {3, 4}
    assert (labelled[labelled["rule"] == TODAY].groupby("n")["epochs"].first() == [6, 8]).all()
    table = with_fitted(summarise(results))
    assert (table.loc[table["rule"] == TODAY, "over_today"] == 0).all()
    assert table.loc[table["rule"] == "default", ["gain", "worse"]].to_numpy().max() == 0


def test_single_rows_are_judged_by_the_recorded_score(recorded: Path) -> None:
    table = read_recorded(recorded / "one")

    judged = SetReplay(table, "mean").judge_rows([0, 5], np.ones((1, 12)))

    assert judged[:, 0] == pytest.approx(table.rows["test_mean"].iloc[[0, 5]].tolist(), abs=1e-6)


def test_files_of_the_test_are_drawn_once_and_do_not_judge(recorded: Path) -> None:
    table = SetReplay(read_recorded(recorded / "one"), "mean")
    candidates = table.draw_candidates(3, np.random.default_rng(0))

    drawn, judging = table.search(
        candidates, table.agreement(candidates), Validation("test part", "test", 2), np.random.default_rng(0)
    )

    assert judging.sum() == 10
    assert table.table.rows["number"].iloc[list(drawn.candidates)].iloc[0] == 0
    assert list(drawn.scores) == ["mean"]
