import numpy as np
import pytest

from sed_model.scores.leads import files_to_prove, lead_over, provable_lead, resampled_scores


def test_a_lead_is_shrunk_by_its_error_and_by_how_much_configurations_differ() -> None:
    """By hand: differences -.02 and .06, so mean .02 and error .04: .02 * .02^2 / (.02^2 + .04^2) = .004."""
    lead = lead_over(0.02, np.array([0.68, 0.76]), np.array([0.70, 0.70]))

    assert lead.se == pytest.approx(0.04)
    assert lead.shrunken == pytest.approx(0.004)
    assert lead.p_better == 0.5


def test_equal_scores_are_better_in_half_of_the_draws_and_undefined_ones_do_not_count() -> None:
    lead = lead_over(0.0, np.array([0.7, np.nan, 0.8]), np.array([0.7, 0.7, 0.8]))
    assert (lead.p_better, lead.se) == (0.5, 0.0)


def test_all_models_are_scored_on_the_same_draws_of_the_files() -> None:
    """A model has no lead over itself in any draw, and one that orders all windows rightly has 1 in all of them."""
    rng = np.random.default_rng(0)
    targets = np.tile([[1.0, 0.0], [0.0, 1.0]], (20, 1))
    right, noise = targets, rng.random(targets.shape)
    scores = resampled_scores(targets, [right, noise, noise], [f"{row // 4}.ogg" for row in range(40)])

    np.testing.assert_array_equal(scores[1], scores[2])
    assert (scores[0] == 1).all()
    assert 0.3 < scores[1].mean() < 0.7
    assert scores[1].std() > 0.02


def test_what_files_can_prove() -> None:
    """By hand: 1.645 * .075 / sqrt(16) = .0308, and (1.645 * .075 / .02)^2 = 38.05."""
    assert provable_lead(16) == pytest.approx(0.0308, abs=1e-4)
    assert files_to_prove(0.02) == 39
