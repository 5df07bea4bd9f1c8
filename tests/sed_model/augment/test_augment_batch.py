"""Masks, filters and mixing on tensors."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from sed_model.augment import batch as ab
from sed_model.config.augment import MixAugment, SpecAugment
from sed_model.config.sed_config import FrontEnd
from sed_model.config.training import Stage, Stages
from sed_model.model.fast_mel import shared_fast_mel
from sed_model.model.frontend import LogMel

BATCH = 16
RECORDINGS = torch.zeros(64, dtype=torch.int8)
"""Origins of clips of recordings alone."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=generator(9))


def mix(kind: str, share: list[float], start: list[float] | None = None) -> ab.Mix:
    n = len(share)
    start_at = torch.tensor(start if start is not None else [0.0] * n)
    return ab.Mix(kind, torch.arange(n).roll(-1), torch.tensor(share), start_at)  # type: ignore[arg-type]


ALWAYS = SpecAugment(prob=1, freq_masks=1, freq_mask_bands=20, time_masks=1, time_mask_frames=40)


def test_masks_differ_between_samples() -> None:  # fault 8
    log_mel = noise(1, 1, 64, 100).expand(BATCH, 1, 64, 100)
    masked = ab.spec_augment(log_mel, ALWAYS, generator()) != log_mel
    assert len({tuple(m.flatten().tolist()) for m in masked}) > BATCH // 2


def test_masked_cells_hold_the_mean_of_their_sample() -> None:  # fault 8
    log_mel = noise(BATCH, 1, 64, 100) + torch.arange(BATCH).view(-1, 1, 1, 1)
    out = ab.spec_augment(log_mel, ALWAYS, generator())
    changed = out != log_mel
    assert changed.any()
    for sample in range(BATCH):
        filled = out[sample][changed[sample]]
        torch.testing.assert_close(filled, log_mel[sample].mean().expand_as(filled))


def test_channels_of_a_sample_share_masks() -> None:
    log_mel = noise(BATCH, 2, 64, 100)
    changed = ab.spec_augment(log_mel, ALWAYS, generator()) != log_mel
    assert torch.equal(changed[:, 0], changed[:, 1])


def test_a_mask_is_whole_bands_no_wider_than_half_the_axis() -> None:
    settings = SpecAugment(prob=1, freq_masks=1, freq_mask_bands=512, time_masks=0)
    log_mel = noise(200, 1, 32, 10)
    bands = (ab.spec_augment(log_mel, settings, generator()) != log_mel)[:, 0]
    assert torch.equal(bands.any(dim=2), bands.all(dim=2))
    assert int(bands.any(dim=2).sum(dim=1).max()) == 16


def test_only_a_share_of_the_samples_is_masked() -> None:
    log_mel = noise(1000, 1, 32, 32)
    settings = ALWAYS.model_copy(update={"prob": 0.25, "freq_mask_bands": 16, "time_mask_frames": 16})
    touched = (ab.spec_augment(log_mel, settings, generator()) != log_mel).flatten(1).any(dim=1)
    assert 0.19 < float(touched.float().mean()) < 0.30


@pytest.mark.parametrize("settings", [SpecAugment(prob=0), SpecAugment(freq_masks=0, time_mask_frames=0)])
def test_no_masks_costs_nothing(settings: SpecAugment) -> None:
    log_mel = noise(2, 1, 32, 32)
    assert ab.spec_augment(log_mel, settings, generator()) is log_mel


def test_spec_augment_repeats_with_its_generator() -> None:
    log_mel = noise(4, 1, 32, 64)
    once, again = (ab.spec_augment(log_mel, ALWAYS, generator(5)) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, ab.spec_augment(log_mel, ALWAYS, generator(6)))


def test_filter_adds_one_bounded_gain_a_band() -> None:
    settings = SpecAugment(filter_prob=1, filter_max_db=8)
    log_mel = torch.full((BATCH, 2, 64, 10), 0.5)
    gain_db = (ab.filter_augment(log_mel, settings, 80, generator()) - 0.5) * 80
    torch.testing.assert_close(gain_db, gain_db[:, :1, :, :1].expand_as(gain_db))
    assert 6 < float(gain_db.abs().max()) <= 8.001
    assert not torch.equal(gain_db[0], gain_db[1])


def test_filter_is_continuous_over_frequency() -> None:
    settings = SpecAugment(filter_prob=1, filter_max_db=8)
    gain = ab.filter_augment(torch.full((1, 1, 4096, 1), 0.5), settings, 80, generator()).flatten()
    assert float(gain.diff().abs().max()) < 0.01


def test_filter_off_returns_its_input() -> None:
    log_mel = noise(2, 1, 32, 32)
    assert ab.filter_augment(log_mel, SpecAugment(filter_prob=0), 80, generator()) is log_mel


def test_mixup_is_the_weighted_sum() -> None:
    x = torch.tensor([[1.0, 2.0], [10.0, 20.0]])
    mixed = ab.apply_mix(x, mix("mixup", [0.75, 0.5]))
    torch.testing.assert_close(mixed, torch.tensor([[3.25, 6.5], [5.5, 11.0]]))


def test_mixup_of_levels_adds_power() -> None:
    """Of two sounds that do not overlap, at shares of 3/4 and 1/4, one is 20 log10(3) = 9.54 dB above the other."""
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[:, None, None]
    mixed = ab.mix_levels(x, mix("mixup", [0.75, 0.5]), top_db=80.0)[:, 0, 0]
    torch.testing.assert_close(mixed, torch.tensor([[1.0, 1 - 9.5424 / 80], [1.0, 1.0]]), atol=1e-4, rtol=0)


def test_silence_mixed_with_silence_stays_silent() -> None:
    mixed = ab.mix_levels(torch.zeros(2, 1, 3, 4), mix("mixup", [0.75, 0.5]), top_db=80.0)
    assert not mixed.any()


def test_mixup_of_levels_is_close_to_that_of_waveforms() -> None:
    """Two noises that beat at different times, of equal loudest points: phases, which are not known, leave 1.3 dB."""
    front_end = FrontEnd()
    noise = np.random.default_rng(0).standard_normal((2, 2 * front_end.sample_rate_hz)).astype(np.float32)
    beat = np.sin(np.linspace(0, 9, noise.shape[1]) + np.array([[0.0], [1.5]])) ** 2
    waves = torch.from_numpy((0.1 * noise * beat).astype(np.float32))
    log_mel = LogMel(front_end)
    waves[1] *= (power_of(waves[0], front_end).max() / power_of(waves[1], front_end).max()) ** 0.5
    drawn = mix("mixup", [0.6, 0.3])
    wanted = log_mel(ab.apply_mix(waves, drawn))[:, None]
    got = ab.mix_levels(log_mel(waves)[:, None], drawn, front_end.top_db)
    far = ab.apply_mix(log_mel(waves)[:, None], drawn)
    assert 80 * (got - wanted).abs().mean() < 2
    assert 80 * (far - wanted).abs().mean() > 4


def power_of(wave: torch.Tensor, front_end: FrontEnd) -> np.ndarray:
    return shared_fast_mel(front_end).mel_power(wave.numpy())


def test_cutmix_pastes_one_stretch_of_the_partner() -> None:
    x = torch.stack([torch.zeros(10), torch.ones(10)])
    mixed = ab.apply_mix(x, mix("cutmix", [0.7, 0.5], [0.2, 0.5]))
    assert mixed[0].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    assert mixed[1].tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]


def test_cutmix_cuts_log_mels_along_time_only() -> None:
    x = torch.stack([torch.zeros(2, 4, 10), torch.ones(2, 4, 10)])
    mixed = ab.apply_mix(x, mix("cutmix", [0.7, 0.5], [0.2, 0.5]))
    assert torch.equal(mixed[0, 1, 3], torch.tensor([0.0, 0, 1, 1, 1, 0, 0, 0, 0, 0]))
    assert torch.equal(mixed[0], mixed[0, :1, :1].expand(2, 4, 10))


def test_a_mix_is_judged_on_what_the_parts_of_both_have_in_common() -> None:
    """The third and the first have a quarter in common, half of the shorter part; the last two less."""
    parts = torch.tensor([[0.0, 1.0], [0.25, 0.75], [0.0, 0.5], [0.5, 1.0], [0.4, 0.9]])
    drawn = ab.Mix("mixup", torch.tensor([1, 2, 0, 2, 2]), torch.full((5,), 0.25), torch.zeros(5))
    mixed, together = ab.mix_within(drawn, parts, RECORDINGS[:5])
    expected = [[0.25, 0.75], [0.25, 0.5], [0.0, 0.5], [0.5, 1.0], [0.4, 0.9]]
    torch.testing.assert_close(together, torch.tensor(expected))
    assert mixed.share.tolist() == [0.25, 0.25, 0.25, 1, 1]
    x = torch.arange(5.0)[:, None]
    assert ab.apply_mix(x, mixed).flatten().tolist() == [0.75, 1.75, 0.5, 3, 4]
    assert ab.mix_targets(torch.eye(5), mixed, "convex")[3].tolist() == [0, 0, 0, 1, 0]


def test_cutmix_pastes_within_the_common_part() -> None:
    """The partner has 40 % of the middle half, from its start on: 4 of 10 samples of 20."""
    x = torch.stack([torch.zeros(20), torch.ones(20)])
    drawn = ab.Mix("cutmix", torch.tensor([1, 0]), torch.tensor([0.6, 0.6]), torch.tensor([0.0, 0.0]))
    mixed, together = ab.mix_within(drawn, torch.tensor([[0.0, 1.0], [0.25, 0.75]]), RECORDINGS[:2])
    assert together.tolist() == [[0.25, 0.75]] * 2
    assert ab.apply_mix(x, mixed)[0].tolist() == [0] * 5 + [1] * 4 + [0] * 11
    assert mixed.share.tolist() == pytest.approx([0.6, 0.6])


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_labelled_and_a_pseudo_labelled_soundscape_are_never_mixed(kind: Literal["mixup", "cutmix"]) -> None:
    """Recordings mix with both, and each with its own kind."""
    origins = torch.tensor([1, -1, 0, 1, -1, 0], dtype=torch.int8)
    drawn = ab.Mix(kind, torch.tensor([1, 2, 0, 0, 3, 4]), torch.full((6,), 0.5), torch.zeros(6))
    mixed, parts = ab.mix_within(drawn, torch.tensor([[0.0, 1.0]] * 5 + [[0.0, 0.5]]), origins)
    assert mixed.share.tolist() == [1, 0.5, 0.5, 0.5, 1, 0.5]
    heard = ab.apply_mix(torch.eye(6)[:, :, None].expand(6, 6, 10), mixed).amax(dim=2) > 0
    assert not any({1, -1} <= set(origins[in_clip].tolist()) for in_clip in heard)
    labels = ab.mix_targets(torch.eye(6), mixed, "union")
    assert torch.equal(labels > 0, heard)
    assert parts[0].tolist() == [0, 1]


def test_labels_for_the_whole_clips_change_no_mix() -> None:
    whole = torch.tensor([[0.0, 1.0]] * 64)
    drawn = ab.draw_mix(64, MixAugment(prob=1, cutmix_share=1), Stage(cutmix_alpha=1), generator())
    mixed, together = ab.mix_within(drawn, whole, RECORDINGS)
    assert torch.equal(together, whole)
    assert torch.equal(mixed.share, drawn.share)
    x = noise(64, 1000)
    assert torch.equal(ab.apply_mix(x, mixed), ab.apply_mix(x, drawn))


@pytest.mark.parametrize("seed", range(20))
def test_cutmix_label_share_is_the_share_pasted(seed: int) -> None:
    drawn = ab.draw_mix(64, MixAugment(prob=1, cutmix_share=1), Stage(cutmix_alpha=1), generator(seed))
    kept = ab.apply_mix(torch.eye(64)[:, :, None].expand(64, 64, 1000), drawn)[torch.arange(64), torch.arange(64)]
    alone = drawn.permutation == torch.arange(64)
    torch.testing.assert_close(kept.mean(dim=1)[~alone], drawn.share[~alone], atol=0.5005e-3, rtol=0)


def test_convex_targets_still_sum_to_one() -> None:
    targets = torch.eye(3)[[0, 1]]
    mixed = ab.mix_targets(targets, mix("mixup", [0.75, 0.4]), "convex")
    torch.testing.assert_close(mixed, torch.tensor([[0.75, 0.25, 0.0], [0.6, 0.4, 0.0]]))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_what_a_teacher_heard_mixes_by_the_shares(kind: str) -> None:
    heard = torch.tensor([[4.0, 0.0], [0.0, 8.0]])
    mixed = ab.mix_embeddings(heard, mix(kind, [0.75, 0.5]))
    torch.testing.assert_close(mixed, torch.tensor([[3.0, 2.0], [2.0, 4.0]]))


def test_what_is_pasted_within_a_part_has_its_share_of_the_whole_clip() -> None:
    """40 % of the middle half is a fifth of the clip."""
    within = replace(mix("cutmix", [0.6, 0.6]), span=torch.tensor([[0.25, 0.75]] * 2))
    mixed = ab.mix_embeddings(torch.tensor([[5.0, 0.0], [0.0, 5.0]]), within)
    torch.testing.assert_close(mixed, torch.tensor([[4.0, 1.0], [1.0, 4.0]]))


def test_a_mix_with_something_unknown_is_unknown() -> None:
    """The first clip's partner is unknown, and so is the second; a clip that stays unmixed keeps its own."""
    heard = torch.tensor([[4.0, 2.0], [0.0, 0.0]])
    assert ab.mix_embeddings(heard, mix("mixup", [0.75, 0.5])).tolist() == [[0, 0], [0, 0]]
    assert ab.mix_embeddings(heard, mix("mixup", [1.0, 0.0])).tolist() == [[4, 2], [4, 2]]
    assert ab.mix_embeddings(heard, mix("none", [1.0, 1.0])) is heard


def test_union_takes_the_larger_target_of_audible_samples() -> None:
    targets = torch.tensor([[1.0, 0.0, 0.9], [0.0, 1.0, 0.3]])
    mixed = ab.mix_targets(targets, mix("mixup", [0.5, 0.01]), "union")
    torch.testing.assert_close(mixed, torch.tensor([[1.0, 1.0, 0.9], [1.0, 0.0, 0.9]]))


def test_cross_entropy_targets_are_always_convex() -> None:
    union = MixAugment(labels="union")
    assert ab.label_rule(union, Stages().pretrain_ce) == "convex"
    assert ab.label_rule(union, Stages().train_bce) == "union"


@pytest.mark.parametrize(
    ("kind", "labels", "stage", "rule"),
    [
        ("cutmix", "convex", "train_bce", "union"),  # a call in a tenth of the mix is as loud as it ever was
        ("cutmix", "convex", "pretrain_ce", "convex"),  # targets of cross-entropy sum to 1
        ("mixup", "convex", "train_bce", "convex"),
        ("mixup", "union", "train_bce", "union"),
        ("none", "convex", "train_bce", "convex"),
    ],
)
def test_what_sounds_in_a_part_of_a_cut_mix_sounds_in_its_loudest_frame(
    kind: str, labels: str, stage: str, rule: str
) -> None:
    drawn = mix(kind, [0.9, 0.9])
    assert ab.loudest_rule(MixAugment(labels=labels), Stages()[stage], drawn) == rule  # type: ignore[arg-type]


def test_weights_mix_by_share_and_masks_need_both() -> None:
    drawn = mix("mixup", [0.75, 0.5])
    torch.testing.assert_close(ab.mix_weights(torch.tensor([1.0, 0.2]), drawn), torch.tensor([0.8, 0.6]))
    mask = torch.tensor([[True, False, True], [True, True, False]])
    everywhere = torch.ones(2, 3)
    assert ab.mix_masks(mask, everywhere, drawn, "convex").tolist() == [[True, False, False]] * 2


def test_a_class_heard_in_one_sample_and_open_in_the_other_counts_with_union_labels() -> None:
    mask = torch.tensor([[True, False, False], [True, True, True]])
    targets = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.9, 0.3]])
    # Of the two open classes the partner has one as a positive (0.9), the other below 0.5: nobody knows about that one.
    assert ab.mix_masks(mask, targets, mix("mixup", [0.5, 0.5]), "union").tolist() == [[True, True, False]] * 2


def test_an_inaudible_sample_leaves_no_class_open_with_union_labels() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # Sample 0 is at 1 % in both: the first row is its partner's, and so is the second row its own.
    assert ab.mix_masks(mask, targets, mix("mixup", [0.01, 0.99]), "union").tolist() == [[True, True]] * 2
    # At 99 % it is all that is heard, and the partner's positive is not.
    assert ab.mix_masks(mask, targets, mix("mixup", [0.99, 0.01]), "union").tolist() == [[True, False]] * 2


def test_no_mix_returns_the_inputs_themselves() -> None:
    drawn = ab.draw_mix(4, MixAugment(prob=0), Stage(), generator())
    x, targets, weights, mask = noise(4, 8), noise(4, 3), noise(4), noise(4, 3) > 0.5
    assert drawn.kind == "none"
    assert ab.apply_mix(x, drawn) is x
    assert ab.mix_targets(targets, drawn, "union") is targets
    assert ab.mix_weights(weights, drawn) is weights
    assert ab.mix_masks(mask, targets, drawn, "union") is mask


@pytest.mark.parametrize("name", ["pretrain_ce", "train_bce", "finetune", "pseudo"])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_shares_follow_the_alpha_of_the_stage(name: str, kind: str) -> None:  # fault 7
    stage = Stages()[name]
    alpha = stage.mixup_alpha if kind == "mixup" else stage.cutmix_alpha
    settings = MixAugment(prob=1, cutmix_share=float(kind == "cutmix"))
    share = ab.draw_mix(20_000, settings, stage, generator()).share
    variance_of_beta = 1 / (4 * (2 * alpha + 1))
    assert float(share.var()) == pytest.approx(variance_of_beta, rel=0.05)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_alpha_zero_turns_a_kind_off(kind: str) -> None:  # fault 7
    settings = MixAugment(prob=1, cutmix_share=float(kind == "cutmix"))
    assert ab.draw_mix(8, settings, Stage(mixup_alpha=0, cutmix_alpha=0), generator()).kind == "none"


def test_kinds_come_with_their_probabilities() -> None:  # fault 7
    settings = MixAugment(prob=0.7, cutmix_share=2 / 7)
    shared = generator()
    kinds = [ab.draw_mix(1, settings, Stage(), shared).kind for _ in range(2000)]
    assert kinds.count("mixup") / 2000 == pytest.approx(0.5, abs=0.04)
    assert kinds.count("cutmix") / 2000 == pytest.approx(0.2, abs=0.04)
