"""Feature maps -> frame scores -> clip scores. Only the frequency axis is pooled: time lives until the clip score."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sed_model.config import HEAD_DIM, Model

GEM_FLOOR = 1e-6


class FrequencyPool(nn.Module):
    """[batch, features, bands, steps] -> [batch, steps, features] by mean, maximum or generalised mean over the bands.

    Generalised mean: (mean x^p)^(1/p) with a learnable p >= 1, Radenovic et al. 2018.
    """

    def __init__(self, settings: Model) -> None:
        super().__init__()
        self.kind = settings.pool_type
        if self.kind == "gem":
            self.p = nn.Parameter(torch.tensor(settings.gem_p))

    def forward(self, features: Float[Tensor, "batch features bands steps"]) -> Float[Tensor, "batch steps features"]:
        if self.kind == "avg":
            pooled = features.mean(dim=2)
        elif self.kind == "max":
            pooled = features.amax(dim=2)
        else:
            p = self.p.float().clamp(min=1.0)
            pooled = features.float().clamp(min=GEM_FLOOR).pow(p).mean(dim=2).pow(1 / p).to(features.dtype)
        return pooled.transpose(1, 2)


class FrameLinear(nn.Linear):
    """nn.Linear that is fast where frames come transposed from the pooling, and nobody asks for gradients.

    PyTorch then multiplies each window of the batch by a copy of the weights; in bf16 on a CPU the copies take ten
    times as long as the products. Here are the same products, to the bit, without the copies.
    """

    def forward(self, frames: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch steps out"]:
        bf16_on_cpu = frames.dtype is torch.bfloat16 and frames.device.type == "cpu"
        if not (bf16_on_cpu and torch.is_inference_mode_enabled()) or frames.is_contiguous():
            return super().forward(frames)
        weight, bias = self.weight.to(frames.dtype).T, self.bias.to(frames.dtype)
        return torch.stack([window @ weight for window in frames]) + bias


class SelfAttention(nn.Module):
    """Each frame looks at all frames of its clip."""

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(HEAD_DIM, n_heads, batch_first=True)

    def forward(self, frames: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch steps width"]:
        mixed: Tensor = self.attention(frames, frames, frames, need_weights=False)[0]
        return mixed


class AttentionHead(nn.Module):
    """Frame scores a class, and clip scores as their attention-weighted mean (PANNs, Kong et al. 2020)."""

    def __init__(self, settings: Model, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.pool = FrequencyPool(settings)
        self.skip = settings.skip_connection
        self.norm = (
            nn.Sequential(nn.LayerNorm(n_features), nn.Dropout(settings.drop_rate))
            if settings.extra_norm
            else nn.Identity()
        )
        self.project = nn.Sequential(nn.Dropout(settings.drop_rate), FrameLinear(n_features, HEAD_DIM), nn.ReLU())
        self.mix: nn.Module = (
            SelfAttention(settings.attention_heads)
            if settings.multi_head_attention
            else nn.Sequential(nn.Linear(HEAD_DIM, HEAD_DIM), nn.ReLU())
        )
        self.dropout = nn.Dropout(settings.final_dropout)
        self.attend = nn.Linear(HEAD_DIM, n_classes)
        self.classify = nn.Linear(HEAD_DIM, n_classes)
        # One class of n is present: the first loss is then that of an informed guess, and few-shot sets start sooner.
        nn.init.constant_(self.classify.bias, -math.log(max(n_classes - 1, 1)))

    def forward(
        self, features: Float[Tensor, "batch features bands steps"], target: Float[Tensor, "batch 2"] | None = None
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch steps classes"]]:
        """Clip logits and frame logits.

        Args:
            target: start and end of the part that the clip logits are for, as shares of the window; default: all of it.
        """
        frames = self.project(self.norm(self.pool(features)))
        mixed = self.mix(frames)
        frames = self.dropout(frames + mixed if self.skip else mixed)
        frame_logits = self.classify(frames).float()
        # tanh keeps one frame from taking all the weight before the classifier has learnt anything.
        attention = torch.tanh(self.attend(frames)).float()
        if target is not None:
            outside = ~frames_inside(target, frame_logits.shape[1])
            attention = attention.masked_fill(outside.unsqueeze(-1), -torch.inf)
        weights = torch.softmax(attention, dim=1)
        return (weights * frame_logits).sum(dim=1), frame_logits


def frames_inside(target: Float[Tensor, "batch 2"], n_steps: int) -> torch.Tensor:
    """True for the frames whose centre lies in the target (the nearest frame where none does) [batch, steps]."""
    centres = (torch.arange(n_steps, device=target.device) + 0.5) / n_steps
    inside = (centres >= target[:, :1]) & (centres < target[:, 1:])
    nearest = (centres - target.mean(dim=1, keepdim=True)).abs().argmin(dim=1, keepdim=True)
    return inside.scatter(1, nearest, True)
