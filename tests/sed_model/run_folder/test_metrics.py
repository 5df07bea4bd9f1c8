import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from sed_model.core.errors import DataError, TrainingError
from sed_model.run_folder.metrics import auc_per_class, macro_auc

# Columns: one of four pairs in the wrong order; a tie counts half; no positive; no negative.
TARGETS = np.array([[0, 0, 0, 1], [0, 0, 0, 1], [1, 1, 0, 1], [1, 0, 0, 1]], dtype=np.float32)
SCORES = np.array([[0.1, 0.2, 0.1, 0.4], [0.4, 0.5, 0.2, 0.3], [0.35, 0.5, 0.3, 0.2], [0.8, 0.2, 0.4, 0.1]])


def test_auc_per_class_counts_the_pairs_in_order() -> None:
    np.testing.assert_array_equal(auc_per_class(TARGETS, SCORES), [3 / 4, 2.5 / 3, np.nan, np.nan])


def test_macro_auc_is_the_mean_over_the_defined_classes_not_the_pooled_auc() -> None:
    assert macro_auc(TARGETS, SCORES) == pytest.approx((3 / 4 + 2.5 / 3) / 2, abs=1e-15)
    assert macro_auc(TARGETS, SCORES) != pytest.approx(roc_auc_score(TARGETS.ravel(), SCORES.ravel()), abs=0.01)


def test_soft_targets_are_positive_from_a_half() -> None:
    soft = np.array([[0.49], [0.0], [0.5], [1.0]])
    assert auc_per_class(soft, SCORES[:, :1])[0] == 3 / 4


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_ties_survive_every_type_of_score(dtype: type) -> None:
    scores = np.array([[1], [2], [2], [3]]).astype(dtype)
    assert macro_auc(np.array([[0], [0], [1], [1]]), scores) == 3.5 / 4


def test_scores_that_differ_in_the_last_digits_are_no_tie() -> None:
    assert macro_auc(np.array([[0], [1]]), np.array([[0.5], [0.5 + 1e-15]])) == 1.0


def test_infinite_scores_rank_first_and_last() -> None:
    scores = np.array([[-np.inf], [0.0], [np.inf]])
    assert macro_auc(np.array([[0], [0], [1]]), scores) == 1.0


@st.composite
def _labels_and_scores(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.tuples(st.integers(2, 40), st.integers(1, 4)))
    targets = draw(arrays(np.float32, shape, elements=st.sampled_from([0.0, 0.3, 0.5, 1.0])))
    # A coarse grid makes ties likely.
    scores = draw(arrays(np.float64, shape, elements=st.integers(-8, 8).map(lambda step: step / 8)))
    return targets, scores


@given(_labels_and_scores())
def test_auc_equals_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    targets, scores = case
    positive = targets >= 0.5
    expected = [
        roc_auc_score(positive[:, k], scores[:, k]) if 0 < positive[:, k].sum() < len(targets) else np.nan
        for k in range(targets.shape[1])
    ]
    np.testing.assert_allclose(auc_per_class(targets, scores), expected, rtol=0, atol=1e-12)


@given(_labels_and_scores())
def test_inputs_are_left_as_they_are(case: tuple[np.ndarray, np.ndarray]) -> None:
    targets, scores = case
    before = targets.copy(), scores.copy()
    auc_per_class(targets, scores)
    np.testing.assert_array_equal(targets, before[0])
    np.testing.assert_array_equal(scores, before[1])


def test_macro_auc_without_a_defined_class_is_an_error() -> None:
    with pytest.raises(DataError, match="1 of 2 classes have a positive, none has both a positive and a negative"):
        macro_auc(TARGETS[:, 2:], SCORES[:, 2:])


def test_macro_auc_without_rows_is_an_error() -> None:
    with pytest.raises(DataError, match="over 0 rows"):
        macro_auc(TARGETS[:0], SCORES[:0])


def test_nan_scores_are_refused_with_their_place() -> None:
    broken = SCORES.copy()
    broken[2, 1] = np.nan
    with pytest.raises(TrainingError, match=r"1 of 16 scores are NaN, first in row 2, class 1"):
        macro_auc(TARGETS, broken)


def test_nan_targets_are_refused_with_their_place() -> None:
    broken = TARGETS.copy()
    broken[3, 0] = np.nan
    with pytest.raises(DataError, match="row 3, class 0"):
        macro_auc(broken, SCORES)


def test_different_shapes_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(4, 3\) and scores \(4, 4\)"):
        macro_auc(TARGETS[:, :3], SCORES)
