"""Which post-processing is best on labelled soundscapes, and what it gains on soundscapes that it was not tuned on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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
FRAME_WEIGHTS = (None, 0.0, 1.0)
TTA_WEIGHTS = (0.0, 0.5)
CENTRES = (1.0, 0.8, 0.6)
FILE_SCALES = ((1, 0.0), (1, 0.5), (1, 1.0), (3, 0.5), (3, 1.0))
"""top_n and file_power."""
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
    """Compare settings, the first of which are the plain ones, by macro AUC; cross-validated by soundscape.

    In each of N_REPEATS draws the soundscapes are dealt out into N_FOLDS parts. What is best on the other parts is
    applied to one, and its macro AUC there compared with that of the plain settings. A gain has to be
    proven (`why_plain`).

    Raises:
        DataError: fewer than two soundscapes, or labels without a class that has a positive and a negative.
    """
    n_files = len(windows.n_windows)
    if n_files < 2:
        raise DataError(
            f"{counted(n_files, 'labelled soundscape')}: tuning that is validated needs 2 or more; label some."
        )
    parts = held_out_parts(n_files, seed)
    file_of = np.repeat(np.arange(n_files), windows.n_windows)
    everything = windows.labelled
    masks = [np.isin(file_of, part) for part in parts]
    # [settings, part]: on the other soundscapes, and on the part itself; [settings]: on all of them.
    chosen_by, held_out = np.empty((2, len(settings), len(parts)))
    overall = np.empty(len(settings))
    kept: dict[str, NDArray[np.float32]] = {}
    joined: dict[tuple[float, float | None], NDArray[np.float32]] = {}
    for row, one in enumerate(settings):
        key = (one.tta_weight, one.frame_weight)
        if key not in joined:
            joined = {key: join(one)}
        scores = postprocess_files(joined[key], windows.n_windows, one)
        overall[row] = _macro(windows.targets, scores, everything)
        if row == 0 or overall[row] > overall[:row].max():
            kept["plain" if row == 0 else "best"] = scores
        for column, mask in enumerate(masks):
            chosen_by[row, column] = _macro(windows.targets, scores, everything & ~mask)
            held_out[row, column] = _macro(windows.targets, scores, everything & mask)
    if np.isnan(overall[0]):
        raise DataError(
            "no class of the labelled soundscapes has a positive and a negative window; label more of them."
        )
    gains = gains_of(chosen_by, held_out)
    gain = float(gains.mean()) if len(gains) else 0.0
    error = paired_error(windows, file_of, kept["plain"], kept.get("best", kept["plain"]))
    why = why_plain(len(np.unique(file_of[everything])), gain, error)
    best = 0 if why else int(overall.argmax())
    spread = float(gains.std(ddof=1)) if len(gains) > 1 else 0.0
    return Tuned(
        settings[best], float(overall[0]), float(overall[best]), gain, spread, error, len(gains), len(settings), why
    )


def why_plain(n_files: int, gain: float, error: float) -> str:
    """What keeps a gain on `n_files` labelled soundscapes from being proven, one-sided with 95 %; or nothing."""
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

    Infinite where a soundscape alone decides whether there is a class to score. (Efron and Stein 1981.)
    """
    differences = []
    for file in range(len(windows.n_windows)):
        rest = windows.labelled & (file_of != file)
        differences.append(_macro(windows.targets, better, rest) - _macro(windows.targets, plain, rest))
    n_files, error = len(differences), float(np.std(differences))
    return error * math.sqrt(n_files - 1) if math.isfinite(error) else math.inf


def held_out_parts(n_files: int, seed: int) -> list[Int[np.ndarray, " part"]]:
    """Files of each held-out part: N_REPEATS draws of up to N_FOLDS parts that together are all files."""
    rng = np.random.default_rng(seed)
    draws = [np.array_split(rng.permutation(n_files), min(N_FOLDS, n_files)) for _ in range(N_REPEATS)]
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
