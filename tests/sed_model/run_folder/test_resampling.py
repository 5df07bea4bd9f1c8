import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sed_model.run_folder.metrics import auc_per_class
from sed_model.run_folder.resampling import mean_of_classes, weighted_macro_aucs


def macro_auc(target: np.ndarray, probabilities: np.ndarray) -> float:
    return float(mean_of_classes(auc_per_class(target, probabilities)))


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
