import io
from itertools import pairwise
from math import cos, pi

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sed_model.config.training import Optim, Stage
from sed_model.core.errors import CheckpointError, ConfigError
from sed_model.train.optim import Ema, build_optimizer, learning_rate, set_learning_rate

STAGE = Stage(lr=1e-3, min_lr=1e-5, warmup_epochs=0)


class TinyModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        self.head = nn.Linear(2, 3)


def _names_in_groups(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[tuple[set[str], float, float]]:
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    return [
        ({name_of[id(p)] for p in group["params"]}, group["lr_scale"], group["weight_decay"])
        for group in optimizer.param_groups
    ]


@pytest.mark.parametrize("name", ["adamw", "radam", "sgd"])
def test_groups_split_backbone_from_head_and_decay_from_none(name: str) -> None:
    model = TinyModel()
    settings = Optim(optimizer=name, backbone_lr_scale=0.1, weight_decay=0.05)
    groups = _names_in_groups(build_optimizer(model, STAGE, settings), model)
    assert sorted(groups, key=lambda group: sorted(group[0])) == [
        ({"backbone.0.bias", "backbone.1.weight", "backbone.1.bias"}, 0.1, 0.0),
        ({"backbone.0.weight"}, 0.1, 0.05),
        ({"head.bias"}, 1.0, 0.0),
        ({"head.weight"}, 1.0, 0.05),
    ]


def test_frozen_backbone_is_left_out() -> None:
    model = TinyModel()
    optimizer = build_optimizer(model, Stage(freeze_backbone=True), Optim())
    assert set.union(*(names for names, _, _ in _names_in_groups(optimizer, model))) == {"head.weight", "head.bias"}


def test_parameters_without_gradient_are_left_out() -> None:
    model = TinyModel()
    model.head.requires_grad_(False)
    groups = _names_in_groups(build_optimizer(model, STAGE, Optim()), model)
    assert all(name.startswith("backbone.") for names, _, _ in groups for name in names)


def test_nothing_to_train_is_an_error() -> None:
    model = TinyModel()
    model.head.requires_grad_(False)
    with pytest.raises(ConfigError, match="freeze_backbone=True leaves no parameter"):
        build_optimizer(model, Stage(freeze_backbone=True), Optim())


def test_set_learning_rate_keeps_the_ratio_of_the_groups() -> None:
    optimizer = build_optimizer(TinyModel(), STAGE, Optim(backbone_lr_scale=0.1))
    set_learning_rate(optimizer, 0.5)
    assert [(group["lr_scale"], group["lr"]) for group in optimizer.param_groups] == [
        (1.0, 0.5),
        (1.0, 0.5),
        (0.1, 0.05),
        (0.1, 0.05),
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    # Weight 1, gradient 1, lr 0.1, decay 0.5.
    # AdamW: 1 - 0.1 * 0.5 - 0.1 * 1. RAdam's first step is plain momentum: the same.
    # SGD: gradient 1 + 0.5 * 1, Nesterov's first step 1.9 times as long.
    [("adamw", 0.85), ("radam", 0.85), ("sgd", 1 - 0.1 * 1.5 * 1.9)],
)
def test_first_step_of_each_optimizer(name: str, expected: float) -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = build_optimizer(model, Stage(lr=0.1), Optim(optimizer=name, weight_decay=0.5))
    model.weight.grad = torch.ones_like(model.weight)
    optimizer.step()
    assert model.weight.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["adamw", "radam"])
def test_weight_decay_is_decoupled_from_the_gradient(name: str) -> None:
    """Without a gradient each step takes lr * decay of the weight, and nothing else."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = build_optimizer(model, Stage(lr=0.1), Optim(optimizer=name, weight_decay=0.5))
    model.weight.grad = torch.zeros_like(model.weight)
    for _ in range(10):
        optimizer.step()
    assert model.weight.item() == pytest.approx(0.95**10, abs=1e-6)


def _curve(
    scheduler: str, total_steps: int, stage: Stage = STAGE, steps_per_epoch: int = 10, **rest: int
) -> list[float]:
    settings = Optim(scheduler=scheduler, **rest)
    return [learning_rate(step, total_steps, steps_per_epoch, stage, settings) for step in range(total_steps)]


def test_cosine_first_middle_and_last_step() -> None:
    """Fault 5: the schedule runs in optimiser steps, and ends at min_lr within the stage."""
    curve = _curve("cosine", 101)
    assert curve[0] == 1e-3
    assert curve[25] == pytest.approx(1e-5 + 0.99e-3 * (1 + cos(pi / 4)) / 2)
    assert curve[50] == pytest.approx((1e-3 + 1e-5) / 2)
    assert curve[100] == 1e-5


def test_warm_up_is_linear_and_reaches_the_highest_rate_once() -> None:
    curve = _curve("cosine", 100, Stage(lr=1e-3, min_lr=0, warmup_epochs=0.4))
    assert curve[:5] == pytest.approx([0.2e-3, 0.4e-3, 0.6e-3, 0.8e-3, 1e-3])
    assert curve.count(1e-3) == 1
    assert curve[-1] == 0


def test_warm_up_takes_at_most_half_of_a_short_stage() -> None:
    curve = _curve("cosine", 10, Stage(lr=1e-3, min_lr=1e-5, warmup_epochs=3))
    assert max(curve) == curve[5] == 1e-3
    assert curve[-1] == 1e-5


def test_cosine_restarts_return_to_the_highest_rate() -> None:
    curve = _curve("cosine_restarts", 12, restarts=3)
    assert [curve[0], curve[4], curve[8]] == [1e-3] * 3
    assert [curve[3], curve[7], curve[11]] == [1e-5] * 3


def test_one_cycle_first_highest_and_last_step() -> None:
    curve = _curve("one_cycle", 101)
    assert curve[0] == pytest.approx(1e-3 / 25)
    assert curve[30] == 1e-3
    assert curve[100] == 1e-5


def test_constant_stays_after_warm_up() -> None:
    curve = _curve("constant", 20, Stage(lr=1e-3, min_lr=1e-5, warmup_epochs=0.1))
    assert curve == pytest.approx([0.5e-3] + [1e-3] * 19)


@given(
    scheduler=st.sampled_from(["cosine", "cosine_restarts", "one_cycle", "constant"]),
    total_steps=st.integers(1, 60),
    warmup_epochs=st.floats(0, 5),
    restarts=st.integers(1, 20),
)
def test_learning_rate_stays_in_its_range(
    scheduler: str, total_steps: int, warmup_epochs: float, restarts: int
) -> None:
    stage = Stage(lr=1e-3, min_lr=1e-5, warmup_epochs=warmup_epochs)
    curve = _curve(scheduler, total_steps, stage, restarts=restarts)
    assert all(0 < rate <= 1e-3 + 1e-12 for rate in curve)
    assert max(curve) == pytest.approx(1e-3)


@given(total_steps=st.integers(2, 60))
def test_cosine_only_falls(total_steps: int) -> None:
    assert all(later < earlier for earlier, later in pairwise(_curve("cosine", total_steps)))


def test_steps_after_the_last_keep_its_rate() -> None:
    assert learning_rate(500, 100, 10, STAGE, Optim()) == 1e-5


def _scalar_model(value: float) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def _moved(value: float, to: float, decay: float) -> tuple[nn.Linear, Ema]:
    """A model whose weight has moved, and the average over both."""
    model = _scalar_model(value)
    ema = Ema(model, decay=decay)
    nn.init.constant_(model.weight, to)
    ema.update(model)
    return model, ema


def test_ema_decay_warms_up() -> None:
    """Decays 1/10 and 2/11: 0.1 * 0 + 0.9 * 1, then 2/11 * 0.9 + 9/11 * 2."""
    model, ema = _moved(0.0, 1.0, decay=0.999)
    assert ema.average["weight"].item() == pytest.approx(0.9)
    nn.init.constant_(model.weight, 2.0)
    ema.update(model)
    assert ema.average["weight"].item() == pytest.approx(2 / 11 * 0.9 + 9 / 11 * 2)


def test_ema_decay_stops_at_its_setting() -> None:
    _, ema = _moved(0.0, 1.0, decay=0.05)
    assert ema.average["weight"].item() == pytest.approx(0.95)


def test_ema_averages_batchnorm_statistics_and_copies_counters() -> None:
    norm = nn.BatchNorm1d(1)
    ema = Ema(norm, decay=0.999)
    norm(torch.tensor([[1.0], [3.0]]))  # running mean 0.1 * 2
    ema.update(norm)
    assert ema.average["running_mean"].item() == pytest.approx(0.9 * 0.2)
    assert ema.average["num_batches_tracked"].item() == 1


def test_ema_leaves_the_model_alone_until_applied() -> None:
    model, ema = _moved(1.0, 3.0, decay=0.5)
    with ema.applied_to(model):
        assert model.weight.item() == pytest.approx(0.1 * 1 + 0.9 * 3)
    assert model.weight.item() == 3.0


def test_ema_gives_the_weights_back_after_an_error() -> None:
    model, ema = _moved(1.0, 3.0, decay=0.5)
    with pytest.raises(KeyboardInterrupt), ema.applied_to(model):
        raise KeyboardInterrupt
    assert model.weight.item() == 3.0


def test_ema_copy_is_not_tied_to_the_model() -> None:
    model = _scalar_model(1.0)
    ema = Ema(model, decay=0.5)
    ema.copy_to(model)
    nn.init.constant_(model.weight, 3.0)
    assert ema.average["weight"].item() == 1.0


def test_resumed_ema_goes_on_as_if_never_stopped() -> None:
    model, ema = _moved(0.0, 1.0, decay=0.999)
    file = io.BytesIO()
    torch.save(ema.state_dict(), file)
    file.seek(0)
    resumed = Ema(_scalar_model(7.0), decay=0.1)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for average in (ema, resumed):
        average.update(model)
    assert resumed.average["weight"].item() == ema.average["weight"].item()


@pytest.mark.parametrize("other", [nn.Linear(2, 1, bias=False), nn.Linear(1, 1, bias=True)], ids=["shape", "names"])
def test_ema_of_another_model_is_refused(other: nn.Module) -> None:
    state = Ema(other, decay=0.5).state_dict()
    with pytest.raises(CheckpointError, match="do not fit the model: 1 entries differ"):
        Ema(_scalar_model(0.0), decay=0.5).load_state_dict(state)
