"""Tuning finds what helps, and its gain is that on soundscapes that had no part in the choice."""

from __future__ import annotations

import numpy as np
import pytest

from sed_model.core.errors import DataError
from sed_model.predict.post_tuning import (
    LabelledWindows,
    choose,
    gains_of,
    grid,
    held_out_parts,
    paired_error,
    tune,
    why_plain,
)
from sed_model.predict.postprocess import PostSettings

N_FILES, N_WINDOWS, N_CLASSES = 8, 6, 3


def labelled(targets: np.ndarray) -> LabelledWindows:
    return LabelledWindows((N_WINDOWS,) * N_FILES, targets, np.ones(len(targets), bool))


def call_in_some_files(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Classes that call in every window of some soundscapes; scores so noisy that only the whole soundscape tells."""
    present = np.array([[file % N_CLASSES == name for name in range(N_CLASSES)] for file in range(N_FILES)])
    targets = np.repeat(present, N_WINDOWS, axis=0).astype(np.float32)
    scores = np.clip(0.4 + 0.15 * targets + rng.normal(0, 0.2, targets.shape), 0, 1)
    return targets, scores.astype(np.float32)


def test_what_helps_everywhere_is_found() -> None:
    targets, scores = call_in_some_files(np.random.default_rng(0))
    options = [PostSettings(), PostSettings(top_n=6, file_power=4.0)]
    tuned = tune(lambda settings: scores, labelled(targets), options)
    assert tuned.settings == options[1]
    assert tuned.tuned > tuned.plain
    assert tuned.gain > 0.02
    assert tuned.gain > 1.645 * tuned.error > 0
    assert tuned.why_plain == ""
    assert tuned.n_tried == 2


def test_what_helps_only_where_it_was_chosen_is_not_taken() -> None:
    """Many settings of pure noise: the best of them scores well on what chose it, and no better elsewhere."""
    rng = np.random.default_rng(1)
    targets = (rng.random((N_FILES * N_WINDOWS, N_CLASSES)) < 0.3).astype(np.float32)
    good = np.clip(0.3 * targets + rng.random(targets.shape) * 0.6, 0, 1).astype(np.float32)
    options = [PostSettings(), *(PostSettings(tta_weight=share) for share in np.linspace(0.1, 0.9, 9))]
    noise = {one: rng.random(targets.shape).astype(np.float32) for one in options}
    noise[options[0]] = good
    tuned = tune(lambda settings: noise[settings], labelled(targets), options)
    assert tuned.settings == options[0]
    assert tuned.tuned == tuned.plain
    assert tuned.gain <= 0


def test_an_error_is_that_of_the_jackknife() -> None:
    """Three soundscapes of two windows, one with a call in each; the plain scores are all equal: 0.5."""
    targets = np.array([[1], [0]] * 3, np.float32)
    better = np.array([[0.9], [0.2], [0.8], [0.3], [0.1], [0.4]], np.float32)
    windows = LabelledWindows((2, 2, 2), targets, np.ones(6, bool))
    error = paired_error(windows, np.repeat([0, 1, 2], 2), np.full((6, 1), 0.5, np.float32), better)
    # Without the first: .8 and .1 against .3 and .4, 2 of 4 pairs; without the second: .9, .1 against .2, .4, 2 of 4;
    # without the third: .9, .8 against .2, .3, all. Gains 0, 0, 0.5: sqrt(2 / 3 * (2 * (1 / 6)^2 + (1 / 3)^2)) = 1 / 3.
    assert error == pytest.approx(1 / 3)
    lone = LabelledWindows((2, 2, 2), targets * np.float32([[1], [1], [0], [0], [0], [0]]), np.ones(6, bool))
    assert paired_error(lone, np.repeat([0, 1, 2], 2), better, better) == float("inf")


def test_a_gain_within_its_error_is_not_applied() -> None:
    """Calls gain in some soundscapes and lose in others: 0.025 on held-out ones, with an error of 0.12."""
    rng = np.random.default_rng(17)
    targets, scores = call_in_some_files(rng)
    by_file = np.repeat(rng.normal(0.03, 0.15, N_FILES), N_WINDOWS)[:, None]
    other = (scores + targets * by_file).clip(0, 1).astype(np.float32)
    options = [PostSettings(), PostSettings(tta_weight=0.5)]
    tuned = tune(lambda settings: other if settings.tta_weight else scores, labelled(targets), options)
    assert 0 < tuned.gain <= tuned.error
    assert tuned.settings == options[0]
    assert tuned.tuned == tuned.plain


def test_two_soundscapes_prove_no_gain() -> None:
    """However large it is and however small its error: of two files neither is known."""
    targets = np.tile(np.array([[1, 0], [0, 1]], np.float32), (4, 1))
    plain = np.tile(np.array([[0.4, 0.5], [0.5, 0.4]], np.float32), (4, 1))
    options = [PostSettings(), PostSettings(tta_weight=0.5)]
    windows = LabelledWindows((4, 4), targets, np.ones(8, bool))
    tuned = tune(lambda settings: targets if settings.tta_weight else plain, windows, options)
    assert (tuned.gain, tuned.error) == (1.0, 0.0)
    assert tuned.settings == options[0]
    assert tuned.why_plain == "2 labelled soundscapes cannot prove a gain, so the plain settings stay; label 8 or more"


def test_soundscapes_without_a_labelled_window_prove_nothing() -> None:
    targets, scores = call_in_some_files(np.random.default_rng(0))
    options = [PostSettings(), PostSettings(top_n=6, file_power=4.0)]
    labelled_alone = np.repeat(np.arange(N_FILES) < 7, N_WINDOWS)
    tuned = tune(lambda settings: scores, LabelledWindows((N_WINDOWS,) * N_FILES, targets, labelled_alone), options)
    assert tuned.gain > 0
    assert tuned.why_plain.startswith("7 labelled soundscapes cannot prove a gain")


@pytest.mark.parametrize(
    ("n_files", "gain", "error", "why"),
    [
        (8, 0.0165, 0.01, ""),
        (8, 0.0164, 0.01, "the gain is no larger than 1.645 times its error"),
        (7, 0.5, 0.01, "7 labelled soundscapes cannot prove a gain"),
        (80, 0.0, 0.01, "choosing gains nothing on other soundscapes"),
        (80, 0.02, float("inf"), "the gain is no larger"),
    ],
)
def test_a_gain_is_proven_by_enough_soundscapes_and_about_two_errors(
    n_files: int, gain: float, error: float, why: str
) -> None:
    found = why_plain(n_files, gain, error)
    assert found.startswith(why)
    assert bool(found) == bool(why)


def test_windows_without_a_label_do_not_count() -> None:
    targets, scores = call_in_some_files(np.random.default_rng(0))
    known = np.tile([True] * 5 + [False], N_FILES)
    windows = LabelledWindows((N_WINDOWS,) * N_FILES, targets, known)
    wrong = np.where(known[:, None], targets, 1 - targets)
    options = [PostSettings()]
    spoiled = LabelledWindows(windows.n_windows, wrong, known)
    assert tune(lambda settings: scores, windows, options) == tune(lambda settings: scores, spoiled, options)


def test_parts_are_all_soundscapes_in_each_draw() -> None:
    parts = held_out_parts(10, seed=0)
    assert [len(part) for part in parts] == [3, 3, 2, 2] * 3
    for draw in range(3):
        assert sorted(np.concatenate(parts[4 * draw : 4 * draw + 4])) == list(range(10))
    assert len(held_out_parts(2, seed=0)) == 6


def test_a_held_out_part_has_two_sites_or_more_to_tell_apart() -> None:
    assert [len(part) for part in held_out_parts(7, seed=0, least=2)] == [3, 2, 2] * 3
    assert [len(part) for part in held_out_parts(4, seed=0, least=2)] == [2, 2] * 3


def test_files_of_a_site_are_held_out_and_left_out_together() -> None:
    """Six soundscapes of three sites: the jackknife leaves out a site, so its error is that of three."""
    targets, scores = call_in_some_files(np.random.default_rng(0))
    windows, better = labelled(targets), scores + 0.2 * targets
    plain, sites = PostSettings(), [0, 0, 1, 1, 2, 2, 3, 3]
    tuned = choose([(plain, scores), (PostSettings(top_n=2), better)], windows, sites)
    of_window = np.repeat(sites, N_WINDOWS)
    assert tuned.error == paired_error(windows, of_window, scores, better)
    assert tuned.n_parts == 6
    assert tuned.why_plain == ""


def test_a_gain_is_that_of_the_held_out_part() -> None:
    # In part 0 the second setting is chosen (+0.1), in part 1 the first (0); part 2 has no class to score.
    chosen_by = np.array([[0.5, 0.9, 0.5], [0.6, 0.8, 0.6]])
    held_out = np.array([[0.7, 0.6, np.nan], [0.8, 0.9, 0.5]])
    np.testing.assert_allclose(gains_of(chosen_by, held_out), [0.1, 0.0], atol=1e-12)


def test_the_plain_settings_are_tried_first_and_none_twice() -> None:
    settings = list(grid(10, with_tta=True))
    assert settings[0] == PostSettings()
    assert len(set(settings)) == len(settings) == 378
    assert {one.tta_weight for one in grid(10, with_tta=False)} == {0.0}


def test_too_few_labels_are_refused() -> None:
    scores = np.full((6, 2), 0.5, np.float32)
    one_file = LabelledWindows((6,), scores, np.ones(6, bool))
    with pytest.raises(DataError, match="1 labelled soundscape:"):
        tune(lambda settings: scores, one_file, [PostSettings()])
    silent = LabelledWindows((3, 3), np.zeros((6, 2), np.float32), np.ones(6, bool))
    with pytest.raises(DataError, match="a positive and a negative"):
        tune(lambda settings: scores, silent, [PostSettings()])
