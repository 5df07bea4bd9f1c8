import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.metrics import class_aucs, macro_auc, weighted_macro_aucs


def test_macro_auc_worked_out_by_hand() -> None:
    # Class 0: 2 of 2 pairs won. Class 1: scores .4 and .1 against .4 and .1: 1 won, 2 ties, 1 lost = 2 of 4.
    target = np.array([[1, 0], [0, 1], [0, 0], [0, 1]])
    probabilities = np.array([[0.9, 0.4], [0.2, 0.4], [0.3, 0.1], [0.1, 0.1]])

    assert class_aucs(target, probabilities).tolist() == [1.0, 0.5]
    assert macro_auc(target, probabilities) == 0.75


def test_classes_without_a_positive_or_a_negative_do_not_count() -> None:
    target = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    probabilities = np.array([[0.9, 0.5, 0.5], [0.1, 0.5, 0.5]])

    assert np.isnan(class_aucs(target, probabilities)[1:]).all()
    assert macro_auc(target, probabilities) == 1.0


def test_soft_labels_are_positive_from_a_half() -> None:
    assert macro_auc(np.array([[0.5], [0.49]]), np.array([[0.8], [0.2]])) == 1.0


def test_no_class_that_counts_has_no_score() -> None:
    assert np.isnan(macro_auc(np.zeros((3, 2)), np.full((3, 2), 0.5)))


@settings(deadline=None)
@given(st.data())
def test_a_weight_is_a_number_of_copies(data: st.DataObject) -> None:
    n_windows = data.draw(st.integers(1, 12))
    vectors = st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.8]), min_size=2 * n_windows, max_size=2 * n_windows)
    target, probabilities = (np.array(data.draw(vectors)).reshape(n_windows, 2) for _ in range(2))
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n_windows, max_size=n_windows)))
    copies = np.repeat(np.arange(n_windows), weights)
    expected = macro_auc(target[copies], probabilities[copies])

    actual = weighted_macro_aucs(target, probabilities, np.stack([weights, np.ones_like(weights)]))

    assert actual == pytest.approx([expected, macro_auc(target, probabilities)], nan_ok=True)
