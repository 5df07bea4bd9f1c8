"""Any convolutional timm model as a feature extractor that keeps its time axis."""

from __future__ import annotations

import difflib
import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sed_model.config.sed_config import Model
from sed_model.core.errors import ConfigError
from sed_model.core.paths import PLACE_ERRORS, is_file
from sed_model.model.devices import ran_out_of_memory

BACKBONE_ERRORS = (
    *(AssertionError, AttributeError, ArithmeticError, ImportError, LookupError, RuntimeError, TypeError, ValueError),
)
"""What the models of timm's hundred families raise for options and images that are not for them."""


class HubError(ConfigError):
    """The model hub cannot be reached: nor could it be for another model."""


class ImageError(ConfigError):
    """A backbone that cannot compute images of a size [channels, mels, frames], and why; `repair` is what helps."""

    def __init__(self, name: str, size: Sequence[int], reason: str, repair: str = "use a convolutional one.") -> None:
        super().__init__(name, size, reason, repair)
        self.name, self.size, self.reason, self.repair = name, tuple(size), reason, repair

    def __str__(self) -> str:
        n_channels, n_mels, n_frames = self.size
        channels = f"{n_channels} channel{'s' * (n_channels > 1)}"
        image = f"{channels} x {n_mels} mels x {n_frames} frames"
        return f"model.backbone={self.name} cannot compute images of {image} ({self.reason}); {self.repair}"


SMALL_IMAGE = (64, 96)
"""Mel bands and frames of the image that a new model is looked at with; a few need more than that."""
LARGER_N_MELS = (96, 128)
"""Mel bands that are tried where a model refuses those of SMALL_IMAGE and of the configuration."""
LEFT_OUT = {
    "drop_path_rate": "has no drop path: model.drop_path_rate is left out",
    "global_pool": "has a global pooling that cannot be left out: it is built with it, and goes unused",
}
"""Options that some families of timm do not take, and what is told of it."""


class Backbone(nn.Module):
    """Log-mel images -> feature maps [batch, features, frequency, time]; `n_features` tells their depth.

    `image` are the mel bands and frames that it is for; `left_out` tells what its family does not have.
    """

    def __init__(self, settings: Model, in_channels: int, image: tuple[int, int] = SMALL_IMAGE) -> None:
        super().__init__()
        self.name = settings.backbone
        self.net, self.left_out = create_timm_model(settings, in_channels)
        self.n_features, self.features_last = _trim(self.net, settings.backbone, in_channels, image)

    def forward(
        self, images: Float[Tensor, "batch channels mels frames"]
    ) -> Float[Tensor, "batch features bands steps"]:
        """
        Raises:
            ImageError: the model cannot compute images of this size.
        """
        try:
            features: Tensor = self.net.forward_features(images)  # type: ignore[operator]
        except BACKBONE_ERRORS as error:
            if images.device.type != "cpu" or (isinstance(error, RuntimeError) and ran_out_of_memory(error)):
                raise
            raise ImageError(self.name, images.shape[1:], reason_of(error)) from error
        return features.permute(0, 3, 1, 2) if self.features_last else features

    def recompute_activations(self) -> None:
        """Keep fewer activations for the backward pass and compute them again there.

        Raises:
            ConfigError: the backbone cannot do it.
        """
        try:
            self.net.set_grad_checkpointing(True)  # type: ignore[operator]
        except (AssertionError, AttributeError):
            raise ConfigError(
                f"optim.grad_checkpointing=true: {self.name} cannot recompute activations; "
                "set it to false, or choose another model.backbone."
            ) from None


def create_timm_model(settings: Model, in_channels: int) -> tuple[nn.Module, tuple[str, ...]]:
    """The timm model without its classifier and without its global pooling, and what of LEFT_OUT is told of it.

    Raises:
        ConfigError: timm does not know the name, its weights do not fit or cannot be had, or it refuses an option.
        HubError: the model hub cannot be reached for the weights.
    """
    name = settings.backbone
    if not timm.is_model(name):
        near = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=3)
        raise ConfigError(f"model.backbone={name}: timm knows no such model; nearest: {', '.join(near) or 'none'}.")
    given: set[str] = set()
    options: dict[str, Any] = {"in_chans": in_channels, "num_classes": 0, "global_pool": ""}
    if settings.drop_path_rate > 0:
        options["drop_path_rate"] = settings.drop_path_rate
    if settings.weights is not None:
        given = _tensors(settings.weights)
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(settings.weights)}}
    elif settings.pretrained:
        options["pretrained"] = True
    try:
        net, left_out = _build(name, options)
    except LocalEntryNotFoundError:
        raise HubError(
            f"model.pretrained=true: the model hub cannot be reached for the weights of {name}; give a file of them "
            f"with model.weights=FILE.safetensors and model.backbone={name}, or start from random weights with "
            "model.pretrained=false."
        ) from None
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise ConfigError(_build_problem(settings, error)) from None
    except BACKBONE_ERRORS as error:
        raise ConfigError(f"model.backbone={name}: timm cannot build it ({reason_of(error)}); use another.") from None
    if settings.weights is not None:
        _check_names(net, name, settings.weights, given)
    return net, left_out


def _build(name: str, options: dict[str, Any]) -> tuple[nn.Module, tuple[str, ...]]:
    """timm's model, without those of the options in LEFT_OUT that its family refuses; what is told of these."""
    left_out: tuple[str, ...] = ()
    while True:
        try:
            net = timm.create_model(name, **options)
            break
        except (TypeError, AssertionError) as error:
            # Families that cannot do without their pooling assert that they have one, each in its own words.
            named = re.search("drop_path_rate|global_pool", str(error))
            refused = named[0] if named else ("global_pool" if isinstance(error, AssertionError) else "")
            if refused not in options:
                raise
            options = {key: value for key, value in options.items() if key != refused}
            left_out = (*left_out, f"model.backbone={name} {LEFT_OUT[refused]}")
    return net, left_out


def _build_problem(settings: Model, error: Exception) -> str:
    """What is wrong with the weights, or with the model where none are asked for."""
    name, reason = settings.backbone, " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
    if settings.weights is not None:
        return (
            f"model.weights={settings.weights} does not fit {name} ({reason:.200}); "
            "give the weights of this backbone, or set model.backbone to theirs."
        )
    if not settings.pretrained:
        return f"model.backbone={name}: timm cannot build it ({reason:.200}); use another."
    if isinstance(error, OSError) and error.errno in PLACE_ERRORS:
        return (
            f"model.pretrained=true: the weights of {name} cannot be stored ({reason:.200}); set HF_HOME to a folder "
            "that can be written, or give a file of them with model.weights=FILE.safetensors."
        )
    return (
        f"model.pretrained=true: the weights of {name} cannot be loaded ({reason:.200}); give a file of them with "
        "model.weights=FILE.safetensors, or start from random weights with model.pretrained=false."
    )


def _tensors(weights: Path) -> set[str]:
    """The names in a safetensors file.

    Raises:
        ConfigError: it is none.
    """
    advice = "give the path of a safetensors file (FILE.safetensors)."
    if not is_file(weights):
        raise ConfigError(f"model.weights={weights}: no such file; {advice}")
    try:
        with safe_open(weights, framework="pt") as file:
            return set(file.keys())
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"model.weights={weights}: is no safetensors file ({error}); {advice}") from None


def _check_names(net: nn.Module, name: str, weights: Path, given: set[str]) -> None:
    """timm loads without its strict check once the classifier is gone, and would leave layers random without a word."""
    missing = [key for key in net.state_dict() if key not in given and not key.endswith("num_batches_tracked")]
    if missing:
        raise ConfigError(
            f"model.weights={weights} lacks {len(missing)} tensors of {name} (first: {missing[0]}); "
            "give the weights of this backbone, or set model.backbone to theirs."
        )


def reason_of(error: Exception) -> str:
    """What an error of foreign code says, or the line that raised it where it says nothing."""
    text = " ".join(str(error).split())
    if not text:  # a bare assert, or timm's _assert(condition, ""), which others raise for it
        lines = [frame.line for frame in traceback.extract_tb(error.__traceback__) if frame.line]
        text = next((line for line in reversed(lines) if not re.match("assert condition|raise ", line)), "")
    return f"{type(error).__name__}: {text:.200}" if text else type(error).__name__


def _trim(net: nn.Module, name: str, in_channels: int, image: tuple[int, int]) -> tuple[int, bool]:
    """Take out the layers that feature maps do not pass; the number of features, and whether they come last.

    A small image is run through, or one of the size of `image` where that is too small. The layers (heads after the
    pooling) would count as parameters, and DDP would wait for their gradients.
    """
    net.eval()
    for size in (SMALL_IMAGE, image):
        try:
            features = net.forward_features(torch.zeros(1, in_channels, *size))  # type: ignore[operator]
            break
        except BACKBONE_ERRORS as error:
            reason = reason_of(error)
    else:
        raise ImageError(name, (in_channels, *image), reason, _more_bands(net, in_channels, image))
    features_last = _features_last(features, name, getattr(net, "num_features", None))
    features.sum().backward()
    for place, module in reversed(list(net.named_modules())):
        has_own = any(True for _ in module.parameters(recurse=False))
        if place and has_own and all(parameter.grad is None for parameter in module.parameters()):
            net.set_submodule(place, nn.Identity())
    for parameter in net.parameters():
        parameter.requires_grad_(parameter.grad is not None)
    net.zero_grad(set_to_none=True)
    net.train()
    return int(features.shape[3 if features_last else 1]), features_last


@torch.no_grad()
def _more_bands(net: nn.Module, in_channels: int, image: tuple[int, int]) -> str:
    """The repair: the mel bands of an image that is as long, and large enough for the model, if there are any."""
    for n_mels in LARGER_N_MELS:
        try:
            net.forward_features(torch.zeros(1, in_channels, n_mels, image[1]))  # type: ignore[operator]
        except BACKBONE_ERRORS:
            continue
        return f"it can with {n_mels} mels: set front_end.n_mels={n_mels}, or use another."
    return "use a convolutional one."


def _features_last(features: object, name: str, n_features: object) -> bool:
    """Whether a feature map is [batch, frequency, time, features]; `n_features` is what the model says of itself.

    Raises:
        ConfigError: it is none.
    """
    advice = "use a convolutional one."
    if not isinstance(features, Tensor):
        raise ConfigError(f"model.backbone={name} gives a {type(features).__name__} instead of a feature map; {advice}")
    shape = tuple(features.shape)
    if features.ndim == 4 and n_features == shape[1]:
        return False
    if features.ndim == 4 and n_features == shape[3]:
        return True
    if features.ndim != 4 or shape[2] >= shape[1]:
        raise ConfigError(
            f"model.backbone={name} gives features of shape {shape}, not [batch, features, frequency, time]; {advice}"
        )
    return False
