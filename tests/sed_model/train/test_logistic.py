"""Logistic regression of many classes: the best weights, whatever way leads to them."""

from __future__ import annotations

import numpy as np
import pytest

from sed_model.train.logistic import fit_path, principal_axes


def gradient(
    features: np.ndarray, targets: np.ndarray, mask: np.ndarray, weight: np.ndarray, bias: np.ndarray, strength: float
) -> np.ndarray:
    """Of the loss: 0 where it is least, which is one place."""
    wrong = (1 / (1 + np.exp(-(features @ weight.T + bias))) - targets) * mask / len(features)
    return np.concatenate([(wrong.T @ features + strength * weight).ravel(), wrong.sum(axis=0)])


def correlated(n_clips: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Features whose variances differ a hundredfold along axes that are none of theirs, and three classes."""
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    features = rng.normal(size=(n_clips, dim)) * np.geomspace(3, 0.3, dim) @ turn
    classes = (features[:, :3] + rng.normal(size=(n_clips, 3))).argmax(axis=1)
    return features.astype(np.float32), np.eye(3, dtype=np.float32)[classes]


@pytest.mark.parametrize(("n_clips", "dim"), [(120, 8), (20, 40)])
def test_the_weights_are_the_best_for_each_strength(n_clips: int, dim: int) -> None:
    features, targets = correlated(n_clips, dim)
    mask = np.random.default_rng(1).random(targets.shape) < 0.8
    strengths = (10.0, 0.3, 0.01)
    for strength, (weight, bias) in zip(strengths, fit_path(features, targets, mask, strengths), strict=True):
        assert np.abs(gradient(features, targets, mask, weight, bias, strength)).max() < 3e-4


def test_a_single_feature_has_the_weight_that_is_worked_out_by_hand() -> None:
    """Half of the clips at 1 and -1, three quarters of them as their sign says: log(3) without regularisation."""
    features = np.repeat([1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0], 5)[:, None].astype(np.float32)
    targets = np.repeat([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0], 5)[:, None].astype(np.float32)
    ((weight, bias),) = fit_path(features, targets, np.ones(targets.shape, bool), (1e-6,))
    assert weight[0, 0] == pytest.approx(np.log(3), abs=1e-3)
    assert bias[0] == pytest.approx(0, abs=1e-3)


def test_clips_that_do_not_count_change_nothing() -> None:
    features, targets = correlated(60, 5)
    mask = np.ones(targets.shape, bool)
    mask[:20, 1] = False
    flipped = np.where(mask, targets, 1 - targets)
    ((weight, bias),) = fit_path(features, targets, mask, (0.1,))
    ((other, other_bias),) = fit_path(features, flipped.astype(np.float32), mask, (0.1,))
    assert np.array_equal(weight, other)
    assert np.array_equal(bias, other_bias)


def test_features_that_never_vary_have_no_axis() -> None:
    features = np.array([[2, 0, 0], [-2, 0, 0], [0, 0, 1], [0, 0, -1]], np.float32)
    axes, variances = principal_axes(features)
    assert variances.tolist() == pytest.approx([0.5, 2])  # sums of squares 2 and 8, over four clips
    assert np.abs(axes).tolist() == [[0, 1], [0, 0], [1, 0]]


def test_there_are_no_more_axes_than_clips() -> None:
    axes, variances = principal_axes(np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32))
    assert axes.shape == (10, 3)
    assert len(variances) == 3
    assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-5)
