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
from sed_model.labels import rules

CLASSES = ("1139490", "grekis")
probabilities = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.floats(0, 1, width=32)
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
        keep_top_share=st.sampled_from([0, 0.3, 1]),
    ),
)
def test_rules_keep_only_what_they_may(rows: np.ndarray, settings: Pseudo) -> None:
    kept, counts = rules.apply_rules(labelled(rows.tolist()), CLASSES, settings, n_real=5)
    left = list(counts.values())
    assert left == sorted(left, reverse=True)
    assert (counts["windows"], counts["kept"]) == (len(rows), len(kept))
    assert len(kept) <= int(settings.max_share * 5)
    least = min(settings.trim, settings.keep_class) if settings.keep_top_share else settings.keep_window
    assert (kept["confidence"] > least).all()
    assert (kept["weight"] > 0).all()
    assert all(primary in labels for primary, labels in zip(kept["primary_label"], kept["labels"], strict=True))
    if settings.max_per_class:
        assert kept["primary_label"].value_counts().max() <= settings.max_per_class or not len(kept)


@pytest.mark.parametrize(("balance", "kept"), [(True, ["S0.ogg", "S2.ogg"]), (False, ["S0.ogg", "S1.ogg"])])
def test_balance_chooses_between_the_best_of_each_class_and_the_best_of_all(balance: bool, kept: list[str]) -> None:
    settings = Pseudo(keep_class=0.5, keep_window=0.5, max_share=1, balance=balance)
    table, _ = rules.apply_rules(labelled([[0.99, 0], [0.98, 0], [0, 0.8]]), CLASSES, settings, n_real=2)
    assert table["filename"].tolist() == kept


def test_a_window_whose_classes_are_all_dropped_is_not_kept_as_an_empty_one() -> None:
    kept = rules.keep_confident(labelled([[0.75, 0.1], [0.9, 0.1]]), CLASSES, Pseudo(keep_class=0.8, keep_window=0.7))
    assert kept["labels"].tolist() == [["1139490"]]


def test_the_best_share_of_a_class_is_kept_however_unsure_it_is() -> None:
    """Half of the four windows of the second class above trim, and of the one of the first; 0.09 is below trim."""
    rows = [[0.3, 0.1], [0.1, 0.2], [0.1, 0.5], [0.3, 0.4], [0.1, 0.3], [0.05, 0.09]]
    settings = Pseudo(keep_class=0.6, keep_window=0.7, trim=0.1, keep_top_share=0.5, max_share=10)
    table, counts = rules.apply_rules(labelled(rows), CLASSES, settings, n_real=1)
    assert table["filename"].tolist() == ["S0.ogg", "S2.ogg", "S3.ogg"]
    assert table["labels"].tolist() == [["1139490"], ["grekis"], ["grekis"]]
    np.testing.assert_allclose(np.stack(table["probabilities"]), [[0.3, 0], [0, 0.5], [0.3, 0.4]], rtol=1e-6)
    assert counts["confident"] == 3
    assert not len(rules.apply_rules(labelled(rows), CLASSES, Pseudo(), n_real=1)[0])


def test_a_rare_class_has_windows_beside_a_sure_one() -> None:
    """Twenty sure windows leave it room: the cap takes the best of each class in turn."""
    table = labelled([[0.9 + row / 1000, 0] for row in range(20)] + [[0, 0.2], [0, 0.15]])
    kept, _ = rules.apply_rules(table, CLASSES, Pseudo(keep_top_share=0.2), n_real=10)
    assert kept["primary_label"].value_counts().to_dict() == {"1139490": 2, "grekis": 1}


@pytest.mark.parametrize(("number", "power"), [(1, 1.5), (2, 3.0), (3, 6.0), (9, 10.0)])
def test_the_power_grows_with_each_round(number: int, power: float) -> None:
    """Up to the limit of the key."""
    assert rules.power_in_round(number, Pseudo(power=1.5, power_growth=2)) == power


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
