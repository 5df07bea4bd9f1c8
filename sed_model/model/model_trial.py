"""A model's first step, taken before any trial starts: what cannot work is refused with the reason."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from sed_model.config.sed_config import BACKBONE_STRIDE, SedConfig, n_frames_in
from sed_model.core.errors import ConfigError
from sed_model.model.backbones import BACKBONE_ERRORS, ImageError, reason_of
from sed_model.model.network import SedModel

N_CLASSES = 2
LONGEST_WINDOW_S = 60.0
"""That of data.window_s."""
N_WINDOWS = 2
"""Batch statistics of a single one would be undefined in layers after a global pooling."""


@dataclass(frozen=True)
class Tried:
    """What the first step of a model shows.

    Attributes:
        left_out: what the backbone's family does not have, a sentence each.
        weights_bytes: of the parameters, in fp32.
        clip_bytes: what the forward pass of a clip in training keeps for the backward pass, in fp32.
    """

    left_out: tuple[str, ...]
    weights_bytes: int
    clip_bytes: int


def try_model(config: SedConfig) -> Tried:
    """Build the model and run noise through it, forth and back in training and forth in evaluation, as a trial will.

    Raises:
        ConfigError: the backbone cannot be built, or cannot compute images of the configuration's own size (channels,
            mels, frames), or has no time axis.
        HubError: the model hub cannot be reached for its weights.
    """
    model = SedModel(config, N_CLASSES)
    n_samples = round(config.data.window_s * config.front_end.sample_rate_hz)
    noise = 0.1 * torch.randn(N_WINDOWS, n_samples, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        images = model.images(noise)
    kept = KeptTensors(model)
    for mode in ("training", "evaluation"):
        model.train(mode == "training")
        try:
            with kept.counted if mode == "training" else nullcontext():
                output = model(images)
            if mode == "training":
                (output.clip_logits.sum() + output.frame_logits.square().mean()).backward()
        except ImageError as error:
            raise ImageError(error.name, error.size, error.reason, _repair(model, config, images)) from None
        except BACKBONE_ERRORS as error:
            raise ImageError(config.model.backbone, images.shape[1:], f"in {mode}: {reason_of(error)}") from None
        if not all(part.isfinite().all() for part in output):
            raise ConfigError(
                f"model.backbone={config.model.backbone} gives NaN or Inf in {mode}, untrained as it is; use another."
            )
    _check_time_axis(model, images)
    weights_bytes = sum(parameter.nbytes for parameter in model.parameters())
    return Tried(model.backbone.left_out, weights_bytes, kept.n_bytes // N_WINDOWS)


class KeptTensors:
    """Counts what a forward pass keeps for the backward pass, beside the model itself; each memory once."""

    def __init__(self, model: nn.Module) -> None:
        self._known = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
        self.n_bytes = 0

    @property
    def counted(self) -> saved_tensors_hooks:
        """A block whose forward pass counts."""
        return saved_tensors_hooks(self._count, lambda tensor: tensor)

    def _count(self, tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in self._known:
            self._known.add(memory.data_ptr())
            self.n_bytes += memory.nbytes()
        return tensor


def _repair(model: SedModel, config: SedConfig, images: Tensor) -> str:
    """The window that is a little longer and has a number of frames that the backbone can compute, if there is one."""
    n_channels, n_mels, n_frames = images.shape[1:]
    for stride in (BACKBONE_STRIDE, 2 * BACKBONE_STRIDE):
        fitting = math.ceil(n_frames / stride) * stride
        window_s = round((fitting - 1) * config.front_end.hop_length / config.front_end.sample_rate_hz, 6)
        if window_s > LONGEST_WINDOW_S or n_frames_in(window_s, config.front_end) != fitting:
            continue
        if _steps(model, images.new_zeros(1, n_channels, n_mels, fitting)):
            return f"it can with {fitting} frames: set data.window_s={window_s:g}, or use another."
    return "use a convolutional one."


def _check_time_axis(model: SedModel, images: Tensor) -> None:
    """
    Raises:
        ConfigError: a window of twice the length has no more time steps.
    """
    one, two = _steps(model, images[:1]), _steps(model, torch.cat([images[:1]] * 2, dim=3))
    if one == two:
        raise ConfigError(
            f"model.backbone={model.backbone.name} gives {one} time steps for {images.shape[3]} frames and for twice "
            "as many: its feature map does not follow the time; use a convolutional one."
        )


@torch.no_grad()
def _steps(model: SedModel, images: Tensor) -> int:
    """Time steps of the backbone's feature map; 0 where it cannot compute images of this size."""
    model.eval()
    try:
        return int(model.backbone(images).shape[3])
    except ImageError:
        return 0
