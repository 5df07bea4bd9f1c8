import pytest

from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import PARENTS, SUPERVISED_STAGES, StagePlan, plan_stages
from sed_model.config.training import STAGE_NAMES
from sed_model.core.errors import ConfigError


def test_stages_lie_one_after_the_other_on_the_global_epoch_counter() -> None:
    plans = plan_stages(SedConfig(), SUPERVISED_STAGES)
    assert plans == (
        StagePlan("pretrain_ce", 0, 30),
        StagePlan("train_bce", 30, 25),
        StagePlan("finetune", 55, 15),
    )
    assert plans[-1].last_epoch == 70


@pytest.mark.parametrize(
    ("scale", "epochs"),
    [(0.2, (6, 5, 3)), (0.1, (3, 3, 2)), (0.001, (1, 1, 1)), (2.0, (60, 50, 30))],
)
def test_scaled_epochs_are_rounded_up(scale: float, epochs: tuple[int, ...]) -> None:
    assert tuple(plan.epochs for plan in plan_stages(SedConfig(), SUPERVISED_STAGES, scale)) == epochs


def test_a_stage_alone_starts_at_epoch_0() -> None:
    assert plan_stages(SedConfig(), ["finetune"]) == (StagePlan("finetune", 0, 15),)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train_bse"], "'train_bse'.*unknown.*pretrain_ce, train_bce, finetune, pseudo"),
        ([], "no stage is named"),
        (["train_bce", "pretrain_ce"], "pretrain_ce starts from None, not train_bce"),
        (["pretrain_ce", "finetune"], "finetune starts from train_bce, not pretrain_ce"),  # fault 6
        (["finetune", "finetune"], "finetune starts from train_bce, not finetune"),
    ],
)
def test_a_wrong_chain_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_stages(SedConfig(), names)


def test_every_stage_has_one_parent_before_it() -> None:
    assert [PARENTS[name] for name in STAGE_NAMES] == [None, *STAGE_NAMES[:-1]]
