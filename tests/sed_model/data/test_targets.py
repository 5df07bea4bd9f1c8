import numpy as np
import pytest

from sed_model.config.sed_config import Data
from sed_model.config.training import Stage
from sed_model.core.errors import DataError
from sed_model.data.targets import TargetBuilder, Truth, union

BUILDER = TargetBuilder(["1139490", "grekis", "compau"])
RATED = Data(rating_weight=True)


def _truth(targets: list[float], mask: list[int], weight: float) -> Truth[np.ndarray]:
    return Truth(np.array(targets, np.float32), np.array(mask, bool), np.array(weight, np.float32))


def _check(truth: Truth[np.ndarray], targets: list[float], mask: list[int], weight: float) -> None:
    np.testing.assert_array_equal(truth.targets, np.array(targets, np.float32))
    np.testing.assert_array_equal(truth.mask, np.array(mask, bool))
    assert truth.weights == np.float32(weight)
    assert (truth.targets.dtype, truth.mask.dtype, truth.weights.dtype) == (np.float32, np.bool_, np.float32)


@pytest.mark.parametrize(
    ("primary", "secondary", "rating", "stage", "data", "targets", "mask", "weight"),
    [
        ("grekis", [], 4, Stage(), Data(), [0, 1, 0], [1, 1, 1], 1),
        ("grekis", ["compau"], 4, Stage(secondary_weight=None), Data(), [0, 1, 0], [1, 1, 1], 1),
        ("grekis", ["compau"], 4, Stage(secondary_weight=0), Data(), [0, 1, 0], [1, 1, 0], 1),
        ("grekis", ["compau"], 4, Stage(secondary_weight=0.9), Data(), [0, 1, 0.9], [1, 1, 1], 1),
        ("1139490", ["compau", "grekis"], 4, Stage(secondary_weight=0.3), Data(), [1, 0.3, 0.3], [1, 1, 1], 1),
        # CE: the primary label alone, so that the row sums to 1.
        ("grekis", ["compau"], 4, Stage(loss="ce"), Data(), [0, 1, 0], [1, 1, 1], 1),
        # Secondary labels outside the classes, and the empty one of "['']", are passed over.
        ("grekis", ["", "unknown"], 4, Stage(secondary_weight=0.9), Data(), [0, 1, 0], [1, 1, 1], 1),
        # A primary label that is listed as a secondary one too stays a full target.
        ("grekis", ["grekis"], 4, Stage(secondary_weight=0), Data(), [0, 1, 0], [1, 1, 1], 1),
        ("grekis", ["grekis"], 4, Stage(secondary_weight=0.5), Data(), [0, 1, 0], [1, 1, 1], 1),
        # Ratings act on the weight, never on the target; 0 and NaN are "not rated".
        ("grekis", [], 5, Stage(), RATED, [0, 1, 0], [1, 1, 1], 1),
        ("grekis", [], 2, Stage(), RATED, [0, 1, 0], [1, 1, 1], 0.4),
        ("grekis", [], 0, Stage(), RATED, [0, 1, 0], [1, 1, 1], 0.6),
        ("grekis", [], float("nan"), Stage(), RATED, [0, 1, 0], [1, 1, 1], 0.6),
        ("grekis", ["compau"], 1, Stage(secondary_weight=0.9), RATED, [0, 1, 0.9], [1, 1, 1], 0.2),
    ],
)
def test_truth_of_a_recording(
    primary: str,
    secondary: list[str],
    rating: float,
    stage: Stage,
    data: Data,
    targets: list[float],
    mask: list[int],
    weight: float,
) -> None:
    _check(BUILDER.for_recording(primary, secondary, rating, stage, data), targets, mask, weight)


def test_truth_of_a_labelled_soundscape_window() -> None:
    _check(BUILDER.for_soundscape([1, 0, 1]), [1, 0, 1], [1, 1, 1], 1)


def test_truth_of_a_window_without_calls() -> None:
    _check(BUILDER.for_soundscape([0, 0, 0]), [0, 0, 0], [1, 1, 1], 1)


def test_confidence_is_the_weight_of_a_pseudo_label_and_leaves_its_targets_alone() -> None:
    _check(BUILDER.for_pseudo([0.25, 0.75, 0.0], confidence=0.5), [0.25, 0.75, 0], [1, 1, 1], 0.5)


@pytest.mark.parametrize(
    ("first", "second", "targets", "mask", "weight"),
    [
        (_truth([1, 0, 0], [1, 1, 1], 1), _truth([0, 0.5, 0], [1, 1, 1], 0.5), [1, 0.5, 0], [1, 1, 1], 0.75),
        (_truth([0.3, 1, 0], [1, 1, 1], 1), _truth([0.6, 1, 0], [1, 1, 1], 1), [0.6, 1, 0], [1, 1, 1], 1),
        # Open in one source and absent or faint in the other: open.
        (_truth([1, 0, 0], [1, 0, 1], 1), _truth([0, 0, 1], [1, 1, 1], 1), [1, 0, 1], [1, 0, 1], 1),
        (_truth([1, 0, 0], [1, 0, 1], 1), _truth([0, 0.3, 1], [1, 1, 1], 1), [1, 0, 1], [1, 0, 1], 1),
        # Open in one source and present in the other: present.
        (_truth([1, 0, 0], [1, 0, 1], 1), _truth([0, 0.9, 0], [1, 1, 1], 1), [1, 0.9, 0], [1, 1, 1], 1),
        (_truth([1, 0, 0], [1, 0, 1], 1), _truth([1, 0, 0], [1, 0, 1], 1), [1, 0, 0], [1, 0, 1], 1),
    ],
)
def test_union_of_two_sources(
    first: Truth[np.ndarray], second: Truth[np.ndarray], targets: list[float], mask: list[int], weight: float
) -> None:
    _check(union([first, second]), targets, mask, weight)
    _check(union([second, first]), targets, mask, weight)


def test_union_of_one_source_is_that_source() -> None:
    _check(union([_truth([0, 0.4, 1], [0, 1, 1], 0.6)]), [0, 0.4, 1], [0, 1, 1], 0.6)


def test_union_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="union of 0 truths"):
        union([])


def test_unknown_primary_label_names_the_nearest_class() -> None:
    with pytest.raises(DataError, match=r"'grekos' is not among the 3 classes \(did you mean grekis\?\)"):
        BUILDER.for_recording("grekos", [], 0, Stage(), Data())


@pytest.mark.parametrize("rating", [-1.0, 5.5])
def test_rating_outside_the_stars_is_refused(rating: float) -> None:
    with pytest.raises(DataError, match=r"outside 0\.\.5 stars"):
        BUILDER.for_recording("grekis", [], rating, Stage(), RATED)


def test_row_of_another_length_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(2,\), but there are 3 classes"):
        BUILDER.for_soundscape([1, 0])


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_probability_outside_its_range_names_the_class(probability: float) -> None:
    with pytest.raises(DataError, match="grekis is"):
        BUILDER.for_pseudo([0, probability, 0], 0.5)


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_confidence_outside_its_range_is_refused(confidence: float) -> None:
    with pytest.raises(DataError, match="confidence="):
        BUILDER.for_pseudo([0, 1, 0], confidence)


def test_class_listed_twice_is_refused() -> None:
    with pytest.raises(DataError, match="grekis"):
        TargetBuilder(["grekis", "compau", "grekis"])
