"""How the trials of a search are drawn: the default, quasi-random ones, then a model of the scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from trainables.searching.sampling import draws_by, n_startup_trials, sobol_point
from trainables.searching.searcher import WARM_START, SedSearcher
from trainables.spaces.distributions import parse_distribution
from trainables.spaces.load import load_space
from trainables.spaces.search_space import SearchSpace
from trainables.spaces.settings import SearchSettings

RATE = "stages.pretrain_ce.lr"


def with_search(space: SearchSpace, **settings: Any) -> SearchSpace:
    return replace(space, search=space.search.model_copy(update=settings))


def run(searcher: SedSearcher, first: int, last: int) -> list[dict[str, Any]]:
    """Trials one after the other; a higher rate scores higher."""
    points = []
    for number in range(first, last):
        point = searcher.suggest(f"ray_{number}")
        assert isinstance(point, dict)
        score = {"best_macro_auc": point["values"].get(RATE, 0.5), "epoch": 3, "finished": True}
        searcher.on_trial_complete(f"ray_{number}", score)
        points.append(point)
    return points


@pytest.mark.parametrize(("num_trials", "start"), [(3, 2), (4, 2), (5, 3), (8, 3), (20, 5), (40, 10), (400, 10)])
def test_a_quarter_of_the_trials_start_a_search(num_trials: int, start: int) -> None:
    assert n_startup_trials(num_trials) == start


def test_a_search_of_eight_trials_has_draws_of_tpe(space: SearchSpace, tmp_path: Path) -> None:
    """Optuna's own start of ten random trials would be all of them."""
    points = run(SedSearcher(with_search(space, num_trials=8), tmp_path / "optuna.journal"), 0, 8)

    assert [point["drawn_by"] for point in points] == ["default", "quasi-random", "quasi-random", *["TPE"] * 5]


def test_a_search_of_three_trials_has_a_draw_of_tpe(space: SearchSpace, tmp_path: Path) -> None:
    small = with_search(space, num_trials=3, startup_trials=None)
    points = run(SedSearcher(small, tmp_path / "optuna.journal"), 0, 3)

    assert [point["drawn_by"] for point in points] == ["default", "quasi-random", "TPE"]


@pytest.mark.parametrize("breaks", [{0, 1, 2, 3, 4, 5, 6, 7}, {2, 5}])
def test_a_resumed_search_draws_in_the_same_way(space: SearchSpace, tmp_path: Path, breaks: set[int]) -> None:
    space = with_search(space, num_trials=8)
    unbroken = run(SedSearcher(space, tmp_path / "unbroken.journal"), 0, 8)
    journal, resumed = tmp_path / "broken.journal", []
    for number in range(8):
        if number in breaks:
            SedSearcher(space, journal).suggest("broken off")
        resumed += run(SedSearcher(space, journal), number, number + 1)

    assert resumed == unbroken


def test_trials_that_start_before_any_has_a_score_are_quasi_random(space: SearchSpace, tmp_path: Path) -> None:
    searcher = SedSearcher(with_search(space, num_trials=8), tmp_path / "optuna.journal")
    points: list[Any] = [searcher.suggest(f"ray_{number}") for number in range(8)]

    assert [point["drawn_by"] for point in points] == ["default", *["quasi-random"] * 7]
    assert len({point["values"][RATE] for point in points}) == 8


def earlier_trials(space: SearchSpace) -> list[optuna.trial.FrozenTrial]:
    """Three of another search."""
    known = optuna.trial.FixedTrial({"model.pool_type": "avg", RATE: 1e-3})
    space.suggest(known)
    return [
        optuna.trial.create_trial(
            value=score, params=known.params, distributions=known.distributions, user_attrs={WARM_START: "old"}
        )
        for score in (0.5, 0.6, 0.7)
    ]


def test_a_warm_start_counts_as_the_start(space: SearchSpace, tmp_path: Path) -> None:
    earlier = earlier_trials(space)
    searcher = SedSearcher(with_search(space, num_trials=8), tmp_path / "optuna.journal", earlier=earlier)

    assert [point["drawn_by"] for point in run(searcher, 0, 3)] == ["default", "TPE", "TPE"]


def test_a_warm_start_leaves_the_quasi_random_points_as_they_are(space: SearchSpace, tmp_path: Path) -> None:
    """Its own points are the first of the sequence, which lie more evenly than later ones."""
    space = with_search(space, startup_trials=8)
    cold = run(SedSearcher(space, tmp_path / "cold"), 0, 4)
    warm = run(SedSearcher(space, tmp_path / "warm", earlier=earlier_trials(space)), 0, 4)

    assert [point["number"] for point in warm] == [3, 4, 5, 6]
    assert [point["values"] for point in warm] == [point["values"] for point in cold]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("random", ["default", *["random"] * 7]),
        ("gp", ["default", *["quasi-random"] * 2, *["Gaussian process"] * 5]),
        ("nsga2", ["default", *["quasi-random"] * 4, *["NSGA-II"] * 3]),
    ],
)
def test_other_searchers_come_to_their_method_too(
    tiny_space: Path, tmp_path: Path, kind: str, expected: list[str]
) -> None:
    space = with_search(load_space(tiny_space, {"model.pool_type": "avg"}), num_trials=8, searcher=kind)

    assert [point["drawn_by"] for point in run(SedSearcher(space, tmp_path / "j"), 0, 8)] == expected


# --- what did well on other data comes between the default and the quasi-random points

PORTFOLIO: list[dict[str, Any]] = [
    {"model.pool_type": "gem", "model.gem_p": 5.0, RATE: 3e-3},
    {"model.pool_type": "avg", RATE: 4e-3},
]


@pytest.mark.parametrize(
    ("kind", "start", "method"),
    [
        ("optuna", ["quasi-random"] * 2, "TPE"),
        ("gp", ["quasi-random"] * 2, "Gaussian process"),
        ("nsga2", ["quasi-random"] * 4, "NSGA-II"),
        ("random", ["random"] * 2, "random"),
    ],
)
def test_the_portfolio_comes_after_the_default_and_on_top_of_the_start(
    tiny_space: Path, tmp_path: Path, kind: str, start: list[str], method: str
) -> None:
    """Optuna counts none of them to NSGA-II's first generation, which is of four here."""
    space = with_search(load_space(tiny_space), num_trials=8, searcher=kind)
    points = run(SedSearcher(space, tmp_path / "j", portfolio=PORTFOLIO), 0, 8)

    expected = ["default", "portfolio", "portfolio", *start, method, method, method]
    assert [point["drawn_by"] for point in points] == expected[:8]
    assert [point["values"] for point in points[1:3]] == PORTFOLIO
    assert [point["number"] for point in points] == list(range(8))


@pytest.mark.parametrize(("num_trials", "own"), [(3, ["TPE"]), (4, ["TPE"] * 2), (5, ["quasi-random"] * 2 + ["TPE"])])
def test_a_small_search_with_a_portfolio_has_a_draw_of_tpe(
    space: SearchSpace, tmp_path: Path, num_trials: int, own: list[str]
) -> None:
    small = with_search(space, num_trials=num_trials, startup_trials=None)
    points = run(SedSearcher(small, tmp_path / "j", portfolio=PORTFOLIO[:1]), 0, num_trials)

    assert [point["drawn_by"] for point in points] == ["default", "portfolio", *own]


def test_the_portfolio_leaves_the_quasi_random_points_as_they_are(space: SearchSpace, tmp_path: Path) -> None:
    space = with_search(space, startup_trials=8)
    without = run(SedSearcher(space, tmp_path / "without"), 0, 4)
    points = run(SedSearcher(space, tmp_path / "with", portfolio=PORTFOLIO), 0, 6)

    assert [point["values"] for point in points[3:]] == [point["values"] for point in without[1:]]


def test_what_default_and_portfolio_leave_open_is_the_same_in_them(space: SearchSpace, tmp_path: Path) -> None:
    base = space.base.with_overrides({RATE: 0.5})  # which the space does not hold
    portfolio = [{"model.pool_type": "gem", "model.gem_p": 5.0}]
    default, point, drawn = run(SedSearcher(replace(space, base=base), tmp_path / "j", portfolio=portfolio), 0, 3)

    assert default["values"][RATE] == point["values"][RATE] != drawn["values"][RATE]
    assert point["values"]["model.gem_p"] == 5.0


@pytest.mark.parametrize("breaks", [{0, 1, 2, 3, 4, 5, 6, 7}, {1}, {2, 5}])
def test_a_search_that_breaks_off_goes_on_with_the_portfolio(
    space: SearchSpace, tmp_path: Path, breaks: set[int]
) -> None:
    """Whatever the file holds by then: the study has the points."""
    space = with_search(space, num_trials=8)
    unbroken = run(SedSearcher(space, tmp_path / "unbroken.journal", portfolio=PORTFOLIO), 0, 8)
    journal = tmp_path / "broken.journal"
    SedSearcher(space, journal, portfolio=PORTFOLIO)
    resumed = []
    for number in range(8):
        if number in breaks:
            SedSearcher(space, journal).suggest("broken off")
        resumed += run(SedSearcher(space, journal), number, number + 1)

    assert resumed == unbroken
    assert [point["drawn_by"] for point in unbroken[:4]] == ["default", "portfolio", "portfolio", "quasi-random"]


def test_a_trial_of_the_portfolio_that_was_killed_before_it_was_drawn_is_of_the_portfolio(
    space: SearchSpace, tmp_path: Path
) -> None:
    killed = SedSearcher(space, tmp_path / "j", portfolio=PORTFOLIO)
    run(killed, 0, 1)
    killed.study.ask()

    (point,) = run(SedSearcher(space, tmp_path / "j"), 1, 2)
    assert point == {"number": 1, "values": PORTFOLIO[0], "drawn_by": "portfolio"}


def test_a_study_that_was_killed_while_it_was_made_gets_what_is_missing(space: SearchSpace, tmp_path: Path) -> None:
    for n_points in (0, 1):
        SedSearcher(space, tmp_path / "j", portfolio=PORTFOLIO[:n_points])

    points = run(SedSearcher(space, tmp_path / "j", portfolio=PORTFOLIO), 0, 4)
    assert [point["drawn_by"] for point in points] == ["default", "portfolio", "portfolio", "quasi-random"]


def test_a_search_that_began_without_a_portfolio_goes_on_without(space: SearchSpace, tmp_path: Path) -> None:
    run(SedSearcher(space, tmp_path / "j"), 0, 1)

    points = run(SedSearcher(space, tmp_path / "j", portfolio=PORTFOLIO), 1, 3)
    assert [point["drawn_by"] for point in points] == ["quasi-random", "quasi-random"]


def test_a_warm_start_has_no_portfolio(space: SearchSpace, tmp_path: Path) -> None:
    """It knows what does well on its own data."""
    earlier = earlier_trials(space)
    searcher = SedSearcher(with_search(space, num_trials=8), tmp_path / "j", earlier=earlier, portfolio=PORTFOLIO)

    assert [point["drawn_by"] for point in run(searcher, 0, 3)] == ["default", "TPE", "TPE"]


def test_tpe_learns_from_the_portfolio(space: SearchSpace, tmp_path: Path) -> None:
    searcher = SedSearcher(space, tmp_path / "j", portfolio=PORTFOLIO)
    run(searcher, 0, 3)

    assert [trial.params for trial in searcher.study.get_trials()][1:] == PORTFOLIO
    assert [trial.value for trial in searcher.study.get_trials()][1:] == [3e-3, 4e-3]


def test_eight_quasi_random_points_lie_one_in_each_eighth_of_every_range() -> None:
    """Of conditional parameters as well; independent draws leave a third of the eighths empty."""
    space = load_space("pooling.yaml")
    points = [sobol_point(space, 5, place) for place in range(8)]

    assert any(parameter.when for parameter in space.parameters)
    for parameter in space.parameters:
        assert sorted(int(8 * point[parameter.key]) for point in points) == list(range(8))
    assert [sobol_point(space, 6, place) for place in range(8)] != points


@pytest.mark.parametrize(
    ("distribution", "share", "value"),
    [
        ({"choice": ["a", "b", "c"]}, 0.34, "b"),
        ({"choice": ["a", "b", "c"]}, 0.999, "c"),
        ({"uniform": [2, 4]}, 0.25, 2.5),
        ({"loguniform": [1.0e-4, 1.0e-2]}, 0.5, 1e-3),
        ({"quniform": [1, 6, 1]}, 0.5, 4.0),
        ({"quniform": [0.1, 0.3, 0.1]}, 0.99, 0.3),
        ({"randint": [0, 3]}, 0.75, 3),
    ],
)
def test_a_share_of_the_draws_lies_below_its_value(distribution: dict[str, Any], share: float, value: Any) -> None:
    known = parse_distribution(distribution)
    drawn = known.at(share)

    assert drawn == (pytest.approx(value) if isinstance(value, float) else value)
    assert type(drawn) is type(value)
    assert known.contains(drawn)


@pytest.mark.parametrize(
    ("settings", "n_startup"), [({}, 10), ({"startup_trials": 2}, 2), ({"startup_trials": 40}, 40)]
)
def test_a_space_may_name_how_many_trials_start_its_search(settings: dict[str, int], n_startup: int) -> None:
    search = SearchSettings(num_trials=60, **settings)  # type: ignore[arg-type]
    scored = [optuna.trial.create_trial(value=0.5, params={}, distributions={}) for _ in range(60)]
    drawn = [draws_by(search, number, 0, scored) for number in (0, 1, n_startup - 1, n_startup)]
    assert drawn == ["default", "quasi-random", "quasi-random", "TPE"]


def test_a_model_of_the_scores_needs_two_of_them() -> None:
    search = SearchSettings(num_trials=60, startup_trials=2)
    scored = [optuna.trial.create_trial(value=0.5, params={}, distributions={}) for _ in range(2)]
    assert [draws_by(search, 5, 0, scored[:n]) for n in (1, 2)] == ["quasi-random", "TPE"]
