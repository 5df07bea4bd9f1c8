"""What fits into the hours of a chain: plans worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.chaining.budget import Costs, Wanted, most_that_fit, n_trainings, plan_steps

WANTED = Wanted(
    n_trials=100, n_finalists=3, n_rounds=2, trial_epochs=10, mean_trial_epochs=5, finalist_epochs=20, student_epochs=12
)
COSTS = Costs(epoch_s=1, at_a_time=2)


def test_finalists_and_students_take_what_they_need_and_the_search_the_rest() -> None:
    """Of 2000 s the end has 200. Four finalists are 16 trainings, 8 waves of 20 s; a round is 12 s and 2 x 12 s."""
    plan = plan_steps(2000, WANTED, COSTS, n_trials=2, spent_s=20)

    assert (plan.end_s, plan.finalists_s, plan.round_s) == (200, 160, 36)
    assert (plan.n_finalists, plan.n_rounds) == (3, 2)
    assert plan.search_until_s == 1800 - 160 - 72
    assert plan.n_trials == 100


def test_as_many_trials_as_end_in_the_search_s_time_run() -> None:
    """Of 400 s the end has 40; 160 s of three finalists do not fit into 144 s, 120 s of two do; both rounds fit."""
    plan = plan_steps(400, WANTED, COSTS, n_trials=2, spent_s=20)

    assert (plan.n_finalists, plan.n_rounds) == (2, 2)
    assert plan.search_until_s == 360 - 120 - 72
    assert plan.n_trials == 2 + 2 * ((168 - 20) // 5)


def test_one_finalist_is_worth_more_than_trials_and_students() -> None:
    """Its 80 s fit into no share of 180 s (72 s), but into what the first trials have left."""
    plan = plan_steps(200, WANTED, COSTS, n_trials=2, spent_s=95)

    assert (plan.n_finalists, plan.finalists_s, plan.n_rounds, plan.n_trials) == (1, 80, 0, 2)


def test_without_time_nothing_follows_the_first_trials() -> None:
    plan = plan_steps(100, WANTED, COSTS, n_trials=2, spent_s=99)

    assert (plan.n_trials, plan.n_finalists, plan.n_rounds, plan.finalists_s) == (2, 0, 0, 0)


def test_a_student_without_parts_is_one_training() -> None:
    plan = plan_steps(2000, WANTED.model_copy(update={"n_finalists": 0}), COSTS, n_trials=2, spent_s=20)

    assert (plan.n_finalists, plan.round_s) == (0, 12)


@given(st.floats(10, 1e6), st.floats(0.01, 1e4), st.floats(0, 1), st.integers(1, 8))
def test_no_plan_is_longer_than_the_budget(budget_s: float, epoch_s: float, spent_share: float, at_a_time: int) -> None:
    costs, spent_s = Costs(epoch_s=epoch_s, at_a_time=at_a_time), 0.9 * spent_share * budget_s
    plan = plan_steps(budget_s, WANTED, costs, n_trials=at_a_time, spent_s=spent_s)
    later_s = plan.finalists_s + plan.n_rounds * plan.round_s + plan.end_s

    assert spent_s + later_s <= budget_s * (1 + 1e-9)
    waves = (plan.n_trials - at_a_time) / at_a_time
    assert plan.n_trials <= at_a_time or spent_s + waves * 5 * epoch_s + later_s <= budget_s * (1 + 1e-9)


@pytest.mark.parametrize(("n_finalists", "n_trials", "n"), [(3, 40, 16), (1, 40, 8), (3, 2, 8), (0, 40, 0)])
def test_the_default_trains_beside_the_finalists(n_finalists: int, n_trials: int, n: int) -> None:
    assert n_trainings(n_finalists, n_trials) == n


@pytest.mark.parametrize(("limit_s", "n"), [(9.9, 0), (10, 1), (25, 2), (99, 3)])
def test_the_most_that_fits_is_taken(limit_s: float, n: int) -> None:
    assert most_that_fit(limit_s, 3, lambda n: 10.0 * n) == n
