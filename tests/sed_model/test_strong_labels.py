"""Onsets and offsets teach a head when a class sounds, where labels of whole clips leave that open."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from sed_model.config.sed_config import Model
from sed_model.config.training import Loss
from sed_model.data.targets import Truth
from sed_model.model.heads import AttentionHead
from sed_model.run_folder.metrics import macro_auc
from sed_model.train.frame_truth import frame_truth
from sed_model.train.losses import stage_loss, strong_loss

N_CLIPS, N_FEATURES, N_BANDS, N_STEPS, N_CLASSES = 128, 32, 4, 12, 3
LOUD = 4.0


def scenes(seed: int) -> tuple[Tensor, Tensor]:
    """Feature maps, and the events in them: rows of class, start and end.

    An event of 1 to 4 steps comes with a companion of its class somewhere in the same clip, as a frog with its pond: by
    labels of clips nobody can tell one from the other.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    patterns = torch.randn(2, N_CLASSES, N_FEATURES, generator=torch.Generator().manual_seed(99)).abs()
    patterns = LOUD * patterns / patterns.norm(dim=2, keepdim=True)
    maps = 0.5 * torch.rand(N_CLIPS, N_FEATURES, N_BANDS, N_STEPS, generator=generator)
    events = torch.tensor([-1.0, 0.0, 0.0]).repeat(N_CLIPS, N_CLASSES, 1)
    for clip, label in itertools.product(range(N_CLIPS), range(N_CLASSES)):
        if draw(0, 4):
            continue
        for sound in (0, 1):
            n_steps = draw(1, 5)
            first = draw(0, N_STEPS - n_steps + 1)
            maps[clip, :, draw(0, N_BANDS), first : first + n_steps] += patterns[sound, label][:, None]
            if sound == 0:
                events[clip, label] = torch.tensor([label, first / N_STEPS, (first + n_steps) / N_STEPS])
    return maps, events


def labels_of(events: Tensor) -> Tensor:
    return (events[..., 0] >= 0).float()


def trained(weight: float) -> AttentionHead:
    """A head after six epochs; `weight` as `loss.strong_weight`. The same seed, clips and labels of clips."""
    torch.manual_seed(0)
    head = AttentionHead(Model(), N_FEATURES, N_CLASSES).train()
    maps, events = scenes(seed=1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-3)
    for rows in torch.arange(N_CLIPS).repeat(6).split(32):
        labels, ones = labels_of(events[rows]), torch.ones(len(rows))
        clip_logits, frame_logits = head(maps[rows])
        loss = stage_loss(
            "bce", clip_logits, frame_logits, Truth(labels, torch.ones_like(labels, dtype=torch.bool), ones), Loss()
        )
        timed = Truth(*frame_truth(events[rows], labels, N_STEPS), ones)
        optimizer.zero_grad()
        (loss + weight * strong_loss(frame_logits, timed)).backward()
        optimizer.step()
    return head


@torch.no_grad()
def frame_auc_within_clips(head: AttentionHead) -> float:
    """Of the steps of a class in a new clip that holds it: the mean over classes and clips."""
    maps, events = scenes(seed=2)
    frames = head.eval()(maps)[1]
    there, _ = frame_truth(events, labels_of(events), N_STEPS)
    found = [
        macro_auc(there[clip, :, [label]].numpy(), frames[clip, :, [label]].numpy())
        for clip, label in labels_of(events).nonzero().tolist()
    ]
    return float(np.mean(found))


def test_a_head_that_hears_of_onsets_and_offsets_locates_events_better() -> None:
    weak, strong = (frame_auc_within_clips(trained(weight)) for weight in (0.0, 1.0))
    assert weak < 0.93
    assert strong > 0.98
