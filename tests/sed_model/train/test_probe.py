"""A linear probe of a foreign model: fitted, joined with the foreign model's own logits, and calibrated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sed_model.run_folder.resampling import class_aucs
from sed_model.train.probe import (
    N_FOLDS,
    STRENGTHS,
    Calibration,
    Clips,
    Linear,
    Matched,
    chosen_strength,
    fit_linear,
    fit_probes,
    folds_of,
    joined,
    zero_shot_of,
)

NO_MATCH = Matched(np.zeros(0, np.int64), np.zeros(0, np.int64))


def clips_of(embeddings: Any, targets: Any, logits: Any = None, **changes: Any) -> Clips:
    """Each clip is its own group, all is known, and all are scored."""
    n = len(embeddings)
    made = Clips(
        np.asarray(embeddings, np.float32),
        np.zeros((n, 0), np.float32) if logits is None else np.asarray(logits, np.float32),
        np.asarray(targets, np.float32),
        np.ones(np.shape(targets), bool),
        tuple(f"file {number:03}" for number in range(n)),
        np.ones(n, bool),
    )
    return replace(made, **changes)


def separable(n_each: int = 8, n_classes: int = 3, noise: float = 0.05) -> Clips:
    """A dimension for each class, in which its clips are 1."""
    targets = np.repeat(np.eye(n_classes), n_each, axis=0)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(targets))
    return clips_of((targets + noise * rng.normal(size=targets.shape))[order], targets[order])


def aucs(linear: Linear, clips: Clips) -> list[float]:
    return class_aucs(clips.targets, linear.logits(clips)).tolist()


def test_a_probe_of_separable_features_is_always_right() -> None:
    clips = separable()
    fitted = fit_probes(clips, NO_MATCH)
    assert list(fitted.by_kind) == ["probe"]
    assert aucs(fitted.by_kind["probe"], clips) == [1, 1, 1]


def test_of_equal_strengths_the_strongest_is_taken() -> None:
    strength, logits = chosen_strength(clips := separable(), folds_of(clips))
    assert strength == STRENGTHS[0] == max(STRENGTHS)
    assert class_aucs(clips.targets, logits, folds_of(clips)).tolist() == [1, 1, 1]


def test_the_logits_that_choose_are_by_what_has_not_heard_the_clips() -> None:
    """Random labels: with as many features as clips whoever has heard them knows all, and whoever has not none."""
    rng = np.random.default_rng(0)
    clips = clips_of(rng.normal(size=(40, 40)), np.eye(2)[rng.integers(2, size=40)])
    folds = folds_of(clips)
    _, logits = chosen_strength(clips, folds)
    assert class_aucs(clips.targets, logits, folds).max() < 0.8


def test_a_weaker_regularisation_is_taken_where_it_tells_classes_better_apart() -> None:
    """What tells the class is in features that hardly vary; strong weights alone reach them beside the noise."""
    rng = np.random.default_rng(0)
    n, dim = 160, 6
    truth = rng.random(n) < 0.5
    noise = rng.normal(size=(n, 1)) * np.ones((1, dim)) * 5
    noise[:, 0] += np.where(truth, 0.5, -0.5)
    clips = clips_of(noise + 0.05 * rng.normal(size=(n, dim)), np.stack([truth, ~truth], axis=1))
    strength, _ = chosen_strength(clips, folds_of(clips))
    assert strength < STRENGTHS[0]


def test_the_clips_that_are_scored_choose_the_strength() -> None:
    """Of the others none has a target above a half, by whom no class could be scored."""
    clips = separable()
    silent = clips_of(clips.embeddings, np.zeros_like(clips.targets), groups=tuple(f"r{n}" for n in range(24)))
    parts = {name: np.concatenate([getattr(clips, name), getattr(silent, name)]) for name in ("embeddings", "logits")}
    both = Clips(
        **parts,
        targets=np.concatenate([clips.targets, silent.targets]),
        mask=np.concatenate([clips.mask, np.zeros_like(silent.mask)]),
        groups=clips.groups + silent.groups,
        scored=np.repeat([True, False], 24),
    )
    folds = folds_of(both)
    _, logits = chosen_strength(both, folds)
    assert class_aucs(clips.targets, logits[:24], folds[:24]).tolist() == [1, 1, 1]


def test_where_no_class_can_be_scored_the_strongest_is_taken_with_what_it_says() -> None:
    """One clip a class: no fold has two of them, so that none is ranked."""
    clips = separable()
    clips = replace(clips, targets=np.zeros_like(clips.targets))
    strength, logits = chosen_strength(clips, folds_of(clips))
    assert strength == STRENGTHS[0]
    assert (logits < -1).all()


def test_no_group_is_on_both_sides_of_a_fold() -> None:
    groups = ("a",) * 5 + ("b",) * 3 + ("c",) * 3 + ("d", "e", "f")
    folds = folds_of(separable(7, 2).rows(np.arange(14) < 14).rows(np.ones(14, bool)))
    assert len(folds) == 14
    of_groups = folds_of(replace(separable(7, 2), groups=groups))
    # 5 into the first, 3 and 3 into the second and third, then one each to the fourth until it is as full.
    assert of_groups.tolist() == [0] * 5 + [1] * 3 + [2] * 3 + [3, 3, 3]
    assert set(folds.tolist()) == set(range(N_FOLDS))


def test_a_single_group_is_fitted_all_the_same() -> None:
    clips = replace(separable(), groups=("one",) * 24)
    probe = fit_probes(clips, NO_MATCH).by_kind["probe"]
    assert np.isfinite(probe.weight).all()
    assert aucs(probe, clips) == [1, 1, 1]


def test_what_is_not_known_of_a_clip_fits_nothing() -> None:
    clips = separable()
    mask = clips.mask.copy()
    mask[:10, 1] = False
    wrong = np.where(mask, clips.targets, 1 - clips.targets).astype(np.float32)
    (first,) = fit_linear(replace(clips, mask=mask), (0.1,))
    (second,) = fit_linear(replace(clips, mask=mask, targets=wrong), (0.1,))
    assert np.array_equal(first.weight, second.weight)


def test_the_weights_take_features_as_they_are() -> None:
    """The fit standardises them; a feature of ten times the size has a tenth of the weight."""
    clips = separable()
    (first,) = fit_linear(clips, (0.1,))
    (second,) = fit_linear(replace(clips, embeddings=10 * clips.embeddings + 3), (0.1,))
    assert second.weight == pytest.approx(first.weight / 10, rel=0.02, abs=1e-4)
    assert second.logits(replace(clips, embeddings=10 * clips.embeddings + 3)) == pytest.approx(
        first.logits(clips), rel=0.02, abs=0.02
    )


# --- the foreign model's own logits

MATCHED = Matched(columns=np.array([17, 4]), classes=np.array([2, 0]))
"""Logit 17 is of class 2, and logit 4 of class 0; class 1 is not known."""


def test_zero_shot_takes_the_matched_logits_as_they_are() -> None:
    clips = clips_of([[9.0], [9.0]], np.zeros((2, 3)), [[5.0, -1.0], [7.0, -3.0]])
    zero_shot = zero_shot_of(clips, MATCHED)
    # Of the class that it does not know: the median of 5, 7, -1, -3.
    assert zero_shot.logits(clips).tolist() == [[-1, 2, 5], [-3, 2, 7]]


def test_where_no_label_matches_there_is_the_probe_alone() -> None:
    assert list(fit_probes(separable(), NO_MATCH).by_kind) == ["probe"]


def test_where_labels_match_there_are_all_kinds() -> None:
    clips = separable()
    clips = replace(clips, logits=(4 * clips.targets[:, [2, 0]] - 2).astype(np.float32))
    fitted = fit_probes(clips, MATCHED)
    assert list(fitted.by_kind) == ["zero-shot", "probe", "zero-shot and probe"]
    assert aucs(fitted.by_kind["zero-shot"], clips) == [1, 0.5, 1]
    assert aucs(fitted.by_kind["zero-shot and probe"], clips) == [1, 1, 1]


def test_the_joint_logit_of_a_class_that_the_teacher_does_not_know_is_the_probes() -> None:
    """All logits on one scale: of a known class both, over the root of two."""
    rng = np.random.default_rng(0)
    clips = clips_of(rng.normal(size=(40, 3)), np.zeros((40, 3)), rng.normal(size=(40, 2)))
    probe = Linear(np.eye(3, 5, dtype=np.float32), np.array([0.5, -1, 2], np.float32))
    unheard = probe.logits(clips)
    both, said = joined(probe, zero_shot_of(clips, MATCHED), clips, unheard, MATCHED)

    def on_one_scale(values: np.ndarray) -> np.ndarray:
        return np.asarray((values - values.mean()) / (values.std() + 1e-3))

    assert both.logits(clips) == pytest.approx(said, abs=1e-4)
    assert said[:, 1] == pytest.approx(on_one_scale(clips.embeddings[:, 1]), abs=1e-4)
    expected = on_one_scale(clips.embeddings[:, 0]) + on_one_scale(clips.logits[:, 1])
    assert said[:, 0] == pytest.approx(expected / np.sqrt(2), abs=1e-4)


# --- calibration


def test_probabilities_are_the_observed_shares() -> None:
    """Logits of -1 and 1, of which a fifth and four fifths are heard: log odds of 4, which the scale stretches to."""
    targets = np.repeat([1.0, 0.0, 1.0, 0.0], [20, 80, 80, 20])[:, None]
    logits = np.repeat([-1.0, 1.0], 100)[:, None].astype(np.float32)
    clips = clips_of(logits, targets)
    calibrated = Calibration(logits, clips).of(Linear(np.ones((1, 1), np.float32), np.zeros(1, np.float32)))
    assert calibrated.weight[0, 0] == pytest.approx(np.log(4), abs=0.01)
    shares = 1 / (1 + np.exp(-calibrated.logits(clips)))
    assert [float(shares[0, 0]), float(shares[-1, 0])] == pytest.approx([0.2, 0.8], abs=0.002)


def test_a_held_out_clips_probability_is_near_what_is_heard() -> None:
    """Features that tell little: a probe that is sure of itself would be wrong."""
    rng = np.random.default_rng(0)
    truth = rng.random((600, 1)) < 0.3
    embeddings = truth + rng.normal(size=(600, 8))
    clips = clips_of(embeddings[:300], np.concatenate([truth, ~truth], axis=1)[:300])
    probe = fit_probes(clips, NO_MATCH).by_kind["probe"]
    held_out = clips_of(embeddings[300:], np.concatenate([truth, ~truth], axis=1)[300:])
    said = 1 / (1 + np.exp(-probe.logits(held_out)[:, 0]))
    assert said.mean() == pytest.approx(held_out.targets[:, 0].mean(), abs=0.05)
    likely = said > np.median(said)
    for half in (likely, ~likely):
        assert said[half].mean() == pytest.approx(held_out.targets[half, 0].mean(), abs=0.1)


def test_classes_that_are_not_known_do_not_tell_the_scale() -> None:
    logits = np.repeat([-1.0, 1.0], 100)[:, None].astype(np.float32)
    told = np.repeat([1.0, 0.0, 1.0, 0.0], [20, 80, 80, 20])
    clips = clips_of(logits, np.stack([told, 1 - told], axis=1))
    both = np.concatenate([logits, logits], axis=1)
    linear = Linear(np.ones((2, 1), np.float32), np.zeros(2, np.float32))
    assert Calibration(both, clips, np.array([0])).of(linear).weight[0, 0] == pytest.approx(np.log(4), abs=0.01)
    hidden = replace(clips, mask=np.stack([np.ones(200, bool), np.zeros(200, bool)], axis=1))
    assert Calibration(both, hidden).of(linear).weight[0, 0] == pytest.approx(np.log(4), abs=0.01)


@pytest.mark.parametrize("targets", [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
def test_logits_that_tell_no_scale_stay_as_they_are(targets: list[float]) -> None:
    """The wrong way round, or without one of both kinds."""
    clips = clips_of([[-1.0], [1.0]], np.array(targets)[:, None])
    linear = Linear(np.ones((1, 1), np.float32), np.zeros(1, np.float32))
    assert Calibration(np.array([[-1.0], [1.0]], np.float32), clips).of(linear) is linear
