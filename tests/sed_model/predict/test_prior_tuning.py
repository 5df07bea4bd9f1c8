"""Priors of places are taken where classes are bound to places, and left off where they are not."""

from __future__ import annotations

import numpy as np

from sed_model.core.soundscape_names import SITE
from sed_model.predict.name_priors import Heard, apply_prior
from sed_model.predict.post_tuning import LabelledWindows, Tuned
from sed_model.predict.postprocess import PostSettings
from sed_model.predict.prior_tuning import Evidence, tune_prior
from sed_model.run_folder.metrics import macro_auc

N_SITES, N_FILES, N_WINDOWS, N_CLASSES = 8, 3, 6, 6
CLASSES = tuple("abcdef")
NAMES = (SITE.pattern, CLASSES)
BASE = PostSettings(smoothing_centre=0.8)
NOBODY = Heard((), np.zeros((0, N_CLASSES)))


def stems_of(hours: list[int], n_files: int = N_FILES) -> tuple[str, ...]:
    files = range(N_SITES * n_files)
    return tuple(f"S{number // n_files:02d}_20250606_{hours[number % len(hours)]:02d}0000" for number in files)


def noisy(present: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, LabelledWindows]:
    """Scores that hardly tell of windows in which the classes of a soundscape call now and then."""
    targets = (
        np.repeat(present, N_WINDOWS, axis=0) * (rng.random((len(present) * N_WINDOWS, N_CLASSES)) < 0.6)
    ).astype(np.float32)
    scores = np.clip(0.4 + 0.1 * targets + rng.normal(0, 0.15, targets.shape), 0, 1).astype(np.float32)
    return scores, LabelledWindows((N_WINDOWS,) * len(present), targets, np.ones(len(targets), bool))


def of_sites(rng: np.random.Generator) -> np.ndarray:
    """Two classes a site; which ones says nothing of other sites."""
    return np.stack([rng.permutation([1, 1, 0, 0, 0, 0]) for _ in range(N_SITES)]).astype(float)


def tuned(present: np.ndarray, stems: tuple[str, ...], pseudo: Heard, seed: int = 0) -> tuple[Tuned, float]:
    """What tuning finds, and the macro AUC with a prior that has seen all labels, those of the own site as well."""
    rng = np.random.default_rng(seed)
    scores, windows = noisy(present, rng)
    heard = Heard(stems, present)
    found = tune_prior(scores, windows, Evidence(heard, lambda own: pseudo), BASE, NAMES)
    assert found is not None
    leaking = Evidence(heard, lambda own: heard)
    seen = tune_prior(scores, windows, leaking, BASE, NAMES)
    assert seen is not None
    return found, seen.tuned - seen.plain


def test_pseudo_labels_of_a_site_help_where_classes_are_bound_to_sites() -> None:
    rng = np.random.default_rng(0)
    bound = of_sites(rng)
    present, stems = np.repeat(bound, N_FILES, axis=0), stems_of([5])
    # Eight unlabelled soundscapes a site, whose pseudo-labels are right in four of five.
    truth = np.repeat(bound, 8, axis=0)
    told = np.where(rng.random(truth.shape) < 0.8, truth, 1 - truth) * 0.9
    found, _ = tuned(present, stems, Heard(stems_of([5], 8), told))
    assert found.why_plain == ""
    assert found.gain > 0.05
    assert found.gain > 1.645 * found.error > 0
    assert found.settings.prior is not None
    assert set(found.settings.prior.shifts) == {f"site=S{site:02d}" for site in range(N_SITES)}
    assert found.settings.smoothing_centre == BASE.smoothing_centre


def test_the_labels_of_a_site_do_not_judge_themselves() -> None:
    """With them the gain is large; of a site without labels others say nothing, and there are no pseudo-labels."""
    present = np.repeat(of_sites(np.random.default_rng(1)), N_FILES, axis=0)
    found, with_own_labels = tuned(present, stems_of([5]), NOBODY)
    assert with_own_labels > 0.1
    assert found.gain <= 0.01
    assert found.why_plain
    assert found.settings == BASE


def test_a_prior_is_left_off_where_classes_are_everywhere() -> None:
    rng = np.random.default_rng(2)
    present = (rng.random((N_SITES * N_FILES, N_CLASSES)) < 1 / 3).astype(float)
    told = (rng.random((N_SITES * 8, N_CLASSES)) < 1 / 3) * 0.9
    found, _ = tuned(present, stems_of([5, 12, 20]), Heard(stems_of([5, 12, 20], 8), told))
    assert found.why_plain
    assert found.settings == BASE


def test_labels_of_other_sites_tell_which_hours_a_class_calls_in() -> None:
    hours, of_hour = [5, 12, 20], np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]], float)
    stems = stems_of(hours)
    found, _ = tuned(np.tile(of_hour, (N_SITES, 1)), stems, NOBODY)
    assert found.why_plain == ""
    assert found.settings.prior is not None
    assert {"hour=05", "hour=12", "hour=20"} <= set(found.settings.prior.shifts)
    scores, windows = noisy(np.tile(of_hour, (N_SITES, 1)), np.random.default_rng(9))
    elsewhere = [stem.replace("S", "T") for stem in stems]  # sites that nobody has heard of
    with_prior = apply_prior(scores, elsewhere, windows.n_windows, found.settings.prior)
    assert macro_auc(windows.targets, with_prior) > macro_auc(windows.targets, scores) + 0.05


def test_names_without_two_sites_or_places_are_not_tried() -> None:
    scores, windows = noisy(np.ones((3, N_CLASSES)), np.random.default_rng(0))
    one_site = tuple(f"S1_20250606_0{hour}0000" for hour in range(3))
    for stems in (("a", "b", "c"), ("S1_20250606_050000",) * 3, one_site):
        evidence = Evidence(Heard(stems, np.ones((3, N_CLASSES))), lambda own: NOBODY)
        assert tune_prior(scores, windows, evidence, BASE, NAMES) is None


def test_without_sites_each_soundscape_is_held_out_by_itself() -> None:
    of_hour = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1]], float)
    stems = tuple(f"x_{5 + 7 * (number % 2):02d}0000_{number}" for number in range(24))
    scores, windows = noisy(np.tile(of_hour, (12, 1)), np.random.default_rng(0))
    evidence = Evidence(Heard(stems, np.tile(of_hour, (12, 1))), lambda own: NOBODY)
    found = tune_prior(scores, windows, evidence, BASE, (r"^x_(?P<time>\d{6})", CLASSES))
    assert found is not None
    assert found.why_plain == ""
    assert found.settings.prior is not None
    assert sorted(found.settings.prior.shifts) == ["hour=05", "hour=12"]


def test_three_sites_prove_nothing() -> None:
    rng = np.random.default_rng(0)
    present = np.repeat(of_sites(rng)[:3], 4, axis=0)
    stems = tuple(f"S{number // 4}_20250606_050000" for number in range(12))
    scores, windows = noisy(present, rng)
    pseudo = Heard(stems, present)
    found = tune_prior(scores, windows, Evidence(Heard(stems, present), lambda own: pseudo), BASE, NAMES)
    assert found is not None
    assert found.why_plain.startswith("3 sites cannot prove a gain")
