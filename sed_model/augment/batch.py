"""Augmentation of batches on their own device: SpecAugment, FilterAugment, mixup and cutmix. Pure functions.

Axis letters: B sample, C channel, F mel band, T frame, N audio sample, K class. Random numbers are drawn on the
generator's device and moved to the batch, so that a CPU generator gives the same batch on every device.

Where several processes share a batch, each draws for all of its rows and uses the draws of its own (`share`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sed_model.audio.windows import LEAST_COMMON
from sed_model.config.augment import MixAugment, SpecAugment
from sed_model.config.training import Stage
from sed_model.model.shares import Share
from sed_model.run_folder.metrics import POSITIVE_FROM

FILTER_KNOTS = 6
"""Points of the piecewise-linear gain curve of FilterAugment, both ends included."""
AUDIBLE_SHARE = 0.05
"""Below this share (26 dB under the other sample) a partner does not count for union labels."""


@dataclass(frozen=True)
class Mix:
    """How each sample of a batch is mixed with a partner of the same batch; all tensors are [B].

    Attributes:
        kind: "none" leaves everything as it is.
        permutation: index of each sample's partner.
        share: share of the sample itself, 0..1; the partner has the rest.
        start: cutmix only: where the partner's stretch begins, as a share of the last axis.
        span: cutmix only: the part of the last axis that it pastes in [B, 2], see `mix_within`; None: all of it.
    """

    kind: Literal["none", "mixup", "cutmix"]
    permutation: Tensor
    share: Tensor
    start: Tensor
    span: Tensor | None = None


def draw_mix(batch_size: int, settings: MixAugment, stage: Stage, generator: torch.Generator) -> Mix:
    """Draw mixup, cutmix or neither for a batch, with a share for each sample from Beta(alpha, alpha) of the stage.

    An alpha of 0 turns its kind off. Mixup: Zhang et al. 2018; CutMix: Yun et al. 2019.
    """
    seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
    rng = np.random.default_rng(seed)  # torch's Beta distribution takes no generator
    kind = _draw_kind(settings, stage, float(rng.random()))
    permutation, share, start = np.arange(batch_size), np.ones(batch_size), np.zeros(batch_size)
    if kind != "none":
        alpha = stage.mixup_alpha if kind == "mixup" else stage.cutmix_alpha
        permutation = rng.permutation(batch_size)
        share = rng.beta(alpha, alpha, batch_size)
    if kind == "cutmix":
        start = share * rng.random(batch_size)
    return Mix(
        kind,
        torch.from_numpy(permutation),
        torch.from_numpy(share.astype(np.float32)),
        torch.from_numpy(start.astype(np.float32)),
    )


def _draw_kind(settings: MixAugment, stage: Stage, draw: float) -> Literal["none", "mixup", "cutmix"]:
    if draw < settings.mixup_prob:
        return "mixup" if stage.mixup_alpha > 0 else "none"
    if draw < settings.mixup_prob + settings.cutmix_prob:
        return "cutmix" if stage.cutmix_alpha > 0 else "none"
    return "none"


def mix_within(mix: Mix, parts: Tensor, origins: Tensor) -> tuple[Mix, Tensor]:
    """The mix of clips whose labels are for `parts` of them [B, 2], and the parts that the mixed labels are for.

    Those are what the parts of both clips have in common, and cutmix pastes within them, so that its shares are true
    there. A clip stays unmixed where that is less than `LEAST_COMMON` of the shorter part (see `windows`), and where
    `origins` [B] tell a labelled and a pseudo-labelled soundscape, 1 and -1, which are never in one clip.
    """
    if mix.kind == "none":
        return mix, parts
    partner = parts[mix.permutation.to(parts.device)]
    common = torch.stack([torch.maximum(parts, partner)[:, 0], torch.minimum(parts, partner)[:, 1]], dim=1)
    shorter = torch.minimum(parts[:, 1] - parts[:, 0], partner[:, 1] - partner[:, 0])
    enough = common[:, 1] - common[:, 0] >= LEAST_COMMON * shorter - 1e-6
    mixed = enough & (origins * origins[mix.permutation.to(origins.device)] >= 0)
    share = torch.where(mixed.to(mix.share.device), mix.share, 1.0)
    common = torch.where(mixed[:, None], common, parts)
    return replace(mix, share=share, span=common.to(mix.start.device)), common


def apply_mix(x: Tensor, mix: Mix, share: Share | None = None) -> Tensor:
    """Mix waveforms [B, N] or log-mels [B, C, F, T]; those of a share with partners from the whole batch.

    Mixup is the weighted sum of sample and partner. Cutmix replaces one stretch of the last axis by the same stretch
    of the partner; its length is the partner's share of the axis, rounded to whole positions.
    """
    if mix.kind == "none":
        return x
    share = share or Share(len(x))
    partner = share.gather(x)[share.of(mix.permutation).to(x.device)]
    own_share = share.of(mix.share)
    if mix.kind == "mixup":
        return torch.lerp(partner, x, _per_sample(own_share, x))
    n = x.shape[-1]
    low, high = (0.0, 1.0) if mix.span is None else share.of(mix.span).unbind(dim=1)
    first = _per_sample(((low + share.of(mix.start) * (high - low)) * n).round(), x)
    end = first + _per_sample(((1 - own_share) * (high - low) * n).round(), x)
    position = torch.arange(n, device=x.device)
    return torch.where((position >= first) & (position < end), partner, x)


def mix_levels(log_mels: Tensor, mix: Mix, top_db: float, share: Share | None = None) -> Tensor:
    """`apply_mix` of waveforms, from log-mels [B, C, F, T] of 0..1: mixup adds their power, at equal peak levels.

    The power of a waveform goes with the square of its share; phases are not modelled. `top_db` decibels are one unit.
    """
    if mix.kind != "mixup":
        return apply_mix(log_mels, mix, share)
    share = share or Share(len(log_mels))
    power = torch.pow(10.0, (log_mels - 1) * (top_db / 10))
    partner = share.gather(power)[share.of(mix.permutation).to(power.device)]
    own_share = _per_sample(share.of(mix.share), power)
    level = (own_share**2 * power + (1 - own_share) ** 2 * partner).log10() * (10 / top_db)
    loudest = level.amax(dim=(2, 3), keepdim=True)
    silent = loudest <= -1  # both clips are: a level of 0 is -top_db
    return torch.where(silent, 0.0, level - loudest + 1).clamp(0, 1)


def _per_sample(values: Tensor, x: Tensor) -> Tensor:
    """Values [B] shaped to multiply `x` [B, ...]."""
    return values.to(x.device, x.dtype).view(-1, *[1] * (x.ndim - 1))


LabelRule = Literal["convex", "union"]


def label_rule(settings: MixAugment, stage: Stage) -> LabelRule:
    """How targets mix in a stage: cross-entropy needs targets that sum to 1, so it is always convex there."""
    return "convex" if stage.loss == "ce" else settings.labels


def loudest_rule(settings: MixAugment, stage: Stage, mix: Mix) -> LabelRule:
    """How targets mix for the loudest frame of a clip.

    After cutmix the frames are those of one clip or of the other: what sounds in a part of the mix sounds at full level
    in its loudest frame, whatever that part's length (with convex targets there the test macro AUC was 0.006 and 0.057
    lower on two sets, docs/results.md). After mixup every frame holds both at their shares (with union targets there
    the test macro AUC was 0.017 lower on one set, twice, and 0.012 higher on another, once).
    """
    if mix.kind == "cutmix" and stage.loss != "ce":
        return "union"
    return label_rule(settings, stage)


def mix_targets(targets: Tensor, mix: Mix, labels: LabelRule) -> Tensor:
    """Mix targets [B, K] of 0..1.

    "convex" weights them by the shares (rows that sum to 1 still do); "union" takes the larger of the two, leaving
    out a side that is too faint to hear (`AUDIBLE_SHARE`). Union is for multi-label losses only: see `label_rule`.
    """
    if mix.kind == "none":
        return targets
    partner = targets[mix.permutation.to(targets.device)]
    share = _per_sample(mix.share, targets)
    if labels == "convex":
        return torch.lerp(partner, targets, share)
    return torch.maximum(targets * (share >= AUDIBLE_SHARE), partner * (1 - share >= AUDIBLE_SHARE))


def mix_weights(weights: Tensor, mix: Mix) -> Tensor:
    """Mix loss weights [B] by the shares."""
    return weights if mix.kind == "none" else mix_targets(weights[:, None], mix, "convex")[:, 0]


def mix_embeddings(embeddings: Tensor, mix: Mix) -> Tensor:
    """Mix the teacher's embeddings [B, D] by what each sample has of the whole clip; zeros stand for unknown ones.

    Unknown stays what is mixed with something unknown.
    """
    if mix.kind == "none":
        return embeddings
    partner_has = 1 - mix.share
    if mix.span is not None and mix.kind == "cutmix":
        partner_has = partner_has * (mix.span[:, 1] - mix.span[:, 0])
    of_whole = replace(mix, share=1 - partner_has)
    known, partner_has = embeddings.any(dim=1), partner_has.to(embeddings.device)
    partner_known = known[mix.permutation.to(embeddings.device)]
    clear = (known | (partner_has == 1)) & (partner_known | (partner_has == 0))
    return mix_targets(embeddings, of_whole, "convex") * clear[:, None]


def mix_masks(mask: Tensor, targets: Tensor, mix: Mix, labels: LabelRule) -> Tensor:
    """Mix loss masks [B, K] (true: the class counts): a class counts where it does for both samples.

    With union labels also where it is a positive of one: then it is there, whatever the other one holds (see
    `targets.union`); and a side that is too faint to hear leaves nothing open.
    """
    if mix.kind == "none":
        return mask
    permutation = mix.permutation.to(mask.device)
    if labels == "convex":
        return mask & mask[permutation]
    share = mix.share.to(mask.device)[:, None]
    present = mask & (targets >= POSITIVE_FROM)
    audible, partner_audible = share >= AUDIBLE_SHARE, 1 - share >= AUDIBLE_SHARE
    counts = (mask | ~audible) & (mask[permutation] | ~partner_audible)
    return counts | (present & audible) | (present[permutation] & partner_audible)


def spec_augment(
    log_mel: Tensor, settings: SpecAugment, generator: torch.Generator, share: Share | None = None
) -> Tensor:
    """Mask bands and frames of log-mels [B, C, F, T], each sample with masks of its own (Park et al. 2019).

    Masked cells take the mean of their sample and channel; the channels of a sample share masks. A mask covers at most
    half of its axis. Each sample is masked with probability `settings.prob`.
    """
    freq_on = settings.freq_masks > 0 and settings.freq_mask_bands > 0
    time_on = settings.time_masks > 0 and settings.time_mask_frames > 0
    if settings.prob == 0 or not (freq_on or time_on):
        return log_mel
    share = share or Share(len(log_mel))
    n_samples, (n_bands, n_frames) = share.n_rows, log_mel.shape[2:]
    bands = _mask_axis(n_samples, n_bands, settings.freq_masks, settings.freq_mask_bands, generator)
    frames = _mask_axis(n_samples, n_frames, settings.time_masks, settings.time_mask_frames, generator)
    chosen = _uniform((n_samples, 1, 1), generator) < settings.prob
    masked = share.of(chosen & (bands[:, :, None] | frames[:, None, :])).to(log_mel.device)
    mean = log_mel.mean(dim=(2, 3), keepdim=True)
    return torch.where(masked[:, None], mean, log_mel)


def _mask_axis(n_samples: int, length: int, n_masks: int, max_width: int, generator: torch.Generator) -> Tensor:
    """Boolean [B, length], true under any of `n_masks` random stretches of 0..max_width positions."""
    max_width = min(max_width, length // 2)
    width = (_uniform((n_samples, n_masks, 1), generator) * (max_width + 1)).floor()
    first = (_uniform((n_samples, n_masks, 1), generator) * (length - width + 1)).floor()
    position = torch.arange(length, device=generator.device)
    return ((position >= first) & (position < first + width)).any(dim=1)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def filter_augment(
    log_mel: Tensor, settings: SpecAugment, top_db: float, generator: torch.Generator, share: Share | None = None
) -> Tensor:
    """Add a random piecewise-linear gain over frequency to log-mels [B, C, F, T] scaled 0..1 (FilterAugment).

    `top_db` decibels are one unit. Gains at `FILTER_KNOTS` random bands are uniform within +-filter_max_db; each sample
    is filtered with probability `settings.filter_prob`. Nam et al. 2022, linear type.
    """
    if settings.filter_prob == 0 or settings.filter_max_db == 0:
        return log_mel
    share = share or Share(len(log_mel))
    n_samples, n_bands = share.n_rows, log_mel.shape[2]
    knots = _uniform((n_samples, FILTER_KNOTS), generator).sort(dim=1).values
    knots[:, 0], knots[:, -1] = 0, 1
    gains_db = (2 * _uniform((n_samples, FILTER_KNOTS), generator) - 1) * settings.filter_max_db
    gains_db = gains_db * (_uniform((n_samples, 1), generator) < settings.filter_prob)
    position = torch.linspace(0, 1, n_bands, device=generator.device).expand(n_samples, n_bands).contiguous()
    right = torch.searchsorted(knots, position).clamp(1, FILTER_KNOTS - 1)
    left_at, right_at = knots.gather(1, right - 1), knots.gather(1, right)
    weight = (position - left_at) / (right_at - left_at).clamp_min(1e-6)
    curve_db = share.of(torch.lerp(gains_db.gather(1, right - 1), gains_db.gather(1, right), weight.clamp(0, 1)))
    return (log_mel + (curve_db / top_db).to(log_mel.device, log_mel.dtype)[:, None, :, None]).clamp(0, 1)
