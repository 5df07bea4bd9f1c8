"""Which post-processing is best on labelled soundscapes, and what it gains on soundscapes that it was not tuned on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from sed_model.core.errors import DataError
from sed_model.core.texts import counted
from sed_model.predict.postprocess import PostSettings, postprocess_files
from sed_model.run_folder.metrics import auc_per_class
from sed_model.scores.leads import ONE_SIDED

N_FOLDS = 4
N_REPEATS = 3
LEAST_FILES = 8
"""With fewer labelled soundscapes neither a gain nor its error is known."""
LEAST_SITES = 4
"""Where sites are held out, so many of them: two parts of two. A part of one cannot tell sites apart."""
FRAME_WEIGHTS = (None, 0.0, 1.0)
TTA_WEIGHTS = (0.0, 0.5, 2 / 3)
"""With 2/3 a score is the plain mean of three windows half a target apart: windows that slide by that step."""
CENTRES = (1.0, 0.8, 0.6)
FILE_SCALES = ((1, 0.0), (1, 0.5), (1, 1.0), (2, 0.5), (2, 1.0), (3, 0.5), (3, 1.0))
"""top_n and file_power. With 2 files are scaled by the mean of their two best windows (reports of BirdCLEF+ 2026)."""
LOW_POWERS = (1.0, 2.0)


@dataclass(frozen=True)
class LabelledWindows:
    """All windows of labelled soundscapes, one soundscape after the other, and which of them are labelled.

    Attributes:
        n_windows: of each soundscape.
        labelled: windows that have a row in the table of labels; the others only help their neighbours.
    """

    n_windows: tuple[int, ...]
    targets: Float[np.ndarray, "windows classes"]
    labelled: Bool[np.ndarray, " windows"]


@dataclass(frozen=True)
class Tuned:
    """The settings that are best on all soundscapes, or the plain ones where that is not proven.

    Attributes:
        plain, tuned: macro AUC of all soundscapes with the plain settings, and with the best (which is too good: they
            were chosen by it).
        gain, gain_sd: what choosing gains on soundscapes that had no part in it: mean and standard deviation over
            `n_parts` held-out parts.
        error: standard error of the gain, paired by soundscape (`paired_error`).
        n_tried: settings compared.
        why_plain: why the plain settings stay, though others are better on all soundscapes or might be; or nothing.
        further: what was tried after that, with these settings, by name: groups of classes, and priors of places.
    """

    settings: PostSettings
    plain: float
    tuned: float
    gain: float
    gain_sd: float
    error: float
    n_parts: int
    n_tried: int
    why_plain: str
    further: Mapping[str, Tuned] = field(default_factory=dict)

    @property
    def proven(self) -> dict[str, Tuned]:
        """What gains, by name: the settings themselves, and what was tried after them."""
        return {name: one for name, one in {"settings": self, **self.further}.items() if not one.why_plain}


Scored = tuple[PostSettings, NDArray[np.float32]]
"""Settings and the final scores of all windows with them."""
Join = Callable[[PostSettings], Float[np.ndarray, "windows classes"]]
"""The members' joined probabilities with the shares of settings, before post-processing."""


def grid(n_classes: int, with_tta: bool) -> Iterator[PostSettings]:
    """All settings to try; the plain ones first, so that at equal scores the simpler stays."""
    kept = max(1, n_classes // 5)
    for frames, tta, centre, (top_n, power), low in itertools.product(
        FRAME_WEIGHTS, TTA_WEIGHTS if with_tta else TTA_WEIGHTS[:1], CENTRES, FILE_SCALES, LOW_POWERS
    ):
        yield PostSettings(
            tta_weight=tta,
            frame_weight=frames,
            smoothing_centre=centre,
            top_n=top_n,
            file_power=power,
            low_rank_kept=kept if low > 1 else 0,
            low_rank_power=low,
        )


def tune(join: Join, windows: LabelledWindows, settings: Sequence[PostSettings], seed: int = 0) -> Tuned:
    """Compare settings, the first of which are the plain ones, by macro AUC; cross-validated by soundscape (`choose`).

    Raises:
        DataError: see `choose`.
    """
    return choose(post_processed(join, windows.n_windows, settings), windows, seed=seed)


def post_processed(
    join: Join, n_windows: Sequence[int], settings: Iterable[PostSettings], classes: Sequence[str] = ()
) -> Iterator[Scored]:
    """Settings with what they make of the joined scores, which are joined once for those that share them."""
    joined: dict[tuple[object, ...], NDArray[np.float32]] = {}
    for one in settings:
        key = (one.tta_weight, one.frame_weight, one.groups)
        if key not in joined:
            joined = {key: join(one)}
        yield one, postprocess_files(joined[key], n_windows, one, classes)


def choose(
    scored: Iterable[Scored], windows: LabelledWindows, unit_of: Sequence[int] | None = None, seed: int = 0
) -> Tuned:
    """Which settings are best, where it is proven that they gain; the first are the plain ones.

    In each of N_REPEATS draws the soundscapes are dealt out into N_FOLDS parts. What is best on the other parts is
    applied to one, and its macro AUC there compared with that of the plain settings. A gain has to be
    proven (`why_plain`).

    Args:
        unit_of: a number from 0 for each soundscape: those of one number, of a site, say, are held out together. None:
            each by itself.

    Raises:
        DataError: fewer than two soundscapes, or labels without a class that has a positive and a negative.
    """
    n_files = len(windows.n_windows)
    units = np.arange(n_files) if unit_of is None else np.asarray(unit_of)
    if len(np.unique(units)) < 2:
        raise DataError(
            f"{counted(n_files, 'labelled soundscape')}: tuning that is validated needs 2 or more; label some."
        )
    of_window = np.repeat(units, windows.n_windows)
    parts = held_out_parts(int(units.max()) + 1, seed, least=1 if unit_of is None else 2)
    tried = _compared(scored, windows, [np.isin(of_window, part) for part in parts])
    overall = tried.overall
    if np.isnan(overall[0]):
        raise DataError(
            "no class of the labelled soundscapes has a positive and a negative window; label more of them."
        )
    gains = gains_of(tried.chosen_by, tried.held_out)
    gain = float(gains.mean()) if len(gains) else 0.0
    error = paired_error(windows, of_window, tried.plain, tried.best)
    labelled_files = np.unique(np.repeat(np.arange(n_files), windows.n_windows)[windows.labelled])
    n_held_out = LEAST_SITES if unit_of is None else len(np.unique(units[labelled_files]))
    why = why_plain(len(labelled_files), gain, error, n_held_out)
    best = 0 if why else int(np.argmax(overall))
    spread = float(gains.std(ddof=1)) if len(gains) > 1 else 0.0
    n_parts, n_tried = len(gains), len(tried.settings)
    return Tuned(tried.settings[best], overall[0], overall[best], gain, spread, error, n_parts, n_tried, why)


@dataclass(frozen=True)
class _Compared:
    """Macro AUC of settings: on all soundscapes, on those outside each held-out part, and on the part itself.

    `plain` and `best` are the scores of the first settings and of the best.
    """

    settings: tuple[PostSettings, ...]
    overall: tuple[float, ...]
    chosen_by: Float[np.ndarray, "settings parts"]
    held_out: Float[np.ndarray, "settings parts"]
    plain: Float[np.ndarray, "windows classes"]
    best: Float[np.ndarray, "windows classes"]


def _compared(scored: Iterable[Scored], windows: LabelledWindows, masks: Sequence[NDArray[np.bool_]]) -> _Compared:
    settings, overall, chosen_by, held_out = list[PostSettings](), list[float](), [], []
    everything, kept = windows.labelled, dict[str, NDArray[np.float32]]()
    for one, scores in scored:
        overall.append(_macro(windows.targets, scores, everything))
        if not settings or overall[-1] > max(overall[:-1]):
            kept["best"] = scores
        kept.setdefault("plain", scores)
        settings.append(one)
        chosen_by.append([_macro(windows.targets, scores, everything & ~mask) for mask in masks])
        held_out.append([_macro(windows.targets, scores, everything & mask) for mask in masks])
    arrays = np.array(chosen_by), np.array(held_out)
    return _Compared(tuple(settings), tuple(overall), *arrays, kept["plain"], kept["best"])


def why_plain(n_files: int, gain: float, error: float, n_units: int = LEAST_SITES) -> str:
    """What keeps a gain on `n_files` labelled soundscapes from being proven, one-sided with 95 %; or nothing.

    `n_units` is how many were held out by turns: sites, where all of a site are held out together.
    """
    if n_units < LEAST_SITES:
        return (
            f"{counted(n_units, 'site')} cannot prove a gain, so the plain settings stay; label soundscapes of "
            f"{LEAST_SITES} or more"
        )
    if gain <= 0:
        return "choosing gains nothing on other soundscapes, so the plain settings stay"
    if n_files < LEAST_FILES:
        return (
            f"{counted(n_files, 'labelled soundscape')} cannot prove a gain, so the plain settings stay; label "
            f"{LEAST_FILES} or more"
        )
    if gain <= ONE_SIDED * error:
        return f"the gain is no larger than {ONE_SIDED} times its error, so the plain settings stay; label more"
    return ""


def paired_error(
    windows: LabelledWindows,
    file_of: Int[np.ndarray, " windows"],
    plain: Float[np.ndarray, "windows classes"],
    better: Float[np.ndarray, "windows classes"],
) -> float:
    """Standard error of a difference of macro AUC, paired by soundscape: the jackknife, which leaves out each in turn.

    Paired by site, where `file_of` numbers those. Infinite where one alone decides whether there is a class to score.
    (Efron and Stein 1981.)
    """
    differences = []
    for file in np.unique(file_of):
        rest = windows.labelled & (file_of != file)
        differences.append(_macro(windows.targets, better, rest) - _macro(windows.targets, plain, rest))
    n_files, error = len(differences), float(np.std(differences))
    return error * math.sqrt(n_files - 1) if math.isfinite(error) else math.inf


def held_out_parts(n_files: int, seed: int, least: int = 1) -> list[Int[np.ndarray, " part"]]:
    """Files of each held-out part: N_REPEATS draws of up to N_FOLDS parts of `least` or more, together all files."""
    rng = np.random.default_rng(seed)
    n_parts = max(1, min(N_FOLDS, n_files // least))
    draws = [np.array_split(rng.permutation(n_files), n_parts) for _ in range(N_REPEATS)]
    return [np.sort(part) for draw in draws for part in draw]


def gains_of(
    chosen_by: Float[np.ndarray, "settings parts"], held_out: Float[np.ndarray, "settings parts"]
) -> Float[np.ndarray, " used"]:
    """For each part: the held-out score of what is best elsewhere, less that of the plain settings (the first row).

    Parts without a class to score are left out.
    """
    usable = ~(np.isnan(chosen_by).any(axis=0) | np.isnan(held_out).any(axis=0))
    best = chosen_by[:, usable].argmax(axis=0)
    kept = held_out[:, usable]
    return kept[best, np.arange(kept.shape[1])] - kept[0]


def _macro(targets: NDArray[np.float32], scores: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Macro AUC of some windows; NaN where no class has both a positive and a negative."""
    by_class = auc_per_class(targets[mask], scores[mask])
    return float(by_class[~np.isnan(by_class)].mean()) if not np.isnan(by_class).all() else float("nan")
