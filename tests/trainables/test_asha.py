"""ASHA: its rungs after a restart, and its seeded brackets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from sed_model.stages import StagePlan
from trainables.asha import Asha, rung_reports
from trainables.search_settings import AshaSettings

CONTINUE, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


EIGHT_EPOCHS = (StagePlan("pretrain_ce", 0, 8),)


def make_asha(mode: str = "max", brackets: int = 1, seed: int = 0) -> Asha:
    """Rungs at epochs 1, 2, 4 and 8; the better half passes each."""
    settings = AshaSettings(grace_period=1, reduction_factor=2, brackets=brackets)
    scheduler = Asha(settings, EIGHT_EPOCHS, seed=seed)
    assert scheduler.set_search_properties("score", mode)
    return scheduler


def make_cost_asha() -> Asha:
    """Four trials in the first rung, whose median is 0.65; costs in milliseconds."""
    scheduler = Asha(AshaSettings(grace_period=1, reduction_factor=2), EIGHT_EPOCHS, seed=0, cost="ms")
    assert scheduler.set_search_properties("score", "max")
    reports = [("a", 1, 0.5), ("b", 1, 0.6), ("c", 1, 0.7), ("d", 1, 0.8)]
    scheduler.refill(reports, "max", {"a": 10.0, "b": 20.0, "c": 30.0, "d": 40.0})
    return scheduler


@pytest.mark.parametrize(
    ("score", "cost_ms", "decision"),
    [
        (0.55, 15.0, CONTINUE),  # weak, but none of the rung is as good for 15 ms
        (0.55, 25.0, STOP),  # b is better and cheaper
        (0.55, 19.5, STOP),  # b's 20 ms are the same within what can be measured
        (0.4, 5.0, CONTINUE),
        (0.9, 90.0, CONTINUE),
    ],
)
def test_a_weak_trial_goes_on_while_it_is_on_the_front(score: float, cost_ms: float, decision: str) -> None:
    scheduler = make_cost_asha()
    trial: Any = SimpleNamespace(trial_id="new")
    scheduler.on_trial_add(None, trial)

    assert scheduler.on_trial_result(None, trial, {"epoch": 1, "score": score, "ms": cost_ms}) == decision


def decide(scheduler: Asha, name: str, epoch: int, score: float) -> str:
    trial: Any = SimpleNamespace(trial_id=name)
    scheduler.on_trial_add(None, trial)
    return str(scheduler.on_trial_result(None, trial, {"epoch": epoch, "score": score}))


def test_the_first_trial_of_an_empty_rung_passes() -> None:
    assert decide(make_asha(), "new", epoch=1, score=0.1) == CONTINUE


@pytest.mark.parametrize(("score", "decision"), [(0.6, STOP), (0.8, CONTINUE)])
def test_refilled_rungs_judge_a_new_trial(score: float, decision: str) -> None:
    scheduler = make_asha()
    scheduler.refill([("a", 1, 0.5), ("b", 1, 0.7), ("c", 1, 0.9)], "max")

    assert decide(scheduler, "new", epoch=1, score=score) == decision  # the median of the rung is 0.7


def test_a_refilled_rung_equals_one_filled_by_trials() -> None:
    reports = [("a", 1, 0.5), ("a", 2, 0.6), ("b", 1, 0.7), ("b", 2, 0.8), ("b", 4, 0.85), ("c", 1, 0.4)]
    filled, refilled = make_asha(), make_asha()
    for name, epoch, score in reports:
        decide(filled, name, epoch, score)
    refilled.refill(reports, "max")

    assert refilled.debug_string().split("Bracket")[1:] == filled.debug_string().split("Bracket")[1:]


def test_a_loss_is_better_when_it_is_lower() -> None:
    scheduler = make_asha("min")
    scheduler.refill([("a", 1, 0.5), ("b", 1, 0.7)], "min")

    assert decide(scheduler, "new", epoch=1, score=0.9) == STOP
    assert decide(scheduler, "newer", epoch=1, score=0.4) == CONTINUE


def test_a_trial_at_the_last_epoch_is_not_stopped() -> None:
    """It ends by itself, and must not be taken for a pruned one."""
    scheduler = make_asha()

    assert decide(scheduler, "only", epoch=8, score=0.1) == CONTINUE


def test_a_grace_period_beyond_the_last_epoch_is_shortened() -> None:
    scheduler = Asha(AshaSettings(grace_period=50), (StagePlan("pretrain_ce", 0, 4),), seed=0)
    scheduler.set_search_properties("score", "max")
    scheduler.refill([("a", 4, 0.9)], "max")

    assert decide(scheduler, "new", epoch=3, score=0.1) == CONTINUE
    assert decide(scheduler, "newer", epoch=4, score=0.1) == STOP


def test_brackets_follow_the_seed() -> None:
    """Only the first bracket has a rung at epoch 1, so that a bad score shows which one a trial is in."""

    def stopped(seed: int) -> list[str]:
        scheduler = make_asha(brackets=2, seed=seed)
        scheduler.refill([("good", 1, 0.9)], "max")
        return [decide(scheduler, f"t{number}", epoch=1, score=0.1) for number in range(20)]

    assert stopped(seed=3) == stopped(seed=3)
    assert set(stopped(seed=3)) == {CONTINUE, STOP}


def test_reports_are_the_best_so_far_of_finished_trials() -> None:
    rows = [("a", 2, 0.6, 0.5), ("a", 1, 0.7, 0.9), ("b", 1, 0.8, 0.4)]
    curves = [dict(zip(("trial_id", "epoch", "macro_auc", "val_loss"), row, strict=True)) for row in rows]

    assert rung_reports(curves, {"a"}, "macro_auc") == [("a", 1, 0.7), ("a", 2, 0.7)]
    assert rung_reports(curves, {"a"}, "val_loss") == [("a", 1, 0.9), ("a", 2, 0.5)]


def test_without_a_grace_period_the_second_stage_is_heard_first() -> None:
    plans = (StagePlan("pretrain_ce", 0, 6), StagePlan("train_bce", 6, 5))
    scheduler = Asha(AshaSettings(), plans, seed=0)
    assert scheduler.set_search_properties("score", "max")
    scheduler.refill([("a", 8, 0.9), ("b", 8, 0.9)], "max")

    assert decide(scheduler, "new", epoch=7, score=0.1) == CONTINUE
    assert decide(scheduler, "newer", epoch=8, score=0.1) == STOP
