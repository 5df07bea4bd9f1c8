"""Losses over scores before the sigmoid or softmax, with soft targets, a mask of classes and a weight a sample.

All share one signature, `loss(logits, targets, mask, weights, settings)`, and are computed in float32. A sample's loss
is the mean over the classes that its mask keeps; the batch's is `sum(w * loss) / sum(w)`, so that a weight says how
much a sample counts beside the others and never changes the size of the loss. NaN scores give a NaN loss.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sed_model.config.training import Loss
from sed_model.core.errors import ConfigError
from sed_model.core.texts import nearest
from sed_model.data.targets import Truth
from sed_model.run_folder.metrics import POSITIVE_FROM

_TINY = 1e-8
"""Keeps logarithms and powers, and their gradients, finite at a probability of 0."""

Scores = Float[Tensor, "batch classes"]
Mask = Bool[Tensor, "batch classes"]
Weights = Float[Tensor, " batch"]
Scalar = Float[Tensor, ""]


def bce(logits: Scores, targets: Scores, mask: Mask, weights: Weights, settings: Loss) -> Scalar:
    """Binary cross-entropy of every class."""
    return _mean(_bce_elements(logits.float(), _smoothed(targets, settings)), mask, weights)


def focal_bce(logits: Scores, targets: Scores, mask: Mask, weights: Weights, settings: Loss) -> Scalar:
    """Focal loss (Lin et al. 2017) plus binary cross-entropy, one to one."""
    logits, targets = logits.float(), _smoothed(targets, settings)
    cross_entropy = _bce_elements(logits, targets)
    miss = targets * torch.sigmoid(-logits) + (1 - targets) * torch.sigmoid(logits)
    alpha = settings.focal_alpha * targets + (1 - settings.focal_alpha) * (1 - targets)
    focal = alpha * _power(miss, settings.focal_gamma) * cross_entropy
    return _mean(focal + cross_entropy, mask, weights)


def asymmetric(logits: Scores, targets: Scores, mask: Mask, weights: Weights, settings: Loss) -> Scalar:
    """Asymmetric loss (Ridnik et al. 2021): easy negatives count less than positives, and nothing below a margin."""
    logits, targets = logits.float(), _smoothed(targets, settings)
    present, absent = torch.sigmoid(logits), torch.sigmoid(-logits)
    absent_shifted = (absent + settings.asymmetric_margin).clamp(_TINY, 1)
    present_shifted = (present - settings.asymmetric_margin).clamp(min=0)
    positive = _power(absent, settings.asymmetric_gamma_pos) * F.logsigmoid(logits)
    negative = _power(present_shifted, settings.asymmetric_gamma_neg) * absent_shifted.log()
    return _mean(-(targets * positive + (1 - targets) * negative), mask, weights)


def ce(logits: Scores, targets: Scores, mask: Mask, weights: Weights, settings: Loss) -> Scalar:
    """Cross-entropy with soft targets: each row is scaled to sum 1, over the classes that its mask keeps.

    Rows without any target (windows in which nothing calls) have no cross-entropy and do not count.
    """
    logits = logits.float() + torch.where(mask, 0.0, torch.finfo(torch.float32).min)
    targets = torch.where(mask, _smoothed(targets, settings), 0.0)
    total = targets.sum(dim=1)
    shares = targets / total.clamp(min=_TINY)[:, None]
    per_sample = -(shares * F.log_softmax(logits, dim=1)).sum(dim=1)
    return _weighted_mean(per_sample, weights * (total > 0))


def soft_auc(logits: Scores, targets: Scores, mask: Mask, weights: Weights, settings: Loss) -> Scalar:
    """A differentiable 1 - AUC (after Yan et al. 2003), with `settings.soft_auc_bce_weight` of binary cross-entropy.

    Within the batch and each class every positive (target from 0.5) is compared with every negative:
    softplus(negative's score - positive's score). Each class with a pair counts alike, as in the macro AUC, scaled by
    the weights and targets of its positives. A batch without a pair has an AUC part of 0.
    """
    share = settings.soft_auc_bce_weight
    # The BCE part is there at a share of 0 too: it keeps NaN scores visible in a batch without pairs.
    return (1 - share) * _pairwise(logits.float(), targets.float(), mask, weights.float()) + share * bce(
        logits, targets, mask, weights, settings
    )


def _pairwise(logits: Tensor, targets: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    # One row for each (sample, class) that is a positive: positives x batch, not batch x batch x classes.
    rows, columns = ((targets >= POSITIVE_FROM) & mask).nonzero(as_tuple=True)
    other = targets[:, columns].T
    pair_weights = torch.where((other < POSITIVE_FROM) & mask[:, columns].T, (1 - other) * weights, 0.0)
    losses = F.softplus(logits[:, columns].T - logits[rows, columns][:, None])
    per_positive = (pair_weights * losses).sum(dim=1) / pair_weights.sum(dim=1).clamp(min=_TINY)
    paired = pair_weights.sum(dim=1) > 0
    positives_of_class = torch.zeros(targets.shape[1], device=targets.device).index_add(0, columns, paired.float())
    influence = paired * weights[rows] * targets[rows, columns] / positives_of_class[columns].clamp(min=1)
    return _weighted_mean(per_positive, influence)


LossFunction = Callable[[Tensor, Tensor, Tensor, Tensor, Loss], Tensor]
LOSSES: dict[str, LossFunction] = {
    "ce": ce,
    "bce": bce,
    "focal_bce": focal_bce,
    "asymmetric": asymmetric,
    "soft_auc": soft_auc,
}


def loss_named(name: str) -> LossFunction:
    """The loss of that name.

    Raises:
        ConfigError: naming the known losses and the nearest one.
    """
    if name not in LOSSES:
        raise ConfigError(f"loss={name!r} is unknown{nearest(name, LOSSES)}; use one of {', '.join(LOSSES)}.")
    return LOSSES[name]


def stage_loss(
    name: str,
    clip_logits: Scores,
    frame_logits: Float[Tensor, "batch frames classes"],
    truth: Truth[Tensor],
    settings: Loss,
    frame_truth: Truth[Tensor] | None = None,
) -> Scalar:
    """The loss of a stage: `clip_weight` of the clip scores' loss, the rest of the loudest frames' (max over time).

    Both parts are computed whatever the split, so that every parameter has a gradient. `frame_truth` is what is true of
    the loudest frames where that is not what is true of the clips.

    Raises:
        ConfigError: there is no loss of that name.
    """
    loss = loss_named(name)
    of_clip = loss(clip_logits, truth.targets, truth.mask, truth.weights, settings)
    loudest = frame_truth or truth
    of_frame = loss(frame_logits.amax(dim=1), loudest.targets, loudest.mask, loudest.weights, settings)
    return settings.clip_weight * of_clip + (1 - settings.clip_weight) * of_frame


def strong_loss(frame_logits: Float[Tensor, "batch frames classes"], truth: Truth[Tensor]) -> Scalar:
    """Binary cross-entropy of every frame and class that the mask keeps, 0 where it keeps none.

    A clip's loss is the mean over them, the batch's that of the clips that have any, by their weights.

    Args:
        truth: targets and mask [batch, frames, classes], weights [batch].
    """
    elements = _bce_elements(frame_logits.float(), truth.targets.float())
    return _mean(elements.flatten(1), truth.mask.flatten(1), truth.weights)


def consistency(first: Scores, second: Scores) -> Scalar:
    """Binary cross-entropy of two views of each clip with the larger of both probabilities, which is not pulled.

    The larger one, since what one view has masked the other may hear (as the 12th of BirdCLEF+ 2026 did it). It is the
    mean over both views, all clips and classes; labels play no part.
    """
    first, second = first.float(), second.float()
    target = torch.maximum(first, second).detach().sigmoid()
    return (_bce_elements(first, target).mean() + _bce_elements(second, target).mean()) / 2


def _smoothed(targets: Tensor, settings: Loss) -> Tensor:
    """Moves a share of each target to the other classes in equal parts; the sum over the classes stays."""
    targets = targets.float()
    n_others = targets.shape[1] - 1
    share = settings.label_smoothing
    if share == 0 or n_others == 0:
        return targets
    return (1 - share) * targets + share * (targets.sum(dim=1, keepdim=True) - targets) / n_others


def _bce_elements(logits: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def _power(probabilities: Tensor, exponent: float) -> Tensor:
    # Exponents below 1 have an infinite gradient at 0.
    return probabilities.clamp(min=_TINY) ** exponent


def _mean(elements: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Mean over the kept classes of each sample, then the weighted mean over the samples that keep any."""
    n_kept = mask.sum(dim=1)
    per_sample = (elements * mask).sum(dim=1) / n_kept.clamp(min=1)
    return _weighted_mean(per_sample, weights * (n_kept > 0))


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    weights = weights.float()
    return (weights * values).sum() / weights.sum().clamp(min=_TINY)
