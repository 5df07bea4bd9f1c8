"""Pseudo-label rules: values worked out by hand, and properties that hold for any table."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sed_model.config.sed_config import Pseudo
from sed_model.core.errors import ConfigError
from sed_model.labels import rules
from sed_model.scores import combine, smoothing

CLASSES = ("1139490", "grekis")
probabilities = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.floats(0, 1, width=32)
)
members = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3)),
    elements=st.floats(0, 1, width=32),
)


def windows(n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "filename": [f"S{row}.ogg" for row in range(n)],
            "start_s": np.arange(n) * 5.0,
            "end_s": np.arange(n) * 5.0 + 5,
            "disagreement": np.zeros(n),
        }
    )


def labelled(rows: list[list[float]]) -> pd.DataFrame:
    return rules.label_table(windows(len(rows)), np.array(rows, np.float32), CLASSES)


TWO_MEMBERS = np.array([[[0.2, 0.8], [0.6, 0.4]], [[0.4, 0.6], [0.9, 0.1]]], np.float32)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("mean", [[0.3, 0.7], [0.75, 0.25]]),
        ("max", [[0.4, 0.8], [0.9, 0.4]]),
        ("vote", [[0.0, 1.0], [1.0, 0.0]]),
        # Roots of mean squares: (0.04 + 0.16) / 2 = 0.1, (0.64 + 0.36) / 2 = 0.5, ...
        ("power_mean", [[0.1**0.5, 0.5**0.5], [0.585**0.5, 0.085**0.5]]),
        # Both members order the windows alike in each class, so the means stay where they are.
        ("rank", [[0.3, 0.7], [0.75, 0.25]]),
    ],
)
def test_members_combine(method: str, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(combine.combine(TWO_MEMBERS, method), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("mean", [[0.35, 0.65], [0.825, 0.175]]),
        ("max", [[0.4, 0.8], [0.9, 0.4]]),
        ("vote", [[0.0, 1.0], [1.0, 0.0]]),
        ("power_mean", [[0.13**0.5, 0.43**0.5], [0.6975**0.5, 0.0475**0.5]]),
    ],
)
def test_members_count_by_their_weights(method: str, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(combine.combine(TWO_MEMBERS, method, np.array([1, 3])), expected, rtol=1e-6)


@given(members, st.sampled_from(combine.COMBINE_METHODS))
def test_a_member_alone_is_the_ensemble_whatever_the_method(by_member: np.ndarray, method: str) -> None:
    alone = np.eye(len(by_member))[0]
    expected = by_member[0] > 0.5 if method == "vote" else by_member[0]
    np.testing.assert_allclose(combine.combine(by_member, method, alone), expected, atol=1e-6)


@given(members, st.floats(1, 8))
def test_a_power_mean_lies_between_mean_and_maximum(by_member: np.ndarray, exponent: float) -> None:
    joined = combine.combine(by_member, "power_mean", exponent=exponent)
    assert (joined >= combine.combine(by_member, "mean") - 1e-5).all()
    assert (joined <= combine.combine(by_member, "max") + 1e-5).all()


@given(members)
def test_a_rank_average_has_the_values_of_the_mean_in_another_order(by_member: np.ndarray) -> None:
    """But for ties, which share theirs."""
    ranked, mean = (
        np.sort(combine.combine(by_member, "rank"), axis=0),
        np.sort(combine.combine(by_member, "mean"), axis=0),
    )
    assert (ranked >= mean[:1] - 1e-6).all()
    assert (ranked <= mean[-1:] + 1e-6).all()


def test_a_rank_average_does_not_let_a_loud_member_decide() -> None:
    quiet = np.array([[0.02], [0.03], [0.01]])
    loud = np.array([[0.5], [0.4], [0.9]])
    ranked = combine.combine(np.stack([quiet, loud, quiet]), "rank", np.array([1, 1, 1]))
    # Ranks 2 3 1, 2 1 3, 2 3 1: averages 2, 7/3, 5/3; the sorted means .14/3.. go in that order.
    means = np.sort((2 * quiet + loud) / 3, axis=0)[:, 0]
    np.testing.assert_allclose(ranked[:, 0], [means[1], means[2], means[0]], rtol=1e-6)


def test_a_window_is_labelled_by_the_members_that_may() -> None:
    weights = np.array([[1, 0], [1, 0]])  # the second window was a training recording of both
    weights[1, 0] = 0
    np.testing.assert_allclose(combine.combine(TWO_MEMBERS, "mean", weights), [[0.2, 0.8], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(combine.combine(TWO_MEMBERS, "max", weights), [[0.2, 0.8], [0, 0]], rtol=1e-6)
    np.testing.assert_array_equal(combine.disagreement(TWO_MEMBERS, weights), [0, 0])


def test_a_vote_is_the_share_of_members_above_a_half() -> None:
    three = np.array([[[0.5]], [[0.51]], [[0.9]]], np.float32)
    np.testing.assert_allclose(combine.combine(three, "vote"), [[2 / 3]], rtol=1e-6)


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"method=median.*mean, power_mean, max, vote, rank"):
        combine.combine(TWO_MEMBERS, "median")


def test_disagreement_is_the_spread_over_the_best_class() -> None:
    # Best classes by the mean: 1 (0.8, 0.6) and 0 (0.6, 0.9); standard deviations of two values: half their distance.
    np.testing.assert_allclose(combine.disagreement(TWO_MEMBERS), [0.1, 0.15], rtol=1e-5)


def test_smoothing_weights_a_window_with_its_neighbours() -> None:
    rows = np.array([[0.0], [1.0], [0.5]], np.float32)
    np.testing.assert_allclose(smoothing.smooth(rows, 0.8), [[0.1], [0.85], [0.6 - 0.05 + 0.0]], rtol=1e-6)


@given(probabilities, st.floats(0.01, 1))
def test_smoothing_keeps_the_range_of_each_class(rows: np.ndarray, centre: float) -> None:
    smoothed = smoothing.smooth(rows, centre)
    assert smoothed.shape == rows.shape
    assert (smoothed >= rows.min(axis=0) - 1e-6).all()
    assert (smoothed <= rows.max(axis=0) + 1e-6).all()


@given(probabilities)
def test_a_centre_of_one_leaves_everything_as_it_is(rows: np.ndarray) -> None:
    np.testing.assert_array_equal(smoothing.smooth(rows, 1.0), rows)


def test_silent_windows_have_no_class() -> None:
    rows = np.array([[0.9, 0.8], [0.7, 0.6]], np.float32)
    np.testing.assert_array_equal(
        smoothing.silence(rows, np.array([True, False])), np.array([[0, 0], rows[1]], np.float32)
    )


def test_the_best_class_is_the_primary_label_and_its_probability_the_weight() -> None:
    table = labelled([[0.9, 0.8], [0.1, 0.6]])
    assert table["primary_label"].tolist() == ["1139490", "grekis"]
    np.testing.assert_allclose(table["confidence"], [0.9, 0.6], rtol=1e-6)
    np.testing.assert_array_equal(table["weight"], table["confidence"])


def test_confident_windows_and_their_classes_are_kept() -> None:
    table = labelled([[0.9, 0.65], [0.1, 0.7], [0.71, 0.6], [0.2, 0.3]])
    kept = rules.keep_confident(table, CLASSES, Pseudo(keep_class=0.6, keep_window=0.7))
    assert kept["filename"].tolist() == ["S0.ogg", "S2.ogg"]  # 0.7 is not above 0.7
    assert kept["labels"].tolist() == [["1139490", "grekis"], ["1139490"]]  # 0.6 is not above 0.6
    np.testing.assert_allclose(np.stack(kept["probabilities"]), [[0.9, 0.65], [0.71, 0.6]], rtol=1e-6)


def test_unlisted_classes_are_soft_targets_down_to_the_trim_threshold() -> None:
    rows = [[0.9, 0.25], [0.9, 0.2]]
    kept = rules.keep_confident(labelled(rows), CLASSES, Pseudo(keep_class=0.6, keep_window=0.7, trim=0.2))
    assert kept["labels"].tolist() == [["1139490"], ["1139490"]]
    np.testing.assert_allclose(np.stack(kept["probabilities"]), [[0.9, 0.25], [0.9, 0]], rtol=1e-6)


def test_a_listed_class_is_never_trimmed() -> None:
    settings = Pseudo(keep_class=0.3, keep_window=0.3, trim=0.8)
    kept = rules.keep_confident(labelled([[0.5, 0.2]]), CLASSES, settings)
    np.testing.assert_allclose(np.stack(kept["probabilities"]), [[0.5, 0]], rtol=1e-6)


def test_a_power_shrinks_unsure_targets_and_their_weight_but_not_the_confidence() -> None:
    settings = Pseudo(keep_class=0.3, keep_window=0.3, trim=0.1, power=2)
    kept = rules.keep_confident(labelled([[0.9, 0.5]]), CLASSES, settings)
    np.testing.assert_allclose(np.stack(kept["probabilities"]), [[0.81, 0.25]], rtol=1e-6)
    np.testing.assert_allclose(kept[["confidence", "weight"]].to_numpy(), [[0.9, 0.81]], rtol=1e-6)


@given(probabilities, st.floats(0, 1), st.floats(0.1, 10))
def test_soft_targets_stay_probabilities_in_their_order(rows: np.ndarray, trim: float, power: float) -> None:
    targets = rules.soft_targets(rows, trim, power)
    assert ((targets >= 0) & (targets <= 1)).all()
    assert (targets[rows <= trim] == 0).all()
    order = np.argsort(rows, axis=0, kind="stable")
    assert (np.diff(np.take_along_axis(targets, order, axis=0), axis=0) >= 0).all()


def test_windows_whose_members_differ_are_left_out() -> None:
    table = labelled([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]]).assign(disagreement=[0.1, 0.25, 0.3])
    assert rules.keep_agreeing(table, 0.25)["filename"].tolist() == ["S0.ogg", "S1.ogg"]


def test_a_class_is_capped_at_its_most_confident_windows() -> None:
    table = labelled([[0.7, 0], [0.9, 0], [0, 0.6], [0.8, 0]])
    assert rules.cap_classes(table, 2)["filename"].tolist() == ["S1.ogg", "S2.ogg", "S3.ogg"]
    assert len(rules.cap_classes(table, 0)) == 4


def test_without_balance_the_most_confident_windows_are_kept() -> None:
    table = labelled([[0.99, 0], [0, 0.8], [0.98, 0]])
    assert rules.cap_confident(table, 2)["filename"].tolist() == ["S0.ogg", "S2.ogg"]


@given(
    probabilities.filter(lambda rows: rows.shape[1] == 2),
    st.builds(
        Pseudo,
        keep_class=st.floats(0, 1),
        keep_window=st.floats(0, 1),
        max_per_class=st.integers(0, 5),
        max_share=st.floats(0, 2),
        balance=st.booleans(),
        power=st.floats(0.5, 4),
    ),
)
def test_rules_keep_only_what_they_may(rows: np.ndarray, settings: Pseudo) -> None:
    kept, counts = rules.apply_rules(labelled(rows.tolist()), CLASSES, settings, n_real=5)
    left = list(counts.values())
    assert left == sorted(left, reverse=True)
    assert (counts["windows"], counts["kept"]) == (len(rows), len(kept))
    assert len(kept) <= int(settings.max_share * 5)
    assert (kept["confidence"] > settings.keep_window).all()
    assert all(primary in labels for primary, labels in zip(kept["primary_label"], kept["labels"], strict=True))
    if settings.max_per_class:
        assert kept["primary_label"].value_counts().max() <= settings.max_per_class or not len(kept)


@pytest.mark.parametrize(("balance", "kept"), [(True, ["S0.ogg", "S2.ogg"]), (False, ["S0.ogg", "S1.ogg"])])
def test_balance_chooses_between_the_best_of_each_class_and_the_best_of_all(balance: bool, kept: list[str]) -> None:
    settings = Pseudo(keep_class=0.5, keep_window=0.5, max_share=1, balance=balance)
    table, _ = rules.apply_rules(labelled([[0.99, 0], [0.98, 0], [0, 0.8]]), CLASSES, settings, n_real=2)
    assert table["filename"].tolist() == kept


def test_files_are_smoothed_by_themselves() -> None:
    rows = np.array([[0.0], [1.0], [1.0], [0.0]], np.float32)
    smoothed = smoothing.smooth_files(rows, ["a", "a", "b", "b"], 0.8)
    np.testing.assert_allclose(smoothed, [[0.1], [0.9], [0.9], [0.1]], rtol=1e-6)


def test_a_window_whose_classes_are_all_dropped_is_not_kept_as_an_empty_one() -> None:
    kept = rules.keep_confident(labelled([[0.75, 0.1], [0.9, 0.1]]), CLASSES, Pseudo(keep_class=0.8, keep_window=0.7))
    assert kept["labels"].tolist() == [["1139490"]]


def test_nothing_confident_is_an_empty_table() -> None:
    kept = rules.keep_confident(labelled([[0.1, 0.2]]), CLASSES, Pseudo())
    assert len(kept) == 0
    assert rules.to_arrow(rules.cap_balanced(kept, 10), CLASSES, 2).num_rows == 0


def test_the_cap_takes_the_best_of_each_class_first() -> None:
    rows = [[0.99, 0], [0.98, 0], [0.97, 0], [0, 0.8], [0, 0.75]]
    kept = rules.cap_balanced(labelled(rows), 3)
    # Best of both classes (S0, S3), then the better of the second best ones (S1); in table order.
    assert kept["filename"].tolist() == ["S0.ogg", "S1.ogg", "S3.ogg"]


@given(probabilities.filter(lambda rows: rows.shape[1] == 2), st.integers(0, 14))
def test_the_cap_holds_and_keeps_the_order_and_the_balance(rows: np.ndarray, max_rows: int) -> None:
    table = labelled(rows.tolist())
    kept = rules.cap_balanced(table, max_rows)
    assert len(kept) == min(max_rows, len(table))
    numbers = [int(name[1:-4]) for name in kept["filename"]]
    assert numbers == sorted(set(numbers))
    counts = [kept["primary_label"].tolist().count(label) for label in CLASSES]
    available = [table["primary_label"].tolist().count(label) for label in CLASSES]
    for count, most in zip(counts, available, strict=True):  # a class with windows left is at most one behind any other
        assert count == most or count >= max(counts) - 1


def test_the_file_format_is_the_contract() -> None:
    kept = rules.keep_confident(labelled([[0.9, 0.65]]), CLASSES, Pseudo())
    table = rules.to_arrow(kept, CLASSES, n_members=2)
    assert {field.name: str(field.type) for field in table.schema} == {
        "filename": "string",
        "start_s": "float",
        "end_s": "float",
        "primary_label": "string",
        "confidence": "float",
        "labels": "list<item: string>",
        "probabilities": "list<item: float>",
        "n_members": "int32",
        "disagreement": "float",
        "weight": "float",
        "from_validation": "bool",
    }
    assert json.loads(table.schema.metadata[b"classes"]) == list(CLASSES)
    row = table.to_pylist()[0]
    assert (row["primary_label"], row["labels"], row["n_members"]) == ("1139490", ["1139490", "grekis"], 2)
