"""A model's first step: each family of timm trains it, or is refused with the true reason; none ends in a traceback."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

from sed_model.config.sed_config import Model, SedConfig
from sed_model.core.errors import ConfigError
from sed_model.model.backbones import Backbone, reason_of
from sed_model.model.model_trial import KeptTensors, try_model

SMALL = SedConfig().with_overrides({
    "front_end.sample_rate_hz": 16_000, "front_end.n_fft": 1024, "front_end.hop_length": 256, "front_end.n_mels": 64,
    "front_end.f_max_hz": 8_000.0, "data.window_s": 2.0, "data.target_s": 1.0, "model.pretrained": False,
})  # fmt: skip
"""Images of 64 mels x 126 frames."""
NO_DROP_PATH = "has no drop path: model.drop_path_rate is left out"
OWN_POOLING = "has a global pooling that cannot be left out: it is built with it, and goes unused"
TRAINS = {
    "test_efficientnet": (),
    "test_convnext": (),
    "test_mambaout": (),  # its features come last
    "densenet121": (NO_DROP_PATH,),
    "ghostnet_050": (NO_DROP_PATH,),
    "inception_next_atto": (OWN_POOLING,),
    "efficientvit_m0": (NO_DROP_PATH,),
}
REFUSED = {
    "dla46x_c": r"1 channel x 64 mels x 126 frames \(RuntimeError: The size of tensor .*\); "
    r"it can with 128 frames: set data\.window_s=2\.032",
    "inception_v3": r"1 channel x 64 mels x 126 frames \(RuntimeError: .*Kernel size can't be greater.*\); "
    r"it can with 96 mels: set front_end\.n_mels=96, or use another",
    "levit_128s": r"cannot compute images of 1 channel x 64 mels x 126 frames .*use a convolutional one",
    "halonet_h1": r"H % self\.block_size == 0",  # an assertion without words: its line
    "crossvit_tiny_240": "gives a list instead of a feature map",
    "efficientvim_m1": "gives a list instead of a feature map",
    "mvitv2_tiny": r"gives features of shape \(1, 6, 768\), not \[batch",
}


def config_of(backbone: str, **overrides: object) -> SedConfig:
    return SMALL.with_overrides({"model.backbone": backbone, **overrides})


@pytest.mark.parametrize("backbone", TRAINS)
def test_what_a_family_lacks_is_left_out_and_told(backbone: str) -> None:
    assert try_model(config_of(backbone)).left_out == tuple(
        f"model.backbone={backbone} {what}" for what in TRAINS[backbone]
    )


def test_what_a_step_keeps_is_counted_once_and_without_the_weights() -> None:
    """The linear layer keeps its input of 2 x 4 values of 4 bytes, the ReLU its result of 2 x 3."""
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    kept = KeptTensors(net)
    with kept.counted:
        net(torch.ones(2, 4)).sum().backward()
    assert kept.n_bytes == 4 * (2 * 4 + 2 * 3)


def test_a_clip_of_twice_the_length_keeps_twice_as_much() -> None:
    one, two = (try_model(config_of("resnet10t", **{"data.window_s": window_s})) for window_s in (2.032, 4.08))
    assert one.weights_bytes == two.weights_bytes
    assert two.clip_bytes / one.clip_bytes == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("backbone", REFUSED)
def test_what_cannot_work_is_refused_with_the_reason(backbone: str) -> None:
    with pytest.raises(ConfigError, match=rf"^model\.backbone={backbone} .*{REFUSED[backbone]}"):
        try_model(config_of(backbone))


def test_the_window_that_a_refusal_names_is_one_that_trains() -> None:
    assert try_model(config_of("dla46x_c", **{"data.window_s": 2.032})).left_out == (
        f"model.backbone=dla46x_c {NO_DROP_PATH}",
    )


def test_the_image_has_the_size_and_the_channels_of_the_configuration() -> None:
    """A minimum of 75 x 75 is a matter of the size; a sixth of the families once failed at two channels."""
    two = {"model.multi_resolution": True, "front_end.n_mels": 128}
    assert try_model(config_of("inception_v3", **two)).left_out == (f"model.backbone=inception_v3 {NO_DROP_PATH}",)
    with pytest.raises(ConfigError, match="2 channels x 128 mels x 126 frames"):
        try_model(config_of("dla46x_c", **two))


@timm.models.register_model
def sed_test_fixed_map(**options: Any) -> torch.nn.Module:
    """As mobilenetv5, which has 80 million parameters: the last layer gives 16 x 16 positions for any image."""
    net = timm.create_model("test_efficientnet", **options)
    inner = net.forward_features
    net.forward_features = lambda images: torch.nn.functional.interpolate(inner(images), size=(16, 16))
    return net


def test_a_feature_map_that_does_not_follow_the_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="gives 16 time steps for 126 frames and for twice as many"):
        try_model(config_of("sed_test_fixed_map"))


def test_features_that_come_last_are_put_where_the_head_looks_for_them() -> None:
    backbone = Backbone(Model(backbone="test_mambaout", pretrained=False), in_channels=1).eval()
    images = torch.randn(2, 1, 64, 320, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features, plain = backbone(images), backbone.net.forward_features(images)
    assert backbone.n_features == 64
    assert features.shape == (2, 64, 2, 10)  # a stride of 32
    assert torch.equal(features[1, 5, 1], plain[1, 1, :, 5])


def test_the_reason_is_what_the_error_says_or_the_line_that_raised_it() -> None:
    assert reason_of(ValueError("a\n  b")) == "ValueError: a b"
    try:
        assert len("ab") == 3
    except AssertionError as error:
        error.args = ()
        assert reason_of(error).startswith('AssertionError: assert len("ab") == 3')  # noqa: PT017


FAMILIES = (
    *("cait_xxs24_224", "coat_tiny", "deit_tiny_patch16_224", "dpn48b", "efficientvit_b0", "gcvit_xxtiny"),
    *("gmlp_ti16_224", "hrnet_w18_small", "lcnetv2_small", "maxvit_pico_rw_256", "pit_ti_224", "repvit_m1"),
    *("test_nfnet", "test_vit", "xcit_nano_12_p8_224"),
)
"""Small models whose families lack an option, or want images of another size or kind."""


@pytest.mark.parametrize("backbone", FAMILIES)
def test_a_family_trains_or_is_refused_by_its_name(backbone: str) -> None:
    try:
        told = "\n".join(
            try_model(config_of(backbone, **{"data.window_s": 1.0, "model.multi_resolution": True})).left_out
        )
    except ConfigError as error:
        told = str(error)
    assert all(line.startswith(f"model.backbone={backbone} ") for line in told.splitlines())
