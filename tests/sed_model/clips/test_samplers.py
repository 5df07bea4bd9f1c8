from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.clips.samplers import EpochSampler, recording_weights
from sed_model.config.sed_config import Data
from sed_model.core.errors import DataError

LABELS = ["a", "b", "b", "b", "b"]


def test_uniform_weights_are_one() -> None:
    np.testing.assert_array_equal(recording_weights(LABELS, Data(sampler="uniform")), np.ones(5))


@pytest.mark.parametrize(
    ("power", "expected"),
    [
        (0.0, [1, 1, 1, 1, 1]),
        # 1 and 1/4, with mean 2/5
        (1.0, [2.5, 0.625, 0.625, 0.625, 0.625]),
        # 1 and 1/2, with mean 3/5
        (0.5, [5 / 3, 5 / 6, 5 / 6, 5 / 6, 5 / 6]),
    ],
)
def test_inverse_frequency_weights(power: float, expected: list[float]) -> None:
    np.testing.assert_allclose(recording_weights(LABELS, Data(sampler_power=power)), expected, rtol=1e-12)


def test_weights_of_no_recordings_are_refused() -> None:
    with pytest.raises(DataError, match="no recording"):
        recording_weights([], Data())


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_equal_weights_draw_each_recording_once(n: int) -> None:
    order = list(EpochSampler(np.full(n, 0.1), n, seed=0))
    assert sorted(order) == list(range(n))


def test_order_is_shuffled() -> None:
    assert list(EpochSampler(np.ones(100), 100, seed=0)) != list(range(100))


@given(
    weights=st.lists(st.floats(0, 10), min_size=1, max_size=20).filter(lambda weights: sum(weights) > 1e-3),
    n_samples=st.integers(1, 50),
    seed=st.integers(0, 5),
)
def test_each_recording_comes_up_as_expected_rounded_down_or_up(
    weights: list[float], n_samples: int, seed: int
) -> None:
    counts = np.bincount(list(EpochSampler(np.array(weights), n_samples, seed)), minlength=len(weights))
    expected = n_samples * np.array(weights) / sum(weights)
    assert counts.sum() == n_samples
    assert (counts >= np.floor(expected - 1e-6)).all()
    assert (counts <= np.ceil(expected + 1e-6)).all()


def test_recordings_of_weight_zero_are_never_drawn() -> None:
    assert set(EpochSampler(np.array([0.0, 1.0, 0.0, 2.0, 0.0]), 30, seed=1)) == {1, 3}


def test_over_many_epochs_the_draw_follows_the_weights() -> None:
    """Weights 1:2:3, 2 samples an epoch: expected 1/3, 2/3 and 1 an epoch, +-4 standard errors of 1,500 draws."""
    sampler = EpochSampler(np.array([1.0, 2.0, 3.0]), 2, seed=0)
    counts = np.zeros(3)
    for epoch in range(1500):
        sampler.set_epoch(epoch)
        counts += np.bincount(list(sampler), minlength=3)
    np.testing.assert_allclose(counts / 1500, [1 / 3, 2 / 3, 1], atol=4 * np.sqrt(2 / 9 / 1500))


def test_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(np.arange(1.0, 21), 20, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(3, 5) == order(3, 5)
    assert order(3, 5) != order(3, 6)
    assert order(3, 5) != order(4, 5)


def test_any_two_recordings_can_meet_in_an_epoch() -> None:
    """Half of eight: a systematic draw in a fixed order knows only the odd ones and the even ones."""
    sampler = EpochSampler(np.ones(8), 4, seed=0)
    pairs = set()
    for epoch in range(200):
        sampler.set_epoch(epoch)
        pairs |= set(combinations(sorted(sampler), 2))
    assert len(pairs) == 8 * 7 // 2


def test_iterating_twice_without_set_epoch_repeats_the_epoch() -> None:
    sampler = EpochSampler(np.ones(10), 10, seed=0)
    assert list(sampler) == list(sampler)


@pytest.mark.parametrize("weights", [[1.0, -1.0], [1.0, float("nan")], [0.0, 0.0], []])
def test_unusable_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(DataError, match="sampling weights"):
        EpochSampler(np.array(weights), 2, seed=0)
