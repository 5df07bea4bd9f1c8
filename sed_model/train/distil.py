"""Embedding distillation: what a model's frames hold is pulled towards what a frozen foreign model heard in the clip.

A linear projection of the mean frame features is compared with the teacher's embedding by its cosine. It is trained
beside the model, in all stages of a run alike, and is no part of it: no model that is kept has it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sed_model.config.sed_config import HEAD_DIM
from sed_model.model.network import SedModel


class DistilledOutput(NamedTuple):
    """A `SedOutput`, and the teacher's embedding as the model has it."""

    clip_logits: Float[Tensor, "batch classes"]
    frame_logits: Float[Tensor, "batch steps classes"]
    embedding: Float[Tensor, "batch dim"]


def projection_to(dim: int, seed: int) -> nn.Linear:
    """An untrained projection, the same in every process; nobody else's random numbers change."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return nn.Linear(HEAD_DIM, dim)


class Distilled(nn.Module):
    """A model with the projection beside it: what is called in training, so that both are trained as one."""

    def __init__(self, model: SedModel, projection: nn.Linear) -> None:
        super().__init__()
        self.model, self.projection = model, projection

    def forward(
        self, images: Float[Tensor, "batch channels mels frames"], target: Float[Tensor, "batch 2"]
    ) -> DistilledOutput:
        """The embedding is that of all frames: the teacher, too, heard what is around the target."""
        output, frames = self.model.with_frames(images, target)
        return DistilledOutput(*output, self.projection(frames.mean(dim=1)))


def distil_loss(embeddings: Float[Tensor, "batch dim"], heard: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """1 - cosine, as a mean over the rows that are known (`heard` is not 0): 0 to 2, and 0 where none is."""
    known = heard.any(dim=1)
    distances = 1 - F.cosine_similarity(embeddings, heard, dim=1)
    return (distances * known).sum() / known.sum().clamp(min=1)
