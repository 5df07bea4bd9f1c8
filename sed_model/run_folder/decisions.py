"""decisions.json: what probability a score is, and from which on a class counts as heard; and what was found so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sed_model.core.errors import CheckpointError
from sed_model.core.files import read_file, write_json

DECISIONS_FILE = "decisions.json"
FOUND_KEYS = {"files": ("filename",), "hours": ("site", "date", "hour"), "sites": ("site",)}
"""The tables of what was found: a row for each class that was found in each of these, one without a label for none."""
FOUND_COLUMNS = ("label", "n_windows", "n_found", "probability", "expected_false")
"""Their other columns: windows that were heard, those over the threshold, the best window's probability, and how many
of those found are expected to be wrong."""
DETECTION_COLUMNS = ("filename", "start_s", "end_s", "site", "recorded_at", "label", "probability", "threshold")
HEARD_COLUMNS = ("filename", "site", "recorded_at", "n_windows", "problem")
"""Every file that was listened to; `problem` is why it could not be read."""
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Platt(_Part):
    """A probability is sigmoid(slope * logit(score) + intercept)."""

    slope: Annotated[float, Field(ge=0)]
    intercept: float


class DecidingMember(_Part):
    """A model that scores, and how its own scores, of all classes, become probabilities."""

    weights_sha256: str
    platt: Platt


class HeldOut(_Part):
    """Macro F1 on windows of files that thresholds and calibration were not fitted on.

    Attributes:
        f1: with shrunk thresholds, as these; `f1_at_half`: with .5 of the scores as they are; `f1_unshrunk`: with each
            class's own.
    """

    f1: Share
    f1_at_half: Share
    f1_unshrunk: Share


class ClassHeldOut(_Part):
    """What the thresholds do on files that they were not fitted on; None where there is nothing to divide by."""

    precision: Share | None
    recall: Share | None


class ClassDecision(_Part):
    """
    Attributes:
        n_positive: labelled windows that hold the class.
        platt: of the members' joined probabilities; that of all classes where there are too few positives.
        threshold: of the calibrated probability.
    """

    label: str
    n_positive: Count
    platt: Platt
    is_calibrated_alone: bool
    threshold: Share
    held_out: ClassHeldOut


class Decisions(_Part):
    """What scores mean, by predictions of windows that the models have not learned from.

    Attributes:
        precision: the share of right ones that thresholds aim at; None: the best F1.
        windows: what was labelled, soundscapes or the recordings of a fold.
        weights: of the members, whose calibrated scores are joined by a mean; None: equal.
        threshold: of all classes together.
        held_out: macro F1; None where there are too few files to hold some out.
    """

    format: Literal[1] = 1
    precision: Share | None
    windows: Literal["soundscapes", "folds"]
    n_windows: Count
    n_files: Count
    members: Annotated[tuple[DecidingMember, ...], Field(min_length=1)]
    weights: tuple[float, ...] | None
    threshold: Share
    classes: Annotated[tuple[ClassDecision, ...], Field(min_length=1)]
    held_out: HeldOut | None

    @model_validator(mode="after")
    def _names_once(self) -> Decisions:
        if len({one.label for one in self.classes}) < len(self.classes):
            raise ValueError("a class is there twice")
        return self


def write_decisions(path: Path, decisions: Decisions) -> None:
    write_json(path, decisions.model_dump(mode="json"))


def read_decisions(path: Path) -> Decisions | None:
    """What a file of decisions holds; None where there is none.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        return Decisions.model_validate_json(read_file(path))
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise CheckpointError(f"{path}: is damaged ({reason}); remove it, and it is made again.") from None
