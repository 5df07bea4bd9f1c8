"""One-vs-rest logistic regression of many classes at once, for one strength of the regularisation after the other.

Plain L-BFGS takes hundreds of steps where features are correlated. Here they are turned onto their principal axes, and
each axis is stretched by the curvature that the loss has along it where it starts: a tenth of the steps is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from torch import Tensor

MAX_STEPS = 100
HISTORY = 10
"""Steps that tell L-BFGS of the curvature."""
GRADIENT_TOLERANCE = 1e-4
"""Of the stretched weights, whose curvature is about 1: as far as this they are from the best, of 1 or more."""
LEAST_SHARE = 1e-4
"""Of positives, by which a class's curvature is told."""
LEAST_VARIANCE = 1e-9
"""Of the largest: axes along which features hardly vary are left out, and keep the weight 0."""


def fit_path(
    features: Float32[np.ndarray, "clips dim"],
    targets: Float32[np.ndarray, "clips classes"],
    mask: Bool[np.ndarray, "clips classes"],
    strengths: Sequence[float],
) -> Iterator[tuple[Float[np.ndarray, "classes dim"], Float[np.ndarray, " classes"]]]:
    """Weights and biases for each strength; each starts from those before it, so the strongest should come first.

    The loss is the mean binary cross-entropy of a clip, summed over classes, and `strength` / 2 times the sum of the
    squared weights; what the mask leaves out counts as 0.
    """
    axes, variances = principal_axes(features)
    told, counts = torch.from_numpy(targets), torch.from_numpy(mask)
    shares = ((told * counts).sum(dim=0) / counts.sum(dim=0).clamp(min=1)).clamp(LEAST_SHARE, 1 - LEAST_SHARE)
    problem = _Problem(torch.from_numpy(features @ axes), told, counts, shares * (1 - shares))
    weight, bias = torch.zeros(len(shares), axes.shape[1]), torch.logit(shares)
    for strength in strengths:
        stretch = (problem.curvature[:, None] * torch.from_numpy(variances) + strength).rsqrt()
        weight, bias = problem.fit(strength, stretch, (weight, bias))
        yield weight.numpy() @ axes.T, bias.numpy()


def principal_axes(
    features: Float32[np.ndarray, "clips dim"],
) -> tuple[Float32[np.ndarray, "dim axes"], Float32[np.ndarray, " axes"]]:
    """The axes along which features vary, at most as many as there are clips, and the mean square along each."""
    tall = len(features) > features.shape[1]
    wide = features.astype(np.float64)
    variances, vectors = np.linalg.eigh((wide.T @ wide if tall else wide @ wide.T) / len(features))
    kept = variances > LEAST_VARIANCE * max(variances.max(initial=0.0), LEAST_VARIANCE)
    variances, vectors = variances[kept], vectors[:, kept]
    axes = vectors if tall else wide.T @ vectors / np.sqrt(variances * len(features))
    return axes.astype(np.float32), variances.astype(np.float32)


@dataclass(frozen=True)
class _Problem:
    """The turned features, what is true, what counts, and the curvature of each class's loss where it starts."""

    turned: Float32[Tensor, "clips axes"]
    targets: Float32[Tensor, "clips classes"]
    mask: Bool[Tensor, "clips classes"]
    curvature: Float32[Tensor, " classes"]

    def fit(
        self,
        strength: float,
        stretch: Float32[Tensor, "classes axes"],
        start: tuple[Float32[Tensor, "classes axes"], Float32[Tensor, " classes"]],
    ) -> tuple[Float32[Tensor, "classes axes"], Float32[Tensor, " classes"]]:
        """The best weights and biases, from those to start from."""
        of_bias = self.curvature.rsqrt()
        weight, bias = (start[0] / stretch).requires_grad_(), (start[1] / of_bias).requires_grad_()
        optimizer = torch.optim.LBFGS(
            [weight, bias],
            max_iter=MAX_STEPS,
            tolerance_grad=GRADIENT_TOLERANCE,
            tolerance_change=0.0,
            history_size=HISTORY,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            weights = weight * stretch
            logits = torch.addmm(bias * of_bias, self.turned, weights.T)
            each = F.binary_cross_entropy_with_logits(logits, self.targets, reduction="none")
            loss = (each * self.mask).sum() / len(self.turned) + strength / 2 * weights.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return weight.detach() * stretch, bias.detach() * of_bias
