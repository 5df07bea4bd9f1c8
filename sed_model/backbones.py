"""Any convolutional timm model as a feature extractor that keeps its time axis."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sed_model.config import Model
from sed_model.errors import ConfigError
from sed_model.paths import is_file


class HubError(ConfigError):
    """The model hub cannot be reached: nor could it be for another model."""


class Backbone(nn.Module):
    """Log-mel images -> feature maps [batch, features, frequency, time]; `n_features` tells their depth."""

    def __init__(self, settings: Model, in_channels: int) -> None:
        super().__init__()
        self.name = settings.backbone
        self.net = create_timm_model(settings, in_channels)
        self.n_features = _trim(self.net, settings.backbone, in_channels)

    def forward(
        self, images: Float[Tensor, "batch channels mels frames"]
    ) -> Float[Tensor, "batch features bands steps"]:
        features: Tensor = self.net.forward_features(images)  # type: ignore[operator]
        return features

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


def create_timm_model(settings: Model, in_channels: int) -> nn.Module:
    """The timm model without its classifier and without its global pooling.

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
        net = timm.create_model(name, **options)
    except TypeError as error:
        raise ConfigError(
            f"model.backbone={name} does not take one of {sorted(options)} ({error}); "
            "set model.drop_path_rate=0 or choose another backbone."
        ) from None
    except LocalEntryNotFoundError:
        raise HubError(
            f"model.pretrained=true: the model hub cannot be reached for the weights of {name}; give a file of them "
            f"with model.weights=FILE.safetensors and model.backbone={name}, or start from random weights with "
            "model.pretrained=false."
        ) from None
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        reason = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
        if settings.weights is not None:
            raise ConfigError(
                f"model.weights={settings.weights} does not fit {name} ({reason:.200}); "
                "give the weights of this backbone, or set model.backbone to theirs."
            ) from None
        raise ConfigError(
            f"model.pretrained=true: the weights of {name} cannot be loaded ({reason:.200}); give a file of them with "
            "model.weights=FILE.safetensors, or start from random weights with model.pretrained=false."
        ) from None
    if settings.weights is not None:
        _check_names(net, name, settings.weights, given)
    return net


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


def _trim(net: nn.Module, name: str, in_channels: int) -> int:
    """Take out the layers that feature maps do not pass; the number of features. A small image is run through.

    The layers (heads after the pooling) would count as parameters, and DDP would wait for their gradients.
    """
    net.eval()
    try:
        features: Tensor = net.forward_features(torch.zeros(1, in_channels, 64, 96))  # type: ignore[operator]
    except (AssertionError, RuntimeError) as error:
        raise ConfigError(
            f"model.backbone={name} needs images of a fixed size ({error}); use a convolutional one."
        ) from None
    if features.ndim != 4 or features.shape[2] >= features.shape[1]:
        raise ConfigError(
            f"model.backbone={name} gives features of shape {tuple(features.shape)}, "
            "not [batch, features, frequency, time]; use a convolutional one."
        )
    features.sum().backward()
    for place, module in list(net.named_modules()):
        parameters = list(module.parameters(recurse=False))
        if parameters and all(parameter.grad is None for parameter in parameters):
            net.set_submodule(place, nn.Identity())
    net.zero_grad(set_to_none=True)
    net.train()
    return int(features.shape[1])
