"""Whether the places that names of soundscapes tell (site, month, hour) are worth a prior; judged with sites held out.

A site's own labels say what calls there, but nothing of sites without labels: windows of a site are judged by a prior
that has not seen its labels. Of the site itself it then knows pseudo-labels alone, of models that have not heard the
labelled soundscapes of the site either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from sed_model.core.soundscape_names import keys_of
from sed_model.predict.name_priors import Heard, NamePrior, fit_shifts, shift_odds, shift_of
from sed_model.predict.post_tuning import LabelledWindows, Scored, Tuned, choose
from sed_model.predict.postprocess import PostSettings

KINDS = (("site",), ("hour",), ("month",), ("site", "hour"))
"""What is tried; of two the shifts are added, as if they were independent."""
WEIGHTS = (0.5, 1.0)


@dataclass(frozen=True)
class Evidence:
    """What is known of places.

    Attributes:
        labelled: the labelled soundscapes, in the order of their windows, and what is true of them.
        pseudo: what models that have not heard some soundscapes, named by their stems, heard in unlabelled ones;
            without names what all of them heard.
    """

    labelled: Heard
    pseudo: Callable[[frozenset[str]], Heard]


def tune_prior(
    scores: Float32[np.ndarray, "windows classes"],
    windows: LabelledWindows,
    evidence: Evidence,
    base: PostSettings,
    names: tuple[str, tuple[str, ...]],
) -> Tuned | None:
    """Whether a prior gains on the final scores of the `base` settings; None where names tell no two sites and places.

    Where names tell no site, each soundscape is held out by itself.

    Args:
        names: the pattern for names, and the classes.
    """
    pattern = re.compile(names[0])
    told = [keys_of(stem, pattern) for stem in evidence.labelled.stems]
    kinds = [one for one in KINDS if all(len({keys.get(kind) for keys in told}) > 1 for kind in one)]
    sites = [keys.get("site", f"file {number}") for number, keys in enumerate(told)]
    if not kinds or len(set(sites)) < 2:
        return None
    unit_of = np.unique(sites, return_inverse=True)[1].tolist()
    return choose(_scored(scores, windows, evidence, (base, kinds, unit_of), names), windows, unit_of)


def _scored(
    scores: NDArray[np.float32],
    windows: LabelledWindows,
    evidence: Evidence,
    tried: tuple[PostSettings, Sequence[tuple[str, ...]], Sequence[int]],
    names: tuple[str, tuple[str, ...]],
) -> Iterator[Scored]:
    """The settings as they are, then with each prior, fitted to everything; scored by priors without the own site."""
    base, all_kinds, unit_of = tried
    pattern, stems = re.compile(names[0]), evidence.labelled.stems
    pieces = np.split(scores, np.cumsum(windows.n_windows)[:-1])
    yield base, scores
    for kinds in all_kinds:
        held_out = _shifts_without_own_site(evidence, unit_of, pattern, kinds)
        everything = fit_shifts(evidence.labelled.with_others(evidence.pseudo(frozenset())), pattern, kinds)
        shifts = {place: tuple(np.round(shift, 4).tolist()) for place, shift in everything.items()}
        for weight in WEIGHTS:
            prior = NamePrior(pattern=names[0], weight=weight, classes=names[1], shifts=shifts)
            by_file = [
                shift_odds(piece, weight * np.asarray(shift_of(stem, pattern, held_out[unit])))
                for piece, stem, unit in zip(pieces, stems, unit_of, strict=True)
            ]
            yield base.model_copy(update={"prior": prior}), np.concatenate(by_file)


def _shifts_without_own_site(
    evidence: Evidence, unit_of: Sequence[int], pattern: re.Pattern[str], kinds: Sequence[str]
) -> dict[int, dict[str, NDArray[np.float64]]]:
    """For each site the shifts by what is known without its labels, and without models that have heard them."""
    shifts = {}
    for unit in sorted(set(unit_of)):
        own = frozenset(stem for stem, of in zip(evidence.labelled.stems, unit_of, strict=True) if of == unit)
        heard = evidence.labelled.without(own).with_others(evidence.pseudo(own))
        shifts[unit] = fit_shifts(heard, pattern, kinds)
    return shifts
