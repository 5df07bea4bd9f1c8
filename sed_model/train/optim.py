"""Optimiser with parameter groups, the learning rate as a function of the step, and averaged weights (EMA)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sed_model.config.training import Optim, Stage
from sed_model.core.errors import CheckpointError, ConfigError

ONE_CYCLE_RISE_SHARE = 0.3
ONE_CYCLE_START_SHARE = 0.04
"""One-cycle (Smith and Topin 2018) starts at 1/25 of the highest rate and reaches it after 30 % of the steps."""
SGD_MOMENTUM = 0.9


def build_optimizer(
    model: nn.Module, stage: Stage, settings: Optim, beside: nn.Module | None = None
) -> torch.optim.Optimizer:
    """The optimiser of a stage, with up to four groups: backbone and all else, each with and without weight decay.

    Norms, biases and other vectors (ndim <= 1) have no decay. Each group stores "lr_scale", its learning rate over that
    of the head; `set_learning_rate` uses it. Parameters that need no gradient are left out, and so is the backbone with
    `stage.freeze_backbone` (turning its gradients off is up to the caller). SGD has Nesterov momentum 0.9, and its
    weight decay is L2.

    Args:
        model: its feature extractor is the submodule `backbone`; all else counts as head.
        beside: trained with the model, as its head is.

    Raises:
        ConfigError: no parameter is left to train.
    """
    grouped: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    named = [*model.named_parameters(), *(beside.named_parameters() if beside else ())]
    for name, parameter in named:
        in_backbone = name.startswith("backbone.")
        if parameter.requires_grad and not (in_backbone and stage.freeze_backbone):
            grouped.setdefault((in_backbone, parameter.ndim > 1), []).append(parameter)
    if not grouped:
        raise ConfigError(
            f"freeze_backbone={stage.freeze_backbone} leaves no parameter to train; set it to false for this stage."
        )
    groups = []
    for (in_backbone, decays), parameters in sorted(grouped.items(), key=lambda item: item[0]):
        scale = settings.backbone_lr_scale if in_backbone else 1.0
        groups.append(
            {
                "params": parameters,
                "lr": stage.lr * scale,
                "lr_scale": scale,
                "weight_decay": settings.weight_decay if decays else 0.0,
            }
        )
    return _optimizer(groups, settings)


def _optimizer(groups: list[dict[str, Any]], settings: Optim) -> torch.optim.Optimizer:
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=SGD_MOMENTUM, nesterov=True, fused=True)
    if settings.optimizer == "radam":
        return torch.optim.RAdam(groups, decoupled_weight_decay=True)
    return torch.optim.AdamW(groups, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give the head `lr`, and every group its share of it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def learning_rate(step: int, total_steps: int, steps_per_epoch: int, stage: Stage, settings: Optim) -> float:
    """The head's learning rate for an optimiser step of a stage.

    Linear warm-up over `stage.warmup_epochs` (at most half of the stage), the first step already above 0; then the
    schedule, from `stage.lr` to exactly `stage.min_lr` at the last step (and at the last step of each cycle of
    cosine_restarts; Loshchilov and Hutter 2017). `one_cycle` has its own rise in place of the warm-up; `constant`
    stays at `stage.lr`.

    Args:
        step: optimiser steps (not batches, not epochs) done so far in the stage, 0 .. total_steps - 1; later steps
            get the last one's rate.
        total_steps: optimiser steps of the whole stage.
        steps_per_epoch: optimiser steps of an epoch.
    """
    step = min(step, total_steps - 1)
    if settings.scheduler == "one_cycle":
        return _one_cycle(step, total_steps, stage)
    n_warmup = min(round(stage.warmup_epochs * steps_per_epoch), total_steps // 2)
    if step < n_warmup:
        return stage.lr * (step + 1) / (n_warmup + 1)
    if settings.scheduler == "constant":
        return stage.lr
    n_cycles = settings.restarts if settings.scheduler == "cosine_restarts" else 1
    position, length = _position_in_cycle(step - n_warmup, total_steps - n_warmup, n_cycles)
    return _cosine(stage.lr, stage.min_lr, position, length)


def _position_in_cycle(step: int, n_steps: int, n_cycles: int) -> tuple[int, int]:
    """Step within its cycle and the cycle's length, for cycles as equal as whole steps allow."""
    starts = [cycle * n_steps // n_cycles for cycle in range(n_cycles + 1)]
    cycle = max(index for index in range(n_cycles) if starts[index] <= step)
    return step - starts[cycle], starts[cycle + 1] - starts[cycle]


def _one_cycle(step: int, total_steps: int, stage: Stage) -> float:
    top = round(ONE_CYCLE_RISE_SHARE * (total_steps - 1))
    if step < top:
        return _cosine(stage.lr * ONE_CYCLE_START_SHARE, stage.lr, step, top + 1)
    return _cosine(stage.lr, stage.min_lr, step - top, total_steps - top)


def _cosine(start: float, end: float, position: int, length: int) -> float:
    """Half a cosine: `start` at position 0, `end` at position length - 1."""
    if length <= 1:
        return start
    return end + (start - end) * (1 + math.cos(math.pi * position / (length - 1))) / 2


class Ema:
    """Exponential moving average of a model's weights (Polyak averaging), for evaluation and for the checkpoint.

    The decay warms up: min(decay, (1 + updates) / (10 + updates)), so the first weights are soon forgotten. Everything
    in the model's state_dict is kept: floating-point buffers (BatchNorm's running statistics) are averaged like the
    parameters whose outputs they describe, integer buffers (its counters) are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Starts from the model's weights as they are; `decay` is 0 (no memory) to below 1."""
        self.decay = decay
        self.updates = 0
        self._average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model's weights; call it after every optimiser step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        averaged, current = [], []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                averaged.append(self._average[name])
                current.append(value)
            else:
                self._average[name].copy_(value)
        torch._foreach_lerp_(averaged, current, 1 - decay)

    @property
    def average(self) -> Mapping[str, Tensor]:
        """The averaged state_dict of the model; not a copy."""
        return self._average

    def copy_to(self, model: nn.Module) -> None:
        """Overwrite the model's weights and buffers with the averages."""
        model.load_state_dict(self._average)

    @contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """The model with the averages inside the block; its own weights are back afterwards, also after an error."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.copy_to(model)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs; plain types and tensors (torch.load with weights_only=True reads it)."""
        return {"decay": self.decay, "updates": self.updates, "average": dict(self._average)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; the tensors are copied.

        Raises:
            CheckpointError: the averages are those of another model.
        """
        average: Mapping[str, Tensor] = state["average"]
        mismatched = sorted(average.keys() ^ self._average.keys()) or [
            name for name, value in self._average.items() if value.shape != average[name].shape
        ]
        if mismatched:
            raise CheckpointError(
                f"the averaged weights do not fit the model: {len(mismatched)} entries differ, first "
                f"{mismatched[0]!r}; resume with the configuration of the checkpoint."
            )
        self.decay, self.updates = state["decay"], state["updates"]
        for name, value in self._average.items():
            value.copy_(average[name])
