"""ASHA: its rungs, also after a restart, and the front of score and cost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from sed_model.config.stages import StagePlan
from sed_model.run_folder.run_tables import trial_id
from trainables.searching.asha import Asha, rung_reports
from trainables.spaces.settings import AshaSettings

CONTINUE, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


EIGHT_EPOCHS = (StagePlan("pretrain_ce", 0, 8),)


def make_asha(mode: str = "max") -> Asha:
    """Rungs at epochs 1, 2, 4 and 8; the better half passes each."""
    settings = AshaSettings(grace_period=1, reduction_factor=2)
    scheduler = Asha(settings, EIGHT_EPOCHS)
    assert scheduler.set_search_properties("score", mode)
    return scheduler


def make_cost_asha() -> Asha:
    """Four trials in the first rung, whose median is 0.65; costs in milliseconds."""
    scheduler = Asha(AshaSettings(grace_period=1, reduction_factor=2), EIGHT_EPOCHS, cost="ms")
    assert scheduler.set_search_properties("score", "max")
    reports = [(0, 1, 0.5), (1, 1, 0.6), (2, 1, 0.7), (3, 1, 0.8)]
    scheduler.refill(reports, "max", {"trial_0000": 10.0, "trial_0001": 20.0, "trial_0002": 30.0, "trial_0003": 40.0})
    return scheduler


@pytest.mark.parametrize(
    ("score", "cost_ms", "decision"),
    [
        (0.55, 15.0, CONTINUE),  # weak, but none of the rung is as good for 15 ms
        (0.55, 25.0, STOP),  # the second is better and cheaper
        (0.55, 19.5, STOP),  # its 20 ms are the same within what can be measured
        (0.6, 25.0, STOP),  # the second is as good, and cheaper
        (0.4, 5.0, CONTINUE),
        (0.9, 90.0, CONTINUE),
    ],
)
def test_a_weak_trial_goes_on_while_it_is_on_the_front(score: float, cost_ms: float, decision: str) -> None:
    scheduler = make_cost_asha()
    trial: Any = SimpleNamespace(trial_id="new", config={"number": 4})
    scheduler.on_trial_add(None, trial)

    assert scheduler.on_trial_result(None, trial, {"epoch": 1, "score": score, "ms": cost_ms}) == decision


def decide(scheduler: Asha, number: int, epoch: int, score: float) -> str:
    trial: Any = SimpleNamespace(trial_id=trial_id(number), config={"number": number})
    scheduler.on_trial_add(None, trial)
    return str(scheduler.on_trial_result(None, trial, {"epoch": epoch, "score": score}))


def test_the_first_trial_of_an_empty_rung_passes() -> None:
    assert decide(make_asha(), 0, epoch=1, score=0.1) == CONTINUE


@pytest.mark.parametrize(("score", "decision"), [(0.6, STOP), (0.8, CONTINUE)])
def test_refilled_rungs_judge_a_new_trial(score: float, decision: str) -> None:
    scheduler = make_asha()
    scheduler.refill([(0, 1, 0.5), (1, 1, 0.7), (2, 1, 0.9)], "max")

    assert decide(scheduler, 3, epoch=1, score=score) == decision  # the median of the rung is 0.7


def test_refilled_rungs_equal_those_filled_by_trials() -> None:
    reports = [(number, epoch, 0.1 * number + 0.01 * epoch) for number in range(6) for epoch in (1, 2, 4)]
    filled, refilled = make_asha(), make_asha()
    for number, epoch, score in reports:
        decide(filled, number, epoch, score)
    refilled.refill(reports, "max")

    assert refilled.debug_string().split("Bracket")[1:] == filled.debug_string().split("Bracket")[1:]


def test_a_loss_is_better_when_it_is_lower() -> None:
    scheduler = make_asha("min")
    scheduler.refill([(0, 1, 0.5), (1, 1, 0.7)], "min")

    assert decide(scheduler, 2, epoch=1, score=0.9) == STOP
    assert decide(scheduler, 3, epoch=1, score=0.4) == CONTINUE


def test_a_trial_at_the_last_epoch_is_not_stopped() -> None:
    """It ends by itself, and must not be taken for a pruned one."""
    scheduler = make_asha()

    assert decide(scheduler, 0, epoch=8, score=0.1) == CONTINUE


@pytest.mark.parametrize("grace_period", [4, 50])
def test_a_rung_that_saves_no_epoch_is_none(grace_period: int) -> None:
    scheduler = Asha(AshaSettings(grace_period=grace_period), (StagePlan("pretrain_ce", 0, 4),))
    scheduler.set_search_properties("score", "max")
    scheduler.refill([(0, 4, 0.9)], "max")

    assert decide(scheduler, 1, epoch=3, score=0.1) == CONTINUE
    assert decide(scheduler, 2, epoch=4, score=0.1) == CONTINUE  # it ends by itself


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_the_default_configuration_is_never_stopped(epoch: int) -> None:
    scheduler = make_asha()
    scheduler.refill([(number, epoch, 0.9) for number in range(1, 5)], "max")
    trial: Any = SimpleNamespace(trial_id="trial_0000", config={"number": 0, "drawn_by": "default"})
    scheduler.on_trial_add(None, trial)

    assert scheduler.on_trial_result(None, trial, {"epoch": epoch, "score": 0.1}) == CONTINUE
    assert "num_stopped=0" in scheduler.debug_string()
    assert decide(scheduler, 6, epoch=epoch, score=0.1) == STOP  # any other one is


def test_reports_are_the_best_so_far_of_finished_trials() -> None:
    rows = [("trial_0000", 2, 0.6, 0.5), ("trial_0000", 1, 0.7, 0.9), ("trial_0001", 1, 0.8, 0.4)]
    names = ("trial_id", "epoch", "macro_auc", "val_loss")
    curves = [dict(zip(names, row, strict=True)) | {"stage": "train_bce"} for row in rows]

    assert rung_reports(curves, {0}, "macro_auc") == [(0, 1, 0.7), (0, 2, 0.7)]
    assert rung_reports(curves, {0}, "val_loss") == [(0, 1, 0.9), (0, 2, 0.5)]


def test_reports_are_of_what_the_search_goes_by() -> None:
    names = ("epoch", "macro_auc", "cmap", "best_cmap")
    rows = [(1, 0.9, 0.3, 0.3), (2, 0.8, 0.4, 0.4), (3, 0.95, 0.2, 0.4)]
    curves = [{"trial_id": "trial_0000", "stage": "train_bce", **dict(zip(names, row, strict=True))} for row in rows]
    assert rung_reports(curves, {0}, "cmap") == [(0, 1, 0.3), (0, 2, 0.4), (0, 3, 0.4)]
    assert rung_reports(curves, {0}, "macro_auc") == [(0, 1, 0.9), (0, 2, 0.9), (0, 3, 0.95)]


def test_a_cross_entropy_score_is_not_reported_as_the_best_of_later_stages() -> None:
    """The table says the best so far; those of earlier releases do not, and carried it over the rung."""
    stages = ["pretrain_ce", "pretrain_ce", "train_bce", "train_bce"]
    scores, best = [0.6, 0.8, 0.5, 0.7], [0.6, 0.8, 0.5, 0.7]
    rows = [
        {"trial_id": "trial_0000", "stage": stage, "epoch": epoch, "macro_auc": score, "val_loss": 1.0}
        for epoch, (stage, score) in enumerate(zip(stages, scores, strict=True), start=1)
    ]
    told = [(0, epoch, score) for epoch, score in enumerate(best, start=1)]
    assert rung_reports(rows, {0}, "macro_auc") == told
    recorded = [row | {"best_macro_auc": 0.9} for row in rows]
    assert rung_reports(recorded, {0}, "macro_auc") == [(0, epoch, 0.9) for epoch in range(1, 5)]


def test_the_best_so_far_goes_on_from_one_sigmoid_stage_to_the_next() -> None:
    rows = [
        {"trial_id": "trial_0000", "stage": stage, "epoch": epoch, "macro_auc": score}
        for epoch, (stage, score) in enumerate([("train_bce", 0.7), ("finetune", 0.6)], start=1)
    ]
    assert rung_reports(rows, {0}, "macro_auc") == [(0, 1, 0.7), (0, 2, 0.7)]


def test_without_a_grace_period_the_second_stage_is_heard_first() -> None:
    plans = (StagePlan("pretrain_ce", 0, 6), StagePlan("train_bce", 6, 5))
    scheduler = Asha(AshaSettings(), plans)
    assert scheduler.set_search_properties("score", "max")
    scheduler.refill([(0, 8, 0.9), (1, 8, 0.9)], "max")

    assert decide(scheduler, 2, epoch=7, score=0.1) == CONTINUE
    assert decide(scheduler, 3, epoch=8, score=0.1) == STOP


def test_there_is_a_second_rung_in_the_second_stage() -> None:
    plans = (StagePlan("pretrain_ce", 0, 6), StagePlan("train_bce", 6, 5), StagePlan("finetune", 11, 3))
    scheduler = Asha(AshaSettings(), plans)
    assert scheduler.set_search_properties("score", "max")
    scheduler.refill([(0, 10, 0.9), (1, 10, 0.9)], "max")

    assert decide(scheduler, 2, epoch=9, score=0.1) == CONTINUE  # it is the first at epoch 8
    assert decide(scheduler, 2, epoch=10, score=0.1) == STOP
