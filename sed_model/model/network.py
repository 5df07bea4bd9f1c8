"""The SED model: log-mel images -> clip and frame logits."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sed_model.config.sed_config import SedConfig, n_frames_in
from sed_model.model.backbones import Backbone
from sed_model.model.frontend import InputImages
from sed_model.model.heads import AttentionHead


class SedOutput(NamedTuple):
    clip_logits: Float[Tensor, "batch classes"]
    frame_logits: Float[Tensor, "batch steps classes"]


class SedModel(nn.Module):
    """`images` makes the input from waveforms; `forward` takes it, so that it can be augmented in between."""

    def __init__(self, config: SedConfig, n_classes: int) -> None:
        super().__init__()
        self.images = InputImages(config.front_end, config.model.multi_resolution)
        image = config.front_end.n_mels, n_frames_in(config.data.window_s, config.front_end)
        self.backbone = Backbone(config.model, self.images.n_channels, image)
        if config.optim.grad_checkpointing:
            self.backbone.recompute_activations()
        self.head = AttentionHead(config.model, self.backbone.n_features, n_classes)

    def forward(
        self, images: Float[Tensor, "batch channels mels frames"], target: Float[Tensor, "batch 2"] | None = None
    ) -> SedOutput:
        """Logits; `target` is the part of the window that the clip logits are for: start and end, as shares."""
        return SedOutput(*self.head(self.backbone(images), target))

    def with_frames(
        self, images: Float[Tensor, "batch channels mels frames"], target: Float[Tensor, "batch 2"] | None = None
    ) -> tuple[SedOutput, Float[Tensor, "batch steps hidden"]]:
        """What `forward` gives, and the frame features that it is made of (before their dropout)."""
        frames = self.head.frames(self.backbone(images))
        return SedOutput(*self.head.scores(frames, target)), frames

    def n_params_m(self) -> float:
        """Number of parameters in millions."""
        return sum(parameter.numel() for parameter in self.parameters()) / 1e6


@torch.inference_mode()
def cpu_ms_per_window(model: SedModel, n_samples: int, batch_size: int = 4, repeats: int = 5) -> float:
    """CPU milliseconds for one window from waveform to logits: one thread, fp32, the fastest of some fixed batches."""
    waveforms = torch.randn(batch_size, n_samples, generator=torch.Generator().manual_seed(0)) * 0.1
    n_threads = torch.get_num_threads()
    was_training = model.training
    torch.set_num_threads(1)
    model.eval()
    try:
        costs_s = []
        for _ in range(repeats):
            start_s = time.thread_time()
            model(model.images(waveforms))
            costs_s.append(time.thread_time() - start_s)
    finally:
        torch.set_num_threads(n_threads)
        model.train(was_training)
    return min(costs_s) * 1000 / batch_size
