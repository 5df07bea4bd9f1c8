"""Where ASHA compares trials, and what that saves at best."""

from __future__ import annotations

import pytest

from sed_model.config.stages import StagePlan, plan_stages
from tests.trainables.spaces.test_space import SPACE_FILES
from trainables.spaces.check import SPACES_DIR
from trainables.spaces.load import load_space
from trainables.spaces.rungs import describe_rungs, ideal_saving, rung_epochs
from trainables.spaces.settings import AshaSettings


def chain(*epochs: int) -> tuple[StagePlan, ...]:
    names = ("pretrain_ce", "train_bce", "finetune")
    return tuple(StagePlan(names[place], sum(epochs[:place]), epochs[place]) for place in range(len(epochs)))


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [
        ((6, 5, 3), (8, 10)),  # 40 and 80 % of five epochs
        ((4, 4, 2), (6, 8)),
        ((3, 4, 2), (5, 7)),
        ((30, 25, 15), (40, 50)),
        ((6, 2, 3), (8,)),  # not after one epoch of a stage
        ((6, 1, 3), (7,)),
        ((2, 1), ()),
        ((10,), (4, 8)),
    ],
)
def test_rungs_lie_in_the_second_stage(epochs: tuple[int, ...], rungs: tuple[int, ...]) -> None:
    assert rung_epochs(AshaSettings(), chain(*epochs)) == rungs


@pytest.mark.parametrize(
    ("grace_period", "factor", "rungs"),
    [(3, 3, (3, 9)), (1, 2.5, (1, 3, 7)), (12, 3, ()), (1, 1.1, tuple(range(1, 12)))],
)
def test_a_grace_period_grows_by_the_factor(grace_period: int, factor: float, rungs: tuple[int, ...]) -> None:
    settings = AshaSettings(grace_period=grace_period, reduction_factor=factor)
    assert rung_epochs(settings, (StagePlan("pseudo", 0, 12),)) == rungs


def test_the_ideal_saving_of_nine_trials_by_hand() -> None:
    """Six stop at epoch 8, two at 10, one goes on to 14: 82 of 126 epochs."""
    assert ideal_saving((8, 10), 14, 3) == pytest.approx(1 - 82 / 126)
    assert ideal_saving((8,), 14, 3) == pytest.approx(1 - (2 * 8 + 14) / 42)  # with one rung: 29 %
    assert ideal_saving((), 14, 3) == 0


def test_the_description_names_places_and_saving() -> None:
    text = describe_rungs(AshaSettings(), chain(6, 5, 3))
    assert text.startswith(
        "after epoch 8 (train_bce 2 of 5), 10 (train_bce 4 of 5) of 14, one of 3 goes on: ideally 35 %"
    )
    assert describe_rungs(None, chain(6, 5, 3)) == "none: every trial runs its 14 epochs"
    assert "no trial is stopped early" in describe_rungs(AshaSettings(), chain(2, 1))


@pytest.mark.parametrize("base", [None, SPACES_DIR / "demo.yaml"], ids=["own base", "demo.yaml"])
@pytest.mark.parametrize("name", SPACE_FILES)
def test_every_space_of_the_repository_has_two_rungs(name: str, base: None) -> None:
    """Two epochs or more into a stage that is not the first of several, where scores mean something."""
    space = load_space(name, {"model.backbone": "mobilenetv3_small_050"}, base=base)
    assert space.search.scheduler is not None
    plans = plan_stages(space.base, space.search.stages)
    rungs = rung_epochs(space.search.scheduler, plans)
    assert len(rungs) >= 2
    assert all(epoch < plans[-1].last_epoch for epoch in rungs)
    for epoch in rungs:
        stage = next(plan for plan in plans if epoch <= plan.last_epoch)
        assert len(plans) == 1 or stage is not plans[0]
        assert epoch - stage.first_epoch >= 2
