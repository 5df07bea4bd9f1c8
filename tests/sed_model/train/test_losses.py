from collections.abc import Sequence
from math import log
from typing import get_args

import pytest
import torch
from torch import Tensor

from sed_model.config.training import Loss, LossName
from sed_model.core.errors import ConfigError
from sed_model.data.targets import Truth
from sed_model.train.losses import LOSSES, consistency, stage_loss

LN_3 = log(3)  # a score whose sigmoid is 0.75
SETTINGS = Loss(soft_auc_bce_weight=0)


def _loss(
    name: str,
    logits: Sequence[Sequence[float]] | Tensor,
    targets: Sequence[Sequence[float]],
    mask: Sequence[Sequence[int]] | None = None,
    weights: Sequence[float] | None = None,
    settings: Loss = SETTINGS,
) -> Tensor:
    scores, truth = torch.as_tensor(logits), torch.as_tensor(targets, dtype=torch.float32)
    kept = torch.ones_like(truth, dtype=torch.bool) if mask is None else torch.tensor(mask, dtype=torch.bool)
    return LOSSES[name](scores, truth, kept, torch.tensor(weights or [1.0] * len(truth)), settings)


@pytest.mark.parametrize(
    ("name", "logits", "targets", "expected"),
    [
        ("bce", [[0.0]], [[1]], log(2)),
        ("bce", [[LN_3, LN_3]], [[1, 0]], (-log(0.75) - log(0.25)) / 2),
        ("bce", [[LN_3]], [[0.5]], -0.5 * log(0.75) - 0.5 * log(0.25)),
        ("ce", [[LN_3, 0.0]], [[1, 0]], -log(0.75)),
        ("ce", [[LN_3, 0.0]], [[1, 1]], -0.5 * log(0.75) - 0.5 * log(0.25)),
        ("ce", [[LN_3, 0.0]], [[0.2, 0.6]], -0.25 * log(0.75) - 0.75 * log(0.25)),
        # BCE + alpha * (probability of the wrong answer) ** gamma * BCE
        ("focal_bce", [[LN_3]], [[1]], -log(0.75) * (1 + 0.25 * 0.25**2)),
        ("focal_bce", [[LN_3]], [[0]], -log(0.25) * (1 + 0.75 * 0.75**2)),
        ("asymmetric", [[LN_3]], [[1]], -log(0.75) * 0.25),
        # A negative is seen at probability 0.75 - 0.05.
        ("asymmetric", [[LN_3]], [[0]], -log(0.3) * 0.7**4),
        ("asymmetric", [[-LN_3 * 10]], [[0]], 0.0),
        # softplus(0 - ln 3) = ln(4 / 3)
        ("soft_auc", [[LN_3], [0.0]], [[1], [0]], log(4 / 3)),
        # Two classes count alike, although one has one positive and the other two.
        ("soft_auc", [[LN_3, 0.0], [0.0, 0.0], [0.0, 0.0]], [[1, 1], [0, 1], [0, 0]], (log(4 / 3) + log(2)) / 2),
    ],
)
def test_loss_worked_by_hand(name: str, logits: list[list[float]], targets: list[list[float]], expected: float) -> None:
    assert _loss(name, logits, targets).item() == pytest.approx(expected, abs=1e-6)


def test_two_views_are_pulled_towards_the_larger_probability() -> None:
    """Of 1/2 and 3/4 both are compared with 3/4: ln 2, and the entropy 3/4 ln 4/3 + 1/4 ln 4."""
    first, second = torch.tensor([[0.0]], requires_grad=True), torch.tensor([[LN_3]], requires_grad=True)
    loss = consistency(first, second)
    assert loss.item() == pytest.approx((log(2) + 0.75 * log(4 / 3) + 0.25 * log(4)) / 2)
    loss.backward()
    assert first.grad is not None
    assert second.grad is not None
    assert first.grad.item() == pytest.approx((0.5 - 0.75) / 2)  # up
    assert second.grad.item() == pytest.approx(0, abs=1e-7)  # where it is


def test_soft_auc_adds_its_share_of_bce() -> None:
    loss = _loss("soft_auc", [[LN_3], [0.0]], [[1], [0]], settings=Loss(soft_auc_bce_weight=0.25))
    assert loss.item() == pytest.approx(0.75 * log(4 / 3) + 0.25 * (-log(0.75) + log(2)) / 2, abs=1e-6)


@pytest.mark.parametrize("targets", [[[1.0], [1.0]], [[0.0], [0.0]]])
def test_soft_auc_without_a_pair_is_zero(targets: list[list[float]]) -> None:
    assert _loss("soft_auc", [[2.0], [1.0]], targets).item() == 0


def test_ce_leaves_out_rows_in_which_nothing_calls() -> None:
    assert _loss("ce", [[LN_3, 0.0], [0.0, 5.0]], [[1, 0], [0, 0]]).item() == pytest.approx(-log(0.75), abs=1e-6)


@pytest.mark.parametrize("name", ["bce", "ce", "focal_bce", "asymmetric"])
def test_weights_shift_the_mean_between_samples(name: str) -> None:
    first, second = [[LN_3, 0.0], [1.0, -1.0]], [[1.0, 0.0], [0.0, 1.0]]
    alone = [_loss(name, first[i : i + 1], second[i : i + 1]).item() for i in range(2)]
    loss = _loss(name, first, second, weights=[1.0, 3.0])
    assert loss.item() == pytest.approx((alone[0] + 3 * alone[1]) / 4, abs=1e-6)


def test_soft_auc_weights_each_class_by_its_positives() -> None:
    logits, targets = [[LN_3, 0.0], [0.0, 0.0]], [[1, 0], [0, 1]]
    loss = _loss("soft_auc", logits, targets, weights=[1.0, 3.0])
    assert loss.item() == pytest.approx((log(4 / 3) + 3 * log(2)) / 4, abs=1e-6)


def test_soft_auc_weights_the_negatives_of_a_positive() -> None:
    """A positive at 0 against a negative at ln 3 (softplus: ln 4) with weight 3 and one at 0 (ln 2) with weight 1."""
    loss = _loss("soft_auc", [[0.0], [LN_3], [0.0]], [[1], [0], [0]], weights=[1.0, 3.0, 1.0])
    assert loss.item() == pytest.approx((3 * log(4) + log(2)) / 4, abs=1e-6)


def test_a_soft_negative_counts_by_what_it_lacks() -> None:
    """A positive at 0 against a negative at ln 3 (softplus: ln 4), and one of target 0.25 at 0 (ln 2, by 0.75)."""
    loss = _loss("soft_auc", [[0.0], [LN_3], [0.0]], [[1], [0], [0.25]])
    assert loss.item() == pytest.approx((log(4) + 0.75 * log(2)) / 1.75, abs=1e-6)


def test_a_soft_positive_counts_by_its_target() -> None:
    """Positives of 1 at ln 3 (softplus: ln 4/3) and of 0.5 at 0 (ln 2) against a negative at 0."""
    loss = _loss("soft_auc", [[LN_3], [0.0], [0.0]], [[1], [0.5], [0]])
    assert loss.item() == pytest.approx((log(4 / 3) + 0.5 * log(2)) / 1.5, abs=1e-6)


def test_soft_auc_passes_over_classes_without_a_pair() -> None:
    loss = _loss("soft_auc", [[LN_3, 1.0], [0.0, 2.0]], [[1, 1], [0, 1]])
    assert loss.item() == pytest.approx(log(4 / 3), abs=1e-6)


@pytest.mark.parametrize("name", ["bce", "ce", "focal_bce", "asymmetric"])
def test_fully_masked_samples_do_not_thin_the_mean(name: str) -> None:
    alone = _loss(name, [[0.5, -1.0]], [[1, 0]])
    beside = _loss(name, [[0.5, -1.0], [0.2, 0.4]], [[1, 0], [0, 0]], mask=[[1, 1], [0, 0]])
    assert beside.item() == pytest.approx(alone.item(), abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_common_weight_changes_nothing(name: str) -> None:
    logits, targets = [[0.3, -0.2], [1.0, 0.5], [0.0, 0.1]], [[1, 0], [0, 1], [0.7, 0]]
    whole, tenth = (_loss(name, logits, targets, weights=[weight] * 3).item() for weight in (1.0, 0.1))
    assert tenth == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("name", ["bce", "focal_bce", "asymmetric"])
def test_a_low_weight_still_pulls_towards_the_target(name: str) -> None:
    """A positive at 0.75 with weight 0.3 is raised; scaling the target to 0.3 instead would lower it."""
    logits = torch.tensor([[LN_3], [LN_3]], requires_grad=True)
    _loss(name, logits, [[1], [1]], weights=[0.3, 1.0]).backward()
    assert logits.grad is not None
    assert logits.grad[0] < 0
    assert logits.grad[0] == pytest.approx(0.3 * logits.grad[1].item(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_masked_classes_count_for_nothing(name: str) -> None:
    kept = _loss(name, [[0.5, -1.0], [0.2, 0.4]], [[1, 0], [0, 1]])
    with_masked = _loss(name, [[0.5, -1.0, 7.0], [0.2, 0.4, -3.0]], [[1, 0, 0], [0, 1, 0]], mask=[[1, 1, 0], [1, 1, 0]])
    assert with_masked.item() == pytest.approx(kept.item(), abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("target", [0.0, 0.7])
def test_masked_entries_have_no_gradient_whatever_their_target(name: str, target: float) -> None:
    logits = torch.tensor([[0.5, -1.0], [0.2, 0.4], [0.1, 0.3]], requires_grad=True)
    _loss(name, logits, [[1, target], [0, 1], [1, 0]], mask=[[1, 0], [1, 1], [1, 1]]).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] == 0
    assert logits.grad[1, 1] != 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("mask", "weights"), [([[0, 0], [0, 0]], [1.0, 1.0]), ([[1, 1], [1, 1]], [0.0, 0.0])], ids=["masked", "weightless"]
)
def test_a_batch_without_influence_costs_nothing(name: str, mask: list[list[int]], weights: list[float]) -> None:
    logits = torch.tensor([[0.5, -1.0], [0.2, 0.4]], requires_grad=True)
    loss = _loss(name, logits, [[1, 0], [0, 1]], mask, weights)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("score", [0.0, 200.0, -200.0])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 2.0])
def test_gradients_stay_finite_at_sure_scores(name: str, score: float, exponent: float) -> None:
    settings = Loss(
        focal_gamma=exponent, asymmetric_gamma_neg=exponent, asymmetric_gamma_pos=exponent, asymmetric_margin=0
    )
    logits = torch.tensor([[score, -score], [-score, score]], requires_grad=True)
    loss = _loss(name, logits, [[1, 0], [1, 0]], settings=settings)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("targets", [[[1, 0], [0, 1]], [[1, 0], [1, 0]]], ids=["pairs", "no pairs"])
def test_nan_scores_show_in_the_loss(name: str, targets: list[list[float]]) -> None:
    assert _loss(name, [[float("nan"), 0.0], [0.0, 0.0]], targets).isnan()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_computed_in_float32_under_autocast(name: str) -> None:
    logits = torch.tensor([[0.123, -1.456], [0.789, 0.321]]).bfloat16()
    targets = [[1, 0.5], [0, 1]]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = _loss(name, logits, targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(_loss(name, logits.float(), targets).item(), abs=1e-7)


def test_smoothing_moves_a_share_of_each_target_to_the_other_classes() -> None:
    """Targets 1, 0, 0 become 0.7, 0.15, 0.15; the softmax of the scores is 0.5, 0.25, 0.25."""
    loss = _loss("ce", [[log(2), 0.0, 0.0]], [[1, 0, 0]], settings=Loss(label_smoothing=0.3))
    assert loss.item() == pytest.approx(-0.7 * log(0.5) - 0.3 * log(0.25), abs=1e-6)


def test_smoothing_keeps_the_expected_number_of_classes() -> None:
    """BCE is linear in the target: with the same score everywhere only the sum of the targets matters."""
    plain, smooth = (
        _loss("bce", [[LN_3] * 4], [[1, 0.5, 0, 0]], settings=Loss(label_smoothing=share)) for share in (0, 0.2)
    )
    assert smooth.item() == pytest.approx(plain.item(), abs=1e-6)


@pytest.mark.parametrize("name", ["bce", "focal_bce", "asymmetric"])
def test_losses_of_single_classes_see_smoothed_targets(name: str) -> None:
    """1 and 0 become 0.75 and 0.25."""
    smoothed = _loss(name, [[LN_3, 0.0]], [[1, 0]], settings=Loss(label_smoothing=0.25))
    assert smoothed.item() == pytest.approx(_loss(name, [[LN_3, 0.0]], [[0.75, 0.25]]).item(), abs=1e-6)


def _stage_loss(clip_weight: float) -> float:
    truth = Truth(torch.tensor([[1.0]]), torch.tensor([[True]]), torch.tensor([1.0]))
    clip, frames = torch.tensor([[0.0]]), torch.tensor([[[-5.0], [LN_3], [0.0]]])
    return stage_loss("bce", clip, frames, truth, Loss(clip_weight=clip_weight)).item()


@pytest.mark.parametrize(
    ("clip_weight", "expected"), [(1, log(2)), (0, -log(0.75)), (0.25, 0.25 * log(2) - 0.75 * log(0.75))]
)
def test_stage_loss_splits_between_the_clip_and_its_loudest_frame(clip_weight: float, expected: float) -> None:
    assert _stage_loss(clip_weight) == pytest.approx(expected, abs=1e-6)


def test_the_loudest_frame_may_have_a_truth_of_its_own() -> None:
    """Half a target for the clip: -ln(1/2) whichever it is; a whole one for its frame of probability 0.75."""
    mask, weights = torch.tensor([[True]]), torch.tensor([1.0])
    of_clip, of_frame = (Truth(torch.tensor([[target]]), mask, weights) for target in (0.5, 1.0))
    clip, frames = torch.tensor([[0.0]]), torch.tensor([[[-5.0], [LN_3]]])
    loss = stage_loss("bce", clip, frames, of_clip, Loss(clip_weight=0.5), of_frame)
    assert loss.item() == pytest.approx(0.5 * log(2) - 0.5 * log(0.75), abs=1e-6)


@pytest.mark.parametrize("clip_weight", [0.0, 1.0])
def test_both_kinds_of_score_have_a_gradient_whatever_the_split(clip_weight: float) -> None:
    truth = Truth(torch.tensor([[1.0]]), torch.tensor([[True]]), torch.tensor([1.0]))
    clip, frames = torch.zeros(1, 1, requires_grad=True), torch.zeros(1, 3, 1, requires_grad=True)
    stage_loss("bce", clip, frames, truth, Loss(clip_weight=clip_weight)).backward()
    assert clip.grad is not None
    assert frames.grad is not None


def test_every_configured_loss_is_there() -> None:
    assert set(LOSSES) == set(get_args(LossName))


def test_unknown_loss_lists_the_known_ones_and_the_nearest() -> None:
    truth = Truth(torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool), torch.ones(1))
    with pytest.raises(ConfigError, match=r"is unknown \(did you mean focal_bce\?\); use one of ce, bce, "):
        stage_loss("focal", torch.zeros(1, 1), torch.zeros(1, 2, 1), truth, SETTINGS)
