"""What the searcher tells Optuna, without Ray running."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState
from ray.tune.search import Searcher

from trainables.searching.searcher import WARM_START, SedSearcher
from trainables.spaces.load import load_space
from trainables.spaces.search_space import SearchSpace


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "optuna.journal"


def report(score: float, epoch: int, finished: bool = False) -> dict[str, Any]:
    return {"best_macro_auc": score, "epoch": epoch, "finished": finished}


def with_search(space: SearchSpace, **settings: Any) -> SearchSpace:
    return replace(space, search=space.search.model_copy(update=settings))


@pytest.fixture
def searcher(space: SearchSpace, journal: Path) -> SedSearcher:
    """One trial, "ray_1", is drawn."""
    made = SedSearcher(space, journal)
    made.suggest("ray_1")
    return made


def only_trial(searcher: SedSearcher) -> optuna.trial.FrozenTrial:
    (trial,) = searcher.study.get_trials()
    return trial


def test_the_first_trial_is_the_base(space: SearchSpace, journal: Path) -> None:
    suggestion = SedSearcher(space, journal).suggest("ray_1")

    values = {"model.pool_type": "avg", "stages.pretrain_ce.lr": 0.002}
    assert suggestion == {"number": 0, "values": values, "drawn_by": "default"}


def test_a_finished_trial_is_complete_with_its_score(searcher: SedSearcher) -> None:
    searcher.on_trial_result("ray_1", report(0.6, 1))
    searcher.on_trial_complete("ray_1", report(0.7, 2, finished=True))

    assert only_trial(searcher).state is TrialState.COMPLETE
    assert only_trial(searcher).value == 0.7
    assert searcher.finished() == {0: "complete"}


def test_a_stopped_trial_is_pruned_with_the_report_that_stopped_it(searcher: SedSearcher) -> None:
    searcher.on_trial_result("ray_1", report(0.6, 1))
    searcher.on_trial_complete("ray_1", report(0.7, 2))

    assert only_trial(searcher).state is TrialState.PRUNED
    assert only_trial(searcher).intermediate_values == {1: 0.6, 2: 0.7}
    assert searcher.finished() == {0: "pruned"}


FAILURES = {
    "an error": {"error": True},
    "no result": {"result": None},
    "no score": {"result": {"epoch": 1, "finished": True}},
    "not a number": {"result": report(math.nan, 1, finished=True)},
    "infinite": {"result": report(math.inf, 1)},
}


@pytest.mark.parametrize("ending", FAILURES.values(), ids=FAILURES)
def test_a_trial_without_a_score_is_failed(searcher: SedSearcher, ending: dict[str, Any]) -> None:
    searcher.on_trial_complete("ray_1", **ending)

    assert only_trial(searcher).state is TrialState.FAIL
    assert searcher.finished() == {0: "failed"}


def test_a_reported_failure_is_no_intermediate_value(searcher: SedSearcher) -> None:
    failure = {"best_macro_auc": math.nan, "failure": "loss is nan"}
    searcher.on_trial_result("ray_1", failure)
    searcher.on_trial_complete("ray_1", failure)

    assert only_trial(searcher).state is TrialState.FAIL
    assert only_trial(searcher).intermediate_values == {}


def test_a_second_completion_changes_nothing(searcher: SedSearcher) -> None:
    searcher.on_trial_complete("ray_1", report(0.7, 2, finished=True))
    searcher.on_trial_complete("ray_1", error=True)

    assert searcher.finished() == {0: "complete"}


def test_unfinished_trials_are_suggested_again(space: SearchSpace, journal: Path) -> None:
    before = SedSearcher(space, journal)
    first, second = before.suggest("ray_1"), before.suggest("ray_2")
    before.on_trial_complete("ray_1", report(0.7, 2, finished=True))
    after = SedSearcher(space, journal)

    assert after.suggest("ray_3") == second
    third = after.suggest("ray_4")
    assert isinstance(first, dict)
    assert isinstance(third, dict)
    assert third["number"] == 2


def test_half_a_line_at_the_end_of_the_journal_is_cut_off(space: SearchSpace, journal: Path) -> None:
    before = SedSearcher(space, journal)
    first = before.suggest("ray_1")
    with journal.open("a") as file:
        file.write('{"op_code":5,"wor')
    assert SedSearcher(space, journal).suggest("ray_2") == first
    assert SedSearcher(space, journal).suggest("ray_3") == first


def test_a_resumed_trial_reports_an_epoch_again_without_a_warning(space: SearchSpace, journal: Path) -> None:
    before = SedSearcher(space, journal)
    before.suggest("ray_1")
    before.on_trial_result("ray_1", report(0.6, 1))
    after = SedSearcher(space, journal)
    after.suggest("ray_2")
    after.on_trial_result("ray_2", report(0.6, 1))
    after.on_trial_complete("ray_2", report(0.7, 2, finished=True))

    assert only_trial(after).intermediate_values == {1: 0.6}
    assert after.finished() == {0: "complete"}


@pytest.mark.parametrize("kind", ["optuna", "random"])
def test_a_resumed_search_draws_what_an_unbroken_one_draws(space: SearchSpace, tmp_path: Path, kind: str) -> None:
    space = replace(space, search=space.search.model_copy(update={"searcher": kind}))

    def draws(journal: Path, breaks: set[int]) -> list[dict[str, Any]]:
        searcher, drawn = SedSearcher(space, journal), []
        for number in range(16):
            if number in breaks:
                searcher.suggest("broken off")
                searcher = SedSearcher(space, journal)
            suggestion = searcher.suggest(f"ray_{number}")
            assert isinstance(suggestion, dict)
            drawn.append(suggestion)
            searcher.on_trial_complete(f"ray_{number}", report(number % 5 / 5, 2, finished=True))
        return drawn

    unbroken = draws(tmp_path / "unbroken.journal", set())
    assert draws(tmp_path / "broken.journal", {0, 1, 7, 13}) == unbroken
    assert [trial["number"] for trial in unbroken] == list(range(16))
    assert len({trial["values"]["stages.pretrain_ce.lr"] for trial in unbroken}) == 16


def test_no_trial_is_drawn_once_the_time_is_over(space: SearchSpace, journal: Path) -> None:
    searcher = SedSearcher(space, journal, time_budget_s=-1.0)

    assert searcher.suggest("ray_1") == Searcher.FINISHED
    assert [trial.state for trial in searcher.study.get_trials()] == [TrialState.WAITING]


@pytest.mark.parametrize("kind", ["optuna", "random", "gp", "nsga2"])
def test_every_searcher_draws_points_of_the_space(tiny_space: Path, journal: Path, kind: str) -> None:
    space = load_space(tiny_space, {"model.pool_type": "avg"})
    searcher = SedSearcher(with_search(space, searcher=kind), journal)
    rates = []
    for number in range(24):  # beyond the draws that every searcher makes at random first
        point = searcher.suggest(f"ray_{number}")
        assert isinstance(point, dict)
        rates.append(point["values"]["stages.pretrain_ce.lr"])
        searcher.on_trial_complete(f"ray_{number}", report(-abs(math.log10(rates[-1]) + 4), 3, finished=True))

    assert all(1e-5 <= rate <= 1e-2 for rate in rates)
    assert len(set(rates)) > 15


def test_two_objectives_reach_optuna(space: SearchSpace, journal: Path) -> None:
    searcher = SedSearcher(with_search(space, cost="cpu_ms_per_window"), journal)
    for name, ending in (("ray_1", {"finished": True}), ("ray_2", {"finished": False})):
        searcher.suggest(name)
        searcher.on_trial_result(name, report(0.6, 1) | {"cpu_ms_per_window": 12.5})
        searcher.on_trial_complete(name, report(0.7, 2) | {"cpu_ms_per_window": 12.5} | ending)

    complete, pruned = searcher.study.get_trials()
    assert complete.values == [0.7, 12.5]
    assert searcher.study.directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    assert pruned.state is TrialState.PRUNED


def test_a_trial_without_a_cost_is_failed(space: SearchSpace, journal: Path) -> None:
    searcher = SedSearcher(with_search(space, cost="cpu_ms_per_window"), journal)
    searcher.suggest("ray_1")
    searcher.on_trial_complete("ray_1", report(0.7, 2, finished=True) | {"cpu_ms_per_window": math.nan})

    assert only_trial(searcher).state is TrialState.FAIL


def test_a_warm_started_study_knows_earlier_trials_but_does_not_count_them(space: SearchSpace, journal: Path) -> None:
    earlier = optuna.trial.create_trial(value=0.5, user_attrs={WARM_START: "old"})
    searcher = SedSearcher(space, journal, earlier=[earlier])
    first = searcher.suggest("ray_1")
    searcher.on_trial_complete("ray_1", report(0.7, 2, finished=True))

    assert isinstance(first, dict)
    assert first["number"] == 1
    assert searcher.finished() == {1: "complete"}
    assert len(SedSearcher(space, journal, earlier=[earlier]).study.get_trials()) == 2  # a resumed study has them


def test_no_trial_is_drawn_once_the_epochs_are_used_up(space: SearchSpace, journal: Path) -> None:
    searcher = SedSearcher(space, journal, epoch_budget=3)
    searcher.suggest("ray_1")
    searcher.on_trial_result("ray_1", report(0.6, 1))
    searcher.on_trial_complete("ray_1", report(0.6, 2))
    second = searcher.suggest("ray_2")
    searcher.on_trial_result("ray_2", report(0.7, 1))

    assert isinstance(second, dict)
    assert searcher.suggest("ray_3") == Searcher.FINISHED
