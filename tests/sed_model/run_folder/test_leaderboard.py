"""The front of score and cost."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sed_model.run_folder.leaderboard import on_front


def trials(points: list[tuple[float, float]]) -> list[dict[str, Any]]:
    return [{"status": "complete", "macro_auc": score, "cpu_ms_per_window": cost} for score, cost in points]


def test_trials_equal_in_both_share_the_front() -> None:
    assert on_front(trials([(0.8, 10.0), (0.8, 10.0), (0.8, 11.0)])) == [True, True, False]


grid = st.tuples(st.integers(0, 5).map(lambda score: score / 5), st.integers(1, 5).map(float))


@given(st.lists(grid, min_size=1, max_size=20))
def test_the_front_is_what_no_other_trial_dominates(points: list[tuple[float, float]]) -> None:
    for (score, cost), is_on_front in zip(points, on_front(trials(points)), strict=True):
        dominated = any(other >= score and price <= cost and (other, price) != (score, cost) for other, price in points)
        assert is_on_front != dominated
