"""The model as a whole: a call that moves in time moves the frame scores; cost and size are measured."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor

from sed_model.config.sed_config import Model, SedConfig
from sed_model.core.errors import ConfigError
from sed_model.model.backbones import Backbone, HubError
from sed_model.model.network import SedModel, cpu_ms_per_window
from tests.sed_model.conftest import FRONT_END

RATE_HZ = 8_000
SMALL = SedConfig().with_overrides(FRONT_END | {"model.pretrained": False})


def model(backbone: str, **overrides: object) -> SedModel:
    torch.manual_seed(0)
    keys = {f"model.{name}": value for name, value in overrides.items()}
    return SedModel(SMALL.with_overrides({"model.backbone": backbone, **keys}), n_classes=3).eval()


def call_at(start_s: float, duration_s: float = 12.0) -> Tensor:
    """A chirp of 0.8 s in faint noise."""
    generator = torch.Generator().manual_seed(0)
    clip = 0.003 * torch.randn(round(duration_s * RATE_HZ), generator=generator)
    time_s = torch.arange(round(0.8 * RATE_HZ)) / RATE_HZ
    chirp = 0.5 * torch.sin(2 * torch.pi * (800 + 700 * time_s) * time_s) * torch.hann_window(len(time_s))
    first = round(start_s * RATE_HZ)
    clip[first : first + len(chirp)] += chirp
    return clip


@pytest.mark.parametrize("backbone", ["resnet10t", "efficientnet_b0"])
@pytest.mark.parametrize("pool_type", ["avg", "max", "gem"])
def test_a_call_two_seconds_later_scores_two_seconds_later(backbone: str, pool_type: str) -> None:  # fault 1
    one = model(backbone, pool_type=pool_type)
    clips = torch.stack([call_at(3.0), call_at(5.0), torch.zeros(12 * RATE_HZ)])
    # Batch statistics: without training, the running ones leave a random network next to nothing to tell apart.
    one.backbone.train()
    with torch.no_grad():
        frames = one(one.images(clips)).frame_logits
    n_steps = frames.shape[1]
    step_s = 12.0 / n_steps
    early, late = (frames[row] - frames[row].median(dim=0).values for row in (0, 1))

    def agreement(shift: int) -> float:
        return float((early[: n_steps - shift] * late[shift:]).sum())

    best = max(range(n_steps - 4), key=agreement)
    assert best * step_s == pytest.approx(2.0, abs=step_s)
    assert agreement(best) > 2 * agreement(0)


def test_the_time_axis_lives_until_the_frame_logits() -> None:
    one = model("mobilenetv3_small_050")
    images = one.images(torch.zeros(2, 4 * RATE_HZ))
    assert images.shape == (2, 1, 32, 251)
    output = one(images)
    assert output.clip_logits.shape == (2, 3)
    assert output.frame_logits.shape == (2, 8, 3)  # 251 frames at a stride of 32


def test_a_clip_is_scored_alike_in_any_batch() -> None:
    one, clips = model("mobilenetv3_small_050"), torch.stack([call_at(1.0, 3.0), 3 * call_at(2.0, 3.0)])
    with torch.no_grad():
        together = one(one.images(clips)).clip_logits
        alone = torch.cat([one(one.images(clip[None])).clip_logits for clip in clips])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_every_parameter_has_a_gradient() -> None:
    """DistributedDataParallel waits for all of them."""
    one = model("mobilenetv3_small_050", pool_type="gem", multi_head_attention=True, extra_norm=True).train()
    output = one(one.images(torch.stack([call_at(1.0, 2.0)] * 2)))
    (output.clip_logits.sum() + output.frame_logits.amax(dim=1).sum()).backward()
    assert [name for name, parameter in one.named_parameters() if parameter.grad is None] == []


def test_layers_behind_the_feature_maps_are_left_out() -> None:
    backbone = Backbone(Model(backbone="mobilenetv3_small_050", pretrained=False), in_channels=1)
    # timm's conv_head (288 to 1024 features) comes after a global pooling that is not used here.
    assert not [name for name in backbone.state_dict() if "conv_head" in name]
    assert backbone.n_features == 288


def test_recomputed_activations_give_the_same_gradients() -> None:
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        config = SMALL.with_overrides(
            {"model.backbone": "resnet10t", "model.drop_path_rate": 0.0, "optim.grad_checkpointing": recompute}
        )
        one = SedModel(config, 3).eval()
        one(one.images(call_at(1.0, 2.0)[None])).clip_logits.sum().backward()
        gradients.append([parameter.grad for parameter in one.backbone.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_the_cost_counts_neither_waiting_nor_the_first_pass_that_warms_up() -> None:
    """Each pass sleeps for 200 ms; the first one burns 400 ms of its thread's time. The model itself takes a few."""
    one, passes = model("mobilenetv3_small_050"), []

    def hinder(*_: object) -> None:
        time.sleep(0.2)
        start_s = time.thread_time()
        while not passes and time.thread_time() - start_s < 0.4:
            pass
        passes.append(1)

    one.register_forward_pre_hook(hinder)
    assert cpu_ms_per_window(one, 2 * RATE_HZ, batch_size=1, repeats=2) < 100
    assert len(passes) == 2


def test_the_cost_is_measured_without_a_trace() -> None:
    one = model("mobilenetv3_small_050").train()
    n_threads = torch.get_num_threads()
    before = {name: value.clone() for name, value in one.state_dict().items()}
    assert cpu_ms_per_window(one, 2 * RATE_HZ, batch_size=2, repeats=1) > 0
    assert one.training
    assert torch.get_num_threads() == n_threads
    assert all(torch.equal(value, before[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"backbone": "efficientnetb0"}, r"backbone=efficientnetb0: timm knows no such model; nearest: .*efficientnet"),
        ({"backbone": "vit_tiny_patch16_224"}, r"backbone=vit_tiny_patch16_224 .*use a convolutional one"),
        ({"weights": "nowhere.safetensors"}, r"weights=nowhere\.safetensors: no such file"),
    ],
)
def test_a_backbone_that_cannot_be_is_refused(overrides: dict[str, object], message: str) -> None:
    settings = {"backbone": "mobilenetv3_small_050", "pretrained": False} | overrides
    with pytest.raises(ConfigError, match=message):
        Backbone(Model(**settings), in_channels=1)  # type: ignore[arg-type]


def test_a_hub_that_cannot_be_reached_is_told_from_weights_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(HubError, match=r"hub cannot be reached for the weights of resnet10t; .*model.weights=FILE"):
        Backbone(Model(backbone="resnet10t"), in_channels=1)
    save_file({"layer1.0.conv1.weight": torch.zeros(8, 3, 2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match=r"weights=.*other.safetensors does not fit resnet10t .*set model.backbone"):
        Backbone(Model(backbone="resnet10t", weights=tmp_path / "other.safetensors"), in_channels=1)
