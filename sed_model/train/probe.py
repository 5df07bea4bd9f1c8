"""A linear probe of a foreign model: class logits from its embeddings, its own logits, or both together.

A regularised linear classifier on frozen embeddings is what few-shot studies of bioacoustic models use (Ghani et al.
2023, doi:10.1038/s41598-023-49989-z). It is fitted in seconds, and is the line that a search has to beat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int
from torch import Tensor

from sed_model.run_folder.metrics import POSITIVE_FROM
from sed_model.run_folder.resampling import class_aucs, mean_of_classes
from sed_model.train.logistic import fit_path

Kind = Literal["zero-shot", "probe", "zero-shot and probe"]
KINDS: tuple[Kind, ...] = ("zero-shot", "probe", "zero-shot and probe")
STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""Of the regularisation: half the squared weights beside the mean binary cross-entropy of a clip, summed over classes.
The strongest first: of equal ones it is taken."""
N_FOLDS = 4
LEAST_GAIN = 1e-4
"""Of macro AUC, for which a weaker regularisation is taken."""
TINY = 1e-12
LEAST_SPREAD = 1e-3
"""Features that hardly vary are not blown up."""


@dataclass(frozen=True)
class Clips:
    """What a probe is fitted to: a row a clip, the means of its windows' features.

    Attributes:
        embeddings: the foreign model's.
        logits: of the matched labels, in the order of `columns`.
        groups: the file or recordist of each clip: no group is on both sides of a fold.
        scored: whether a clip's kind is what is scored: where soundscapes train, they choose the strength.
    """

    embeddings: Float32[np.ndarray, "clips dim"]
    logits: Float32[np.ndarray, "clips matched"]
    targets: Float32[np.ndarray, "clips classes"]
    mask: Bool[np.ndarray, "clips classes"]
    groups: tuple[str, ...]
    scored: Bool[np.ndarray, " clips"]

    def rows(self, keep: Bool[np.ndarray, " clips"]) -> Clips:
        groups = tuple(group for group, kept in zip(self.groups, keep, strict=True) if kept)
        arrays = {name: getattr(self, name)[keep] for name in ("embeddings", "logits", "targets", "mask", "scored")}
        return replace(self, groups=groups, **arrays)


@dataclass(frozen=True)
class Matched:
    """Which labels of the foreign model are classes: `columns` of its logits, and the class that each is for."""

    columns: Int[np.ndarray, " matched"]
    classes: Int[np.ndarray, " matched"]


@dataclass(frozen=True)
class Linear:
    """Logits of clips are `features @ weight.T + bias`; the features are embeddings, then matched logits."""

    weight: Float32[np.ndarray, "classes features"]
    bias: Float32[np.ndarray, " classes"]

    def logits(self, clips: Clips) -> Float32[np.ndarray, "clips classes"]:
        features = np.concatenate([clips.embeddings, clips.logits], axis=1)
        return np.asarray(features @ self.weight.T + self.bias, np.float32)

    def scaled(self, scale: float | np.ndarray, shift: float | np.ndarray) -> Linear:
        """Logits times `scale`, then plus `shift`; one for all, or one a class."""
        factor = np.broadcast_to(np.asarray(scale, np.float32), self.bias.shape)
        return Linear(self.weight * factor[:, None], self.bias * factor + np.asarray(shift, np.float32))

    def tensors(self, matched: Matched) -> Mapping[str, Tensor]:
        """As `ProbeModel` takes them."""
        return {
            "weight": torch.from_numpy(self.weight),
            "bias": torch.from_numpy(self.bias),
            "columns": torch.from_numpy(matched.columns.astype(np.int64)),
        }


@dataclass(frozen=True)
class Fitted:
    """The classifiers of a foreign model, and the strength of the probe's regularisation."""

    by_kind: Mapping[Kind, Linear]
    strength: float


def fit_probes(clips: Clips, matched: Matched) -> Fitted:
    """The probe; and where labels match, the foreign model's own logits, and the sum of both.

    All are calibrated (Platt scaling, the same for all classes) on clips that have not fitted them.
    """
    folds = folds_of(clips)
    strength, unheard = chosen_strength(clips, folds)
    (probe,) = fit_linear(clips, (strength,))
    held_out = Calibration(unheard, clips)
    by_kind: dict[Kind, Linear] = {"probe": held_out.of(probe)}
    if len(matched.columns):
        zero_shot = zero_shot_of(clips, matched)
        own = zero_shot.logits(clips)
        by_kind["zero-shot"] = Calibration(own, clips, matched.classes).of(zero_shot)
        weight, both = joined(probe, zero_shot, clips, unheard, matched)
        by_kind["zero-shot and probe"] = Calibration(both, clips).of(weight)
    return Fitted({kind: by_kind[kind] for kind in KINDS if kind in by_kind}, strength)


def folds_of(clips: Clips) -> Int[np.ndarray, " clips"]:
    """The fold of each clip; no group is in two. Larger groups first, each into the smallest fold."""
    sizes = dict.fromkeys(clips.groups, 0)
    for group in clips.groups:
        sizes[group] += 1
    filled, fold_of = [0] * N_FOLDS, {}
    for group in sorted(sizes, key=lambda name: (-sizes[name], name)):
        fold_of[group] = filled.index(min(filled))
        filled[fold_of[group]] += sizes[group]
    return np.array([fold_of[group] for group in clips.groups])


def chosen_strength(clips: Clips, folds: Int[np.ndarray, " clips"]) -> tuple[float, Float32[np.ndarray, "clips k"]]:
    """The strength with the best macro AUC over clips of other folds, and their logits by it.

    Where no class can be scored it is the strongest, and where all are of one group, the logits are of what has heard
    them.
    """
    if len(np.unique(folds)) == 1:
        (linear,) = fit_linear(clips, STRENGTHS[:1])
        return STRENGTHS[0], linear.logits(clips)
    by_strength = np.zeros((len(STRENGTHS), *clips.targets.shape), np.float32)
    for fold in np.unique(folds):
        inside = folds == fold
        for logits, linear in zip(by_strength, fit_linear(clips.rows(~inside), STRENGTHS), strict=True):
            logits[inside] = linear.logits(clips.rows(inside))
    scored = clips.scored
    scores = [mean_of_classes(class_aucs(clips.targets[scored], one[scored], folds[scored])) for one in by_strength]
    best = 0
    for place, score in enumerate(scores):
        if score > scores[best] + LEAST_GAIN:
            best = place
    return STRENGTHS[best], by_strength[best]


def fit_linear(clips: Clips, strengths: Sequence[float]) -> Iterator[Linear]:
    """One-vs-rest logistic regression on standardised embeddings, all classes at once; one for each strength."""
    mean, spread = clips.embeddings.mean(axis=0), clips.embeddings.std(axis=0) + LEAST_SPREAD
    for weight, bias in fit_path((clips.embeddings - mean) / spread, clips.targets, clips.mask, strengths):
        scaled = weight / spread
        padded = np.concatenate([scaled, np.zeros((len(bias), clips.logits.shape[1]))], axis=1)
        yield Linear(padded.astype(np.float32), (bias - scaled @ mean).astype(np.float32))


def zero_shot_of(clips: Clips, matched: Matched) -> Linear:
    """The foreign model's own logits; of classes that it does not know the logit is a constant."""
    dim, n_classes = clips.embeddings.shape[1], clips.targets.shape[1]
    weight = np.zeros((n_classes, dim + len(matched.columns)), np.float32)
    weight[matched.classes, dim + np.arange(len(matched.columns))] = 1
    bias = np.zeros(n_classes, np.float32)
    unknown = np.setdiff1d(np.arange(n_classes), matched.classes)
    bias[unknown] = np.median(clips.logits)
    return Linear(weight, bias)


def joined(
    probe: Linear,
    zero_shot: Linear,
    clips: Clips,
    unheard: Float32[np.ndarray, "clips classes"],
    matched: Matched,
) -> tuple[Linear, Float32[np.ndarray, "clips classes"]]:
    """Both logits of a class on one scale, added up, and those of clips that have not fitted the probe.

    Each is taken over its own mean and spread, as ranks would be, but so that a window alone has a score.
    """
    own = zero_shot.logits(clips)
    scaled_probe, unheard_probe = _standardised(probe, unheard)
    scaled_own, of_own = _standardised(zero_shot, own)
    knows = np.zeros(len(probe.bias), np.float32)
    knows[matched.classes] = 1
    root = np.where(knows, 1 / np.sqrt(2), 1).astype(np.float32)  # as wide as where there is one alone
    first, second = scaled_probe.scaled(root, 0.0), scaled_own.scaled(root * knows, 0.0)
    both = Linear(first.weight + second.weight, first.bias + second.bias)
    return both, np.asarray(root * (unheard_probe + knows * of_own), np.float32)


def _standardised(linear: Linear, logits: Float32[np.ndarray, "clips classes"]) -> tuple[Linear, np.ndarray]:
    mean, spread = logits.mean(axis=0), logits.std(axis=0) + LEAST_SPREAD
    return linear.scaled(1 / spread, -mean / spread), (logits - mean) / spread


@dataclass(frozen=True)
class Calibration:
    """Logits of clips by a model that has not heard them, which tell its scale.

    Attributes:
        classes: those that tell it; None: all.
    """

    logits: Float32[np.ndarray, "clips classes"]
    clips: Clips
    classes: Int[np.ndarray, " known"] | None = None

    def of(self, linear: Linear) -> Linear:
        """The model with its logits as log odds (Platt 1999): by the clips that are scored, if they have all kinds.

        How much a logit differs from the mean of its class has a scale of its own: strong regularisation shrinks it,
        and not the means, which say how rare a class is.
        """
        rows = self.clips.scored if self.clips.scored.any() else np.ones(len(self.clips.targets), bool)
        known = np.ones(len(linear.bias), bool)
        if self.classes is not None:
            known = np.isin(np.arange(len(linear.bias)), self.classes)
        used = self.clips.mask[rows] & known
        targets = self.clips.targets[rows][used] >= POSITIVE_FROM
        if targets.all() or not targets.any():
            return linear
        levels = self.logits.mean(axis=0)
        off = self.logits[rows] - levels
        spread, centre = float(off[used].std()) + TINY, float(levels[known].mean())
        from sklearn.linear_model import LogisticRegression

        told = np.stack([off[used] / spread, np.broadcast_to(levels - centre, off.shape)[used]], axis=1)
        platt = LogisticRegression(C=1e3).fit(told, targets)
        scale, of_level, shift = float(platt.coef_[0, 0]) / spread, float(platt.coef_[0, 1]), float(platt.intercept_[0])
        return linear.scaled(scale, of_level * (levels - centre) + shift - scale * levels) if scale > 0 else linear
