"""Priors of places: what counts say by hand, and how they change scores."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from sed_model.core.errors import ConfigError
from sed_model.core.soundscape_names import SITE
from sed_model.predict.name_priors import Heard, NamePrior, apply_prior, fit_shifts, shift_odds, shift_of
from sed_model.predict.postprocess import PostSettings, change_post, check_classes, read_post, write_post

CLASSES = ("a", "b")
SHIFTS = {"site=S1": (1.0, 0.0), "hour=07": (0.5, -1.0)}
PRIOR = NamePrior(weight=2.0, classes=CLASSES, shifts=SHIFTS)


def heard(n_sites: int, n_files: int, present: list[list[float]]) -> Heard:
    stems = [f"S{site}_20250101_{file:02d}0000" for site in range(n_sites) for file in range(n_files)]
    return Heard(tuple(stems), np.array(present, float))


def test_odds_are_multiplied_and_certainty_stays() -> None:
    # Odds 1/4 and 1/1 times e^ln(2): 1/2 and 2.
    rows = np.array([[0.2, 0.5], [0.0, 1.0]], np.float32)
    np.testing.assert_allclose(shift_odds(rows, np.log(2)), [[1 / 3, 2 / 3], [0, 1]], rtol=1e-6)


def test_a_soundscape_gets_the_shifts_of_all_its_places() -> None:
    shift = shift_of("S1_20250101_070000", SITE, SHIFTS)
    np.testing.assert_allclose(shift, [1.5, -1.0])
    np.testing.assert_allclose(shift_of("S1_20250101_080000", SITE, SHIFTS), [1.0, 0.0])
    assert shift_of("S9_20250101_080000", SITE, SHIFTS) == 0.0


def test_the_prior_is_applied_file_by_file_with_its_weight() -> None:
    rows = np.full((3, 2), 0.5, np.float32)
    changed = apply_prior(rows, ["S1_20250101_080000", "elsewhere"], [2, 1], PRIOR)
    raised = 1 / (1 + np.exp(-2.0))  # odds of 1 times e^(2 * 1)
    np.testing.assert_allclose(changed, [[raised, 0.5], [raised, 0.5], [0.5, 0.5]], rtol=1e-6)


def test_a_class_of_one_site_is_likelier_there_the_more_soundscapes_say_so() -> None:
    few = fit_shifts(heard(2, 2, [[1, 1]] * 2 + [[0, 1]] * 2), SITE, ["site"])
    many = fit_shifts(heard(2, 20, [[1, 1]] * 20 + [[0, 1]] * 20), SITE, ["site"])
    assert sorted(few) == ["site=S0", "site=S1"]
    assert 0 < few["site=S0"][0] < many["site=S0"][0]
    assert few["site=S0"][0] == pytest.approx(-few["site=S1"][0])
    assert many["site=S0"][1] == pytest.approx(0)  # is heard everywhere


def test_counts_are_shrunk_as_the_likeliest_strength_says() -> None:
    """Two files each, heard in all and in none; with half a file more of each the rates are 2.25 and 0.25 of 2.5.

    The likeliest strength is the smallest, 0.5, around the rate 0.5: (2.25 + 0.25) / (2.5 + 0.5) = 5 / 6.
    """
    stems = ("S0_20250101_000000",) * 2 + ("S1_20250101_000000",) * 2
    shifts = fit_shifts(Heard(stems, np.array([[1.0]] * 2 + [[0.0]] * 2)), SITE, ["site"])
    assert shifts["site=S0"][0] == pytest.approx(np.log(5))
    assert shifts["site=S1"][0] == pytest.approx(-np.log(5))


def test_sites_that_do_not_differ_say_next_to_nothing() -> None:
    rng = np.random.default_rng(0)
    present = (rng.random((60, 4)) < 0.4).astype(float)
    shifts = fit_shifts(heard(6, 10, present.tolist()), SITE, ["site"])
    assert max(np.abs(one).max() for one in shifts.values()) < 0.25


def test_names_that_tell_nothing_have_no_shifts() -> None:
    assert fit_shifts(Heard(("x", "y"), np.ones((2, 1))), SITE, ["site", "hour", "month"]) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pattern": "("}, "no regular expression"),
        ({"pattern": "(S1)"}, r"has the groups \(none\)"),
        ({"pattern": "(?P<place>S1)"}, "has the groups place; name some of site, date, time"),
        ({"shifts": {"site=S1": [1.0]}}, "site=S1 has other than 2 shifts"),
        ({"weight": 0.0}, "greater than 0"),
        ({"by": "site"}, "Extra"),
    ],
)
def test_a_prior_that_cannot_be_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "post.json"
    path.write_text(json.dumps({"prior": PRIOR.model_dump(mode="json") | changes}))
    with pytest.raises(ConfigError, match=message):
        read_post(path)


def test_a_prior_comes_back_from_its_file(tmp_path: Path) -> None:
    settings = PostSettings(smoothing_centre=0.8, prior=PRIOR)
    write_post(tmp_path / "post.json", settings)
    assert read_post(tmp_path / "post.json") == settings
    assert change_post(settings, {"top_n": 2}).prior == PRIOR
    assert re.compile(PRIOR.pattern).groupindex


def test_a_prior_of_other_classes_is_refused() -> None:
    check_classes(PostSettings(prior=PRIOR), CLASSES)
    with pytest.raises(ConfigError, match="prior is for other classes, or another order; tune it anew"):
        check_classes(PostSettings(prior=PRIOR), ("b", "a"))
