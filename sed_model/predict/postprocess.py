"""Window probabilities of one soundscape -> better ones: what the winners of BirdCLEF did after the models.

Pure functions on arrays [windows, classes] of one soundscape, in the order of time. Their settings can be tuned on
labelled train soundscapes (`post_tuning`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sed_model.core.errors import ConfigError
from sed_model.core.files import write_text
from sed_model.core.paths import is_file
from sed_model.predict.name_priors import NamePrior
from sed_model.predict.window_scores import target_probabilities
from sed_model.scores.smoothing import silence, smooth


class ClassGroup(BaseModel):
    """Settings of some classes, those of frogs or insects, say, in the place of everybody's."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    name: str = Field(min_length=1, description="class_name of taxonomy.csv")
    classes: tuple[str, ...] = Field(min_length=1, description="that it is about")
    frame_weight: float | None = Field(None, ge=0, le=1, description="null: everybody's")
    smoothing_centre: float | None = Field(None, gt=0, le=1, description="null: everybody's")


class PostSettings(BaseModel):
    """Post-processing; a file of it is JSON with these keys. By default scores stay what they are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)
    tta_weight: float = Field(
        0.0, ge=0, le=1, description="share of the time-shifted windows; 0: they are not computed"
    )
    tta_shift_s: float | None = Field(
        None, gt=0, le=60, description="their shift in seconds; null: half a target window"
    )
    frame_weight: float | None = Field(
        None, ge=0, le=1, description="share of the best frame; null: inference.frame_share of each model"
    )
    smoothing_centre: float = Field(1.0, gt=0, le=1, description="weight of a window against its neighbours; 1: off")
    top_n: int = Field(1, ge=1, description="windows of a soundscape whose mean scales its class")
    file_power: float = Field(0.0, ge=0, le=10, description="power of that mean; 0: off")
    low_rank_kept: int = Field(0, ge=0, description="best classes of a soundscape that stay as they are")
    low_rank_power: float = Field(1.0, ge=1, le=10, description="power of all other classes; 1: off")
    groups: tuple[ClassGroup, ...] = Field((), description="classes with settings of their own")
    prior: NamePrior | None = Field(None, description="what the names of soundscapes tell; null: off")

    def of_classes(self, name: str, classes: Sequence[str], default: float) -> float | Float64[np.ndarray, " classes"]:
        """A setting of each class: that of its group, or `default`; one number where no group has it."""
        own = {
            one: value for group in self.groups if (value := getattr(group, name)) is not None for one in group.classes
        }
        return np.array([own.get(one, default) for one in classes], np.float64) if own else default


def check_classes(settings: PostSettings, classes: Sequence[str]) -> None:
    """
    Raises:
        ConfigError: settings of groups or of a prior are for other classes than those of the models.
    """
    named = {one for group in settings.groups for one in group.classes}
    unknown = sorted(named - set(classes))
    if unknown or (settings.prior is not None and settings.prior.classes != tuple(classes)):
        what = f"groups name {', '.join(unknown[:5])}" if unknown else "prior is for other classes, or another order"
        raise ConfigError(f"post-processing does not fit the models: {what}; tune it anew with --tune-post.")


def read_post(path: Path) -> PostSettings:
    """Settings from a JSON file.

    Raises:
        ConfigError: the file cannot be read, is no JSON, or holds unknown keys or refused values: all in one report.
    """
    if not is_file(path):
        raise ConfigError(f"{path}: there is no such file; --tune-post writes one.")
    try:
        return PostSettings.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); --tune-post writes such a file.") from None
    except ValidationError as error:
        raise ConfigError(f"{path} is no post-processing file:\n{_problems(error)}") from None


def change_post(settings: PostSettings, changes: Mapping[str, Any]) -> PostSettings:
    """A copy with other values.

    Raises:
        ConfigError: unknown keys or refused values, all in one report.
    """
    try:
        known = {name: getattr(settings, name) for name in PostSettings.model_fields}
        return PostSettings.model_validate({**known, **changes})
    except ValidationError as error:
        raise ConfigError(f"post-processing settings cannot be used:\n{_problems(error)}") from None


def _problems(error: ValidationError) -> str:
    lines = [
        f"  {'.'.join(map(str, at['loc'])) or 'file'}={at['input']!r:.60}: {at['msg']}; change it"
        for at in error.errors()
    ]
    return "\n".join([*lines, f"Keys: {', '.join(PostSettings.model_fields)}."])


def write_post(path: Path, settings: PostSettings) -> None:
    write_text(path, settings.model_dump_json(indent=2) + "\n")


@dataclass(frozen=True)
class ScoreParts:
    """What the scores of windows are made of, for each member.

    Attributes:
        clip: of the target windows as they are.
        shifted: the mean of the windows shifted to both sides (`clip` without a shift).
        best: the best frames of the windows.
        silent: windows without sound, by the member's level.
        frame_shares: `inference.frame_share` of the members.
    """

    clip: Float[np.ndarray, "members windows classes"]
    shifted: Float[np.ndarray, "members windows classes"]
    best: Float[np.ndarray, "members windows classes"]
    silent: Bool[np.ndarray, "members windows"]
    frame_shares: Float[np.ndarray, " members"]

    @property
    def silent_for_all(self) -> Bool[np.ndarray, " windows"]:
        return np.asarray(self.silent.all(axis=0))


def blend(
    parts: ScoreParts, settings: PostSettings, classes: Sequence[str] = ()
) -> Float32[np.ndarray, "members windows classes"]:
    """The members' scores of windows: by default those that `predict.WindowScores` gives them.

    The clip scores get their share of the time-shifted ones, then of the best frames; silence has 0.

    Args:
        classes: of the scores, where groups of them have settings of their own.
    """
    steady = (1 - settings.tta_weight) * parts.clip + settings.tta_weight * parts.shifted
    usual = parts.frame_shares if settings.frame_weight is None else np.full(len(steady), settings.frame_weight)
    shares = [settings.of_classes("frame_weight", classes, float(share)) for share in usual]
    members = zip(steady, parts.best, parts.silent, shares, strict=True)
    return np.stack([silence(target_probabilities(clip, best, share), quiet) for clip, best, quiet, share in members])


def scale_by_file(
    probabilities: Float[np.ndarray, "windows classes"], top_n: int, power: float
) -> Float32[np.ndarray, "windows classes"]:
    """Times the mean of the class's `top_n` best windows of the soundscape, to a power (0: off).

    Who calls once in a soundscape calls again: a lone weak score is a mistake more often than one among strong ones.
    """
    best = np.sort(probabilities, axis=0)[-top_n:]
    return (probabilities * best.mean(axis=0) ** power).astype(np.float32)


def lower_low_ranked(
    probabilities: Float[np.ndarray, "windows classes"], n_kept: int, power: float
) -> Float32[np.ndarray, "windows classes"]:
    """To a power (1: off), except the `n_kept` classes with the best windows; at equal scores the first class stays."""
    low = np.argsort(-probabilities.max(axis=0), kind="stable")[n_kept:]
    lowered = probabilities.astype(np.float32)
    lowered[:, low] **= np.float32(power)
    return lowered


def postprocess(
    probabilities: Float[np.ndarray, "windows classes"], settings: PostSettings, classes: Sequence[str] = ()
) -> Float32[np.ndarray, "windows classes"]:
    """Neighbours, then the soundscape, then its low-ranked classes; 0..1 stays 0..1. (`classes` as in `blend`.)"""
    smoothed = smooth(probabilities, settings.of_classes("smoothing_centre", classes, settings.smoothing_centre))
    scaled = scale_by_file(smoothed, settings.top_n, settings.file_power)
    return lower_low_ranked(scaled, settings.low_rank_kept, settings.low_rank_power)


def postprocess_files(
    probabilities: Float[np.ndarray, "windows classes"],
    n_windows: Sequence[int],
    settings: PostSettings,
    classes: Sequence[str] = (),
) -> Float32[np.ndarray, "windows classes"]:
    """`postprocess` in each soundscape by itself; `n_windows` of each, one soundscape after the other."""
    pieces = np.split(probabilities, np.cumsum(n_windows)[:-1])
    return np.concatenate([postprocess(piece, settings, classes) for piece in pieces if len(piece)])
