"""`optim.auto_batch`: a batch that memory has no room for is halved until it fits, and the steps are accumulated.

It works where an allocation that is too large fails: on GPUs, and on CPUs under a limit of address space
(`ulimit -v`). Linux kills a process that outgrows the memory of its machine or container without a word.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import nn

from sed_model.clips.dataset import Batch, ClipKey, EpochLoaders
from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import StagePlan
from sed_model.core.errors import TrainingError
from sed_model.model.devices import Runtime, explained_memory_errors, ran_out_of_memory
from sed_model.model.network import SedModel
from sed_model.model.shares import Share, highest
from sed_model.train.stage_training import Place, StageTraining

LEAST_CLIPS = 2
"""A step of a process: batch statistics of a single clip are undefined in layers after a global pooling."""
NOTHING_FITS = 64
"""Number of halvings that stands for no batch at all."""

T = TypeVar("T")


@dataclass(frozen=True)
class StageSetUp:
    """What a stage is trained with."""

    model: SedModel
    plan: StagePlan
    config: SedConfig
    loaders: EpochLoaders
    runtime: Runtime


def with_fitting_batch(stage: StageSetUp) -> tuple[SedConfig, str]:
    """The configuration with a batch that fits, and a note of what has changed ("" if nothing has).

    Each try runs forward and backward in training mode over one clip repeated as often as the batch has clips; weights,
    batch statistics and random numbers stay as they are. The optimiser still sees as many clips in a step (fewer by the
    remainder where an odd number was halved). Of several processes the one with the least room decides for all.

    Raises:
        TrainingError: not even two clips per process fit.
    """
    n_clips, least = stage.loaders.batch_size, LEAST_CLIPS * stage.runtime.world_size
    hint = (
        f"{stage.plan.name} with {least} clips of {stage.config.data.window_s:g} s a step; "
        "set optim.grad_checkpointing=true, shorten data.window_s or choose a smaller model.backbone."
    )
    try:
        with explained_memory_errors(hint):
            _, fitting = halved_until_it_fits(lambda n: _try_step(stage, n), n_clips, least)
        halvings = n_clips.bit_length() - fitting.bit_length()
        problem = None
    except TrainingError as error:
        halvings, problem = NOTHING_FITS, error
    # Before anything is raised: the other processes wait for the answer.
    halvings = highest(halvings, stage.runtime)
    if halvings == NOTHING_FITS:
        raise problem or TrainingError(f"out of memory in another worker in {hint}")
    if halvings == 0:
        return stage.config, ""
    optim = stage.config.optim
    n_fitting, n_accumulated = n_clips >> halvings, optim.accumulation_steps << halvings
    optim = optim.model_copy(update={"batch_size": n_fitting, "accumulation_steps": n_accumulated})
    note = f"auto_batch: {n_clips} clips do not fit, {n_fitting} a step x {n_accumulated} accumulated"
    return stage.config.model_copy(update={"optim": optim}), note


def halved_until_it_fits(attempt: Callable[[int], T], n: int, least: int) -> tuple[T, int]:
    """What `attempt` gives for `n`, or for the first half, quarter, ... that memory has room for; and that number.

    Raises:
        RuntimeError, MemoryError: memory ran out, and half would be under `least`.
    """
    while True:
        try:
            return attempt(n), n
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error) or n // 2 < least:
                raise
        n //= 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _try_step(stage: StageSetUp, n_clips: int) -> None:
    """The memory of a step with `n_clips` clips, shared out over the processes; each tries its part alone.

    Alone, because a process that runs out of memory would leave the others waiting in a collective.
    """
    config = stage.config.model_copy(update={"optim": stage.config.optim.model_copy(update={"compile": False})})
    alone = replace(stage.runtime, rank=0, world_size=1)
    training = StageTraining(stage.model, stage.plan, config, stage.loaders, alone)
    n_own = -(-n_clips // stage.runtime.world_size)
    clip = stage.loaders.clips[ClipKey(epoch=1, position=0, row=0)]
    batch = Batch(*(tensor.expand(n_own, *tensor.shape).contiguous().to(alone.device) for tensor in clip))
    with _unchanged(stage.model, alone.device):
        training.set_training_mode()
        for module in stage.model.modules():
            if isinstance(module, nn.SyncBatchNorm):
                module.eval()  # it would wait for the other processes
        # What the first step of AdamW allocates, and DDP for the gradients that it exchanges.
        n_copies = 2 + (stage.runtime.world_size > 1)
        held = [torch.empty_like(weights) for weights in stage.model.parameters() for _ in range(n_copies)]
        for step in (1, 2):  # the second with the gradients of the first, as where steps are accumulated
            loss = training.loss(batch, Place(stage.plan.name, 1, step, ()), Share(n_own))
            training.scaler.scale(loss).backward()
        del held


@contextmanager
def _unchanged(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Buffers and random state are as before after the block, and there are no gradients."""
    buffers = [buffer.clone() for buffer in model.buffers()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            model.zero_grad(set_to_none=True)
            for buffer, before in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(before)
