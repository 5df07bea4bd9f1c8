"""Fault 1: only frequency is pooled, so attention sees frames, learns, and frame scores follow a call."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sed_model.config.sed_config import Model
from sed_model.model.heads import AttentionHead, FrameLinear, FrequencyPool, frames_inside


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def head(**settings: object) -> AttentionHead:
    torch.manual_seed(0)
    return AttentionHead(Model(**settings), n_features=8, n_classes=3).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pool_type", "expected"),
    [("avg", 2.5), ("max", 4.0), ("gem", (100 / 4) ** (1 / 3))],  # bands 1, 2, 3, 4; 1 + 8 + 27 + 64 = 100
)
def test_pooling_is_over_frequency(pool_type: str, expected: float) -> None:
    bands = torch.tensor([1.0, 2.0, 3.0, 4.0])
    maps = bands[None, None, :, None] * torch.tensor([1.0, 10.0])  # two steps, the second ten times the first
    pooled = FrequencyPool(Model(pool_type=pool_type, gem_p=3))(maps)  # type: ignore[arg-type]
    assert pooled.shape == (1, 2, 1)
    torch.testing.assert_close(pooled.flatten(), torch.tensor([expected, 10 * expected]))


def test_the_exponent_of_gem_is_learned() -> None:
    pool = FrequencyPool(Model(pool_type="gem", gem_p=2.5))
    pool(features(2, 3, 4, 5)).sum().backward()
    assert pool.p.item() == pytest.approx(2.5)
    assert pool.log_p.grad is not None
    assert pool.log_p.grad.abs() > 0


@pytest.mark.parametrize("gem_p", [1.0, 1.5, 3.0, 5.0, 6.3, 7.5, 7.6, 7.9, 8.0])
def test_gem_is_stable_over_the_range_of_its_key(gem_p: float) -> None:
    pool = FrequencyPool(Model(pool_type="gem", gem_p=gem_p))
    # Nothing but zeros (what a ReLU leaves), one band alone, the largest feature of bf16's everyday range.
    maps = torch.stack([torch.zeros(4, 3), torch.eye(4)[:, :3], 1e4 * features(4, 3)])[None].requires_grad_()
    pooled = pool(maps)
    pooled.sum().backward()
    assert maps.grad is not None
    assert pool.log_p.grad is not None
    assert all(bool(values.isfinite().all()) for values in (pooled, maps.grad, pool.log_p.grad))
    # One band of 1 and three of the floor, which add next to nothing: (1/4)^(1/p).
    assert float(pooled[0, 0, 1].detach()) == pytest.approx(0.25 ** (1 / gem_p), abs=1e-4)


def test_the_gradient_of_gem_is_that_of_its_formula() -> None:
    pool = FrequencyPool(Model(pool_type="gem", gem_p=3))
    maps = torch.tensor([1.0, 2.0]).reshape(1, 1, 2, 1).requires_grad_()
    pool(maps).sum().backward()
    # m = ((1 + 8) / 2)^(1/3); dm/dx = x^2 / (2 m^2);
    # dm/d(ln p) = p m (mean(x^p ln x) / (p mean(x^p)) - ln(mean(x^p)) / p^2).
    m = 4.5 ** (1 / 3)
    assert maps.grad is not None
    torch.testing.assert_close(maps.grad.flatten(), torch.tensor([1.0, 4.0]) / (2 * m**2))
    by_p = m * (8 * math.log(2) / 2 / (3 * 4.5) - math.log(4.5) / 9)
    assert pool.log_p.grad is not None
    assert pool.log_p.grad.item() == pytest.approx(3 * by_p, rel=1e-5)


def test_the_exponent_of_gem_does_not_stick_where_it_falls_to_one() -> None:
    pool = FrequencyPool(Model(pool_type="gem", gem_p=1.1))
    optimizer = torch.optim.SGD(pool.parameters(), lr=0.1)
    maps = features(2, 3, 4, 5)
    for sign, n_steps in ((1, 50), (-1, 200)):  # down below 1, and up again
        for _ in range(n_steps):
            optimizer.zero_grad()
            (sign * pool(maps).sum()).backward()
            optimizer.step()
        assert (pool.p.item() < 1) == (sign == 1)


def test_the_exponent_of_a_model_of_before_is_read() -> None:
    pool = FrequencyPool(Model(pool_type="gem", gem_p=3))
    pool.load_state_dict({"p": torch.tensor(4.5)})
    assert pool.p.item() == pytest.approx(4.5)


def test_the_gradient_of_the_attention_is_not_zero() -> None:
    one = head()
    clip_logits, _ = one(features(2, 8, 4, 6))
    clip_logits.square().sum().backward()
    assert one.attend.weight.grad is not None
    assert float(one.attend.weight.grad.abs().max()) > 1e-6


def test_the_self_attention_learns() -> None:
    one = head(multi_head_attention=True, attention_heads=2)
    optimizer = torch.optim.SGD(one.parameters(), lr=1.0)
    gradients = []
    for _ in range(2):  # its last layer starts at 0, so that what lies before it learns from the second step on
        optimizer.zero_grad()
        one(features(2, 8, 4, 6))[0].square().sum().backward()
        assert one.self_attention is not None
        found = one.self_attention.attention.in_proj_weight.grad
        assert found is not None
        # The last third of the input projection makes the values; the first two thirds decide who looks at whom.
        gradients.append(float(found[:1024].abs().max()))
        optimizer.step()
    assert gradients[0] == 0
    assert gradients[1] > 1e-9


def test_frames_tell_where_they_lie() -> None:
    """Without positions, frames that hold the same are heard alike wherever they lie."""
    one = head(multi_head_attention=True).self_attention
    assert one is not None
    torch.nn.init.normal_(one.attention.out_proj.weight)
    frames = features(1, 1, 512).expand(1, 6, 512) + torch.eye(6, 512) * 3
    moved = frames.roll(2, dims=1)
    assert not torch.allclose(one(frames).roll(2, dims=1), one(moved), atol=1e-3)


def test_self_attention_leaves_alone_what_a_frame_scores() -> None:
    """It decides how much a frame counts: the first five score the same whatever the last one holds."""
    one, maps = head(multi_head_attention=True), features(1, 8, 4, 6)
    assert one.self_attention is not None
    torch.nn.init.normal_(one.self_attention.attention.out_proj.weight)
    changed = maps.clone()
    changed[..., 5] += 1
    torch.testing.assert_close(one(changed)[1][:, :5], one(maps)[1][:, :5])


def test_one_frame_would_leave_attention_without_a_gradient() -> None:
    """What the reference does: with the time axis pooled away, the weight of the one frame is 1 whatever it holds."""
    one = head()
    one(features(2, 8, 4, 1))[0].square().sum().backward()
    assert one.attend.weight.grad is not None
    assert float(one.attend.weight.grad.abs().max()) == 0


def test_clip_logits_are_a_mean_of_frame_logits() -> None:
    clip_logits, frame_logits = head()(features(2, 8, 4, 6))
    assert frame_logits.shape == (2, 6, 3)
    assert (clip_logits >= frame_logits.amin(dim=1) - 1e-6).all()
    assert (clip_logits <= frame_logits.amax(dim=1) + 1e-6).all()


def test_clip_logits_depend_on_the_frames_of_the_target_alone() -> None:
    one, maps = head(), features(1, 8, 4, 10)
    target = torch.tensor([[0.3, 0.6]])  # frames 3, 4 and 5
    inside, _ = one(maps, target)
    changed = maps.clone()
    changed[..., [0, 1, 2, 6, 7, 8, 9]] += 1
    torch.testing.assert_close(one(changed, target)[0], inside)
    changed[..., 4] += 1
    assert not torch.allclose(one(changed, target)[0], inside)


def test_the_whole_window_is_the_default_target() -> None:
    one, maps = head(), features(2, 8, 4, 6)
    torch.testing.assert_close(one(maps, torch.tensor([[0.0, 1.0]] * 2))[0], one(maps)[0])


@pytest.mark.parametrize(
    ("target", "inside"),
    [
        ([0.0, 1.0], [0, 1, 2, 3]),
        ([0.0, 0.5], [0, 1]),
        ([0.25, 0.75], [1, 2]),
        ([0.0, 0.375], [0]),  # ends at the centre of the second frame, which is the next target's
        ([0.3, 0.36], [1]),  # no centre lies in it: the nearest one
        ([0.9, 1.0], [3]),
        ([1.0, 1.0], [3]),
    ],
)
def test_frames_inside_a_target(target: list[float], inside: list[int]) -> None:
    assert frames_inside(torch.tensor([target]), 4)[0].nonzero().flatten().tolist() == inside


def test_a_new_head_guesses_one_class_of_n() -> None:
    one = AttentionHead(Model(), n_features=8, n_classes=206)
    probability = torch.sigmoid(one.classify.bias)
    torch.testing.assert_close(probability, torch.full((206,), 1 / 206), rtol=1e-4, atol=0)
    assert math.isfinite(AttentionHead(Model(), 8, 1).classify.bias.item())


def test_skip_connections_add_the_input_of_a_block() -> None:
    plain, skipping, maps = head(skip_connection=False), head(skip_connection=True), features(1, 8, 4, 6)
    skipping.load_state_dict(plain.state_dict())
    with torch.no_grad():
        for one in (plain, skipping):
            for parameter in one.mix.parameters():
                parameter.zero_()
    # The block now gives 0: without its input, frames say nothing but the bias.
    assert torch.equal(plain(maps)[1], plain.classify.bias.expand(1, 6, 3))
    torch.testing.assert_close(skipping(maps)[1], skipping.classify(skipping.project(maps.mean(dim=2).transpose(1, 2))))


def test_there_is_one_dropout_before_the_first_layer() -> None:
    """`extra_norm` is a norm; `drop_rate` reaches the pooled features, with or without it."""
    for extra_norm in (False, True):
        one = head(extra_norm=extra_norm, drop_rate=0.3, final_dropout=0.1)
        rates = [module.p for module in one.modules() if isinstance(module, torch.nn.Dropout)]
        assert rates == [0.3, 0.1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("contiguous", [False, True])
def test_the_fast_way_gives_the_bits_of_the_slow_one(dtype: torch.dtype, contiguous: bool) -> None:
    torch.manual_seed(0)
    layer = FrameLinear(576, 512)
    frames = features(12, 576, 7).to(dtype).transpose(1, 2)
    frames = frames.contiguous() if contiguous else frames
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
        expected = torch.nn.Linear.forward(layer, frames)
        assert torch.equal(layer(frames), expected)
