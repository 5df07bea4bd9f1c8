"""Every combination of the head's toggles keeps the time axis: frames differ within a clip, and events are found."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from sed_model.config.sed_config import Model
from sed_model.config.training import Loss
from sed_model.data.targets import Truth
from sed_model.model.heads import AttentionHead
from sed_model.run_folder.metrics import macro_auc
from sed_model.train.losses import stage_loss

N_FEATURES, N_BANDS, N_STEPS, N_CLASSES = 32, 4, 12, 3
COMBINATIONS = [
    dict(zip(("multi_head_attention", "skip_connection", "extra_norm", "pool_type"), values, strict=True))
    for values in itertools.product([False, True], [False, True], [False, True], ["avg", "max", "gem"])
]


def toggled(settings: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


def new_head(settings: dict[str, Any]) -> AttentionHead:
    torch.manual_seed(0)
    return AttentionHead(Model(**settings), N_FEATURES, N_CLASSES)


def scenes(n_clips: int, seed: int) -> tuple[Tensor, Tensor]:
    """Feature maps with noise and events of 1 to 4 steps in one band; which class is there at which step."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    patterns = torch.randn(N_CLASSES, N_FEATURES, generator=torch.Generator().manual_seed(99)).abs()
    patterns = 4 * patterns / patterns.norm(dim=1, keepdim=True)
    maps = 0.5 * torch.rand(n_clips, N_FEATURES, N_BANDS, N_STEPS, generator=generator)
    there = torch.zeros(n_clips, N_STEPS, N_CLASSES)
    for clip, label in itertools.product(range(n_clips), range(N_CLASSES)):
        if draw(0, 4) == 0:
            n_steps = draw(1, 5)
            first = draw(0, N_STEPS - n_steps + 1)
            maps[clip, :, draw(0, N_BANDS), first : first + n_steps] += patterns[label][:, None]
            there[clip, first : first + n_steps, label] = 1
    return maps, there


def within_clips(frame_logits: Tensor) -> float:
    """Share of the frame logits' variance that lies within clips."""
    return float(frame_logits.var(dim=1).mean() / frame_logits.flatten(0, 1).var(dim=0).mean())


@torch.no_grad()
def frame_logits(head: AttentionHead, maps: Tensor) -> Tensor:
    logits: Tensor = head.eval()(maps)[1]
    return logits


@pytest.mark.parametrize("settings", COMBINATIONS, ids=toggled)
def test_frames_of_a_new_head_vary_within_a_clip(settings: dict[str, Any]) -> None:
    maps, _ = scenes(64, seed=1)
    plain = within_clips(frame_logits(new_head({}), maps))
    assert plain > 0.9
    assert within_clips(frame_logits(new_head(settings), maps)) >= 0.7 * plain


@pytest.mark.parametrize("settings", COMBINATIONS, ids=toggled)
def test_a_call_in_one_frame_moves_the_logits_of_that_frame(settings: dict[str, Any]) -> None:
    head, generator = new_head(settings), torch.Generator().manual_seed(0)
    maps = 0.5 * torch.rand(8, N_FEATURES, N_BANDS, N_STEPS, generator=generator)
    called = maps.clone()
    called[:, :, 1, 5] += 2 * torch.rand(N_FEATURES, generator=generator)
    moved = (frame_logits(head, called) - frame_logits(head, maps)).abs().mean(dim=(0, 2))
    others = torch.cat([moved[:5], moved[6:]])
    assert float(moved[5]) > 1e-3
    assert float(moved[5]) >= 5 * float(others.max())


@pytest.mark.parametrize("settings", COMBINATIONS, ids=toggled)
def test_events_are_found_after_training(settings: dict[str, Any]) -> None:
    """Trained by labels of whole clips, as recordings have them, a head tells in which frames an event lies."""
    maps, there = scenes(256, seed=1)
    head, targets = new_head(settings).train(), there.amax(dim=1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-3)
    for rows in torch.arange(256).repeat(6).split(32):
        truth = Truth(targets[rows], torch.ones_like(targets[rows], dtype=torch.bool), torch.ones(len(rows)))
        loss = stage_loss("bce", *head(maps[rows]), truth, Loss())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    new_maps, new_there = scenes(128, seed=2)
    found = frame_logits(head, new_maps)
    assert macro_auc(new_there.flatten(0, 1).numpy(), found.flatten(0, 1).numpy()) >= 0.99
    assert within_clips(found) > 0.5  # frames of a trained head that all score the clip: .04
