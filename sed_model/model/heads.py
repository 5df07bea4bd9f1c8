"""Feature maps -> frame scores -> clip scores. Only the frequency axis is pooled: time lives until the clip score."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sed_model.config.sed_config import HEAD_DIM, Model

GEM_FLOOR = 1e-6


class FrequencyPool(nn.Module):
    """[batch, features, bands, steps] -> [batch, steps, features] by mean, maximum or generalised mean over the bands.

    Generalised mean: (mean x^p)^(1/p), Radenovic et al. 2018. Its exponent is learned as a logarithm, so that no bound
    can hold it.
    """

    def __init__(self, settings: Model) -> None:
        super().__init__()
        self.kind = settings.pool_type
        if self.kind == "gem":
            self.log_p = nn.Parameter(torch.tensor(math.log(settings.gem_p)))

    @property
    def p(self) -> Tensor:
        """The exponent of the generalised mean."""
        return self.log_p.float().exp()

    def forward(self, features: Float[Tensor, "batch features bands steps"]) -> Float[Tensor, "batch steps features"]:
        if self.kind == "avg":
            pooled = features.mean(dim=2)
        elif self.kind == "max":
            pooled = features.amax(dim=2)
        else:
            pooled = self._generalised_mean(features.float().clamp(min=GEM_FLOOR)).to(features.dtype)
        return pooled.transpose(1, 2)

    def _generalised_mean(self, x: Float[Tensor, "batch features bands steps"]) -> Tensor:
        # Over the largest band, or powers of small values would be 0 and have no gradient. It cancels out, so that the
        # gradient need not pass it.
        largest = x.detach().amax(dim=2, keepdim=True)
        return largest.squeeze(2) * (x / largest).pow(self.p).mean(dim=2).pow(1 / self.p)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *arguments: Any) -> None:
        """Models of before 0.2 hold the exponent itself, which counted as 1 below 1."""
        if (old := state_dict.pop(f"{prefix}p", None)) is not None:
            state_dict[f"{prefix}log_p"] = old.clamp(min=1).log()
        super()._load_from_state_dict(state_dict, prefix, *arguments)


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
    """What each frame hears from the other frames of its clip: [batch, steps, width] -> the same, to be added.

    A pre-norm residual branch (Xiong et al. 2020) with sinusoidal positions (Vaswani et al. 2017). Its last layer
    starts at 0: a new model is the one without attention, and learns how much to mix.
    """

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(HEAD_DIM)
        self.attention = nn.MultiheadAttention(HEAD_DIM, n_heads, batch_first=True)
        nn.init.zeros_(self.attention.out_proj.weight)

    def forward(self, frames: Float[Tensor, "batch steps width"]) -> Float[Tensor, "batch steps width"]:
        normed = self.norm(frames)
        placed = normed + positions(frames.shape[1], normed)
        heard: Tensor = self.attention(placed, placed, normed, need_weights=False)[0]
        return heard


def positions(n_steps: int, like: Tensor) -> Float[Tensor, "steps width"]:
    """Sines and cosines of each step's number, with periods of 2 pi to 20,000 pi steps."""
    steps = torch.arange(n_steps, device=like.device, dtype=torch.float32)
    rates = torch.exp(torch.arange(0, HEAD_DIM, 2, device=like.device) * (-math.log(10_000.0) / HEAD_DIM))
    angles = steps[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(like.dtype)


class AttentionHead(nn.Module):
    """Frame scores a class, and clip scores as their attention-weighted mean (PANNs, Kong et al. 2020)."""

    def __init__(self, settings: Model, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.pool = FrequencyPool(settings)
        self.skip = settings.skip_connection
        self.norm = nn.LayerNorm(n_features) if settings.extra_norm else nn.Identity()
        self.project = nn.Sequential(nn.Dropout(settings.drop_rate), FrameLinear(n_features, HEAD_DIM), nn.ReLU())
        self.mix = nn.Sequential(nn.Linear(HEAD_DIM, HEAD_DIM), nn.ReLU())
        self.self_attention = SelfAttention(settings.attention_heads) if settings.multi_head_attention else None
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
        return self.scores(self.frames(features), target)

    def frames(self, features: Float[Tensor, "batch features bands steps"]) -> Float[Tensor, "batch steps hidden"]:
        """What each frame holds, `HEAD_DIM` wide: the frame scores are a linear function of it."""
        frames = self.project(self.norm(self.pool(features)))
        mixed = self.mix(frames)
        return frames + mixed if self.skip else mixed

    def scores(
        self, frames: Float[Tensor, "batch steps hidden"], target: Float[Tensor, "batch 2"] | None = None
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch steps classes"]]:
        """Clip logits and frame logits of `frames`; `target` as for `forward`."""
        frames = self.dropout(frames)
        frame_logits = self.classify(frames).float()
        # Self-attention decides how much a frame counts, not what it holds: where mixed frames were classified, each
        # came to score the whole clip (frame AUC .92 instead of 1.00 on events of one to four frames).
        weighed = frames if self.self_attention is None else frames + self.self_attention(frames)
        # tanh keeps one frame from taking all the weight before the classifier has learnt anything.
        attention = torch.tanh(self.attend(weighed)).float()
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
