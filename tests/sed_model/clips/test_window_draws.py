"""Which pseudo-labelled window a clip meets, and how often: values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sed_model.clips.window_draws import Focal, WindowDraws, limits, taken_shares
from sed_model.config.sed_config import Data, Pseudo

LABELS = ("a", "a", "b")
WEIGHTS = np.array([0.25, 0.75, 1.0])
UNIFORM = Data(sampler="uniform")


def draws() -> WindowDraws:
    """Chances of 1/8, 3/8 and 1/2."""
    return WindowDraws(LABELS, WEIGHTS, UNIFORM)


@pytest.mark.parametrize(
    ("number", "label", "place"),
    [(0.1, "", 0), (0.2, "", 1), (0.6, "", 2), (0.2, "a", 0), (0.9, "a", 1), (0.1, "b", 2), (0.6, "none", 2)],
)
def test_a_number_names_a_window_of_all_or_of_a_class_that_has_any(number: float, label: str, place: int) -> None:
    assert draws().place(number, label) == place


def test_a_class_whose_windows_all_weigh_nothing_has_none() -> None:
    assert WindowDraws(LABELS, np.array([1.0, 1.0, 0.0]), UNIFORM).place(0.9, "b") == 1


def test_how_often_a_clip_meets_each_window() -> None:
    """Half of all clips are windows, four fifths of these alone, half of those of the recording's class.

    So 0.3 of the clips meet any window; of 0.2 it is of the recording's class: a in 0.5, b in 0.3; c has none.
    """
    settings = Pseudo(prob=0.5, replace_share=0.8, same_class_share=0.5)
    met = draws().expected(settings, {"a": 0.5, "b": 0.3, "c": 0.2})
    any_window = 0.3 + 0.2 * 0.2
    expected = [any_window / 8 + 0.1 / 4, any_window * 3 / 8 + 0.1 * 3 / 4, any_window / 2 + 0.06]
    assert met.tolist() == pytest.approx(expected)
    assert met.sum() == pytest.approx(0.5)


def test_the_limit_is_a_share_of_the_recordings_that_stay() -> None:
    """A quarter of the clips is replaced. A class without recordings has the mean of the others: of 0.6 and 0.2."""
    settings = Pseudo(prob=0.5, replace_share=0.5, mass_cap=0.5)
    limit = limits(Focal(np.array([0.6, 0.2, 0.0]), {}), settings)
    assert limit.tolist() == pytest.approx([0.225, 0.075, 0.15])


def test_windows_of_a_class_over_its_limit_are_taken_seldomer_by_what_it_is_over() -> None:
    """The first class brings 0.4 + 0.4 x 0.5 of 0.3; the other one is under its limit."""
    targets = np.array([[1, 0], [0.5, 0], [0, 1]], np.float32)
    met = np.array([0.4, 0.4, 0.2])
    taken = taken_shares(met, targets, np.array([0.3, 0.3]))
    assert taken[2] == 1
    assert taken[0] == pytest.approx(taken[1] ** 2, rel=1e-3)  # half the target costs the root
    assert (met * taken) @ targets == pytest.approx([0.3, 0.2], rel=2e-3)


def test_a_faint_neighbour_over_its_limit_costs_a_rare_class_little() -> None:
    """The first class is at ten times its limit, mostly by windows of its own; it is faint in those of the other."""
    targets = np.array([[1, 0], [0.11, 0.9]], np.float32)
    met = np.array([0.9, 0.01])
    taken = taken_shares(met, targets, np.array([0.09, 0.09]))
    assert ((met * taken) @ targets <= 0.09 + 1e-9).all()
    assert taken[1] > 0.7


def test_under_the_limits_all_are_taken() -> None:
    assert taken_shares(np.array([0.1, 0.2]), np.eye(2, dtype=np.float32), np.array([0.2, 0.2])).tolist() == [1, 1]


@given(
    arrays.arrays(np.float32, (6, 3), elements=st.sampled_from([0, 0.1, 0.25, 0.5, 0.9, 1])),
    st.lists(st.floats(1e-3, 1), min_size=3, max_size=3),
)
def test_no_class_is_above_its_limit(targets: np.ndarray, limit: list[float]) -> None:
    met = np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
    taken = taken_shares(met, targets, np.array(limit))
    assert ((taken >= 0) & (taken <= 1)).all()
    assert ((met * taken) @ targets <= np.array(limit) * (1 + 1e-6)).all()
