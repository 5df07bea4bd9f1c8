"""delivered.json: the finalists of a search, how sure their scores are, and the models that predict for the run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from sed_model.core.errors import CheckpointError
from sed_model.core.files import write_json
from sed_model.core.paths import is_file
from sed_model.run_folder.window_metrics import MACRO_AUC, METRICS

DELIVERED_FILE = "delivered.json"
LEAST_CHANCE = 0.05
"""What is better than the default in fewer of the resamples is proven worse, in all but so many proven better."""
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Member(_Part):
    """A model of the run: its folder, relative to the run, and the checksum of its weights."""

    folder: Annotated[str, StringConstraints(pattern=r"^trials/trial_[0-9]{4,}/part_[0-9]{1,3}$")]
    weights_sha256: str


class _Scored(_Part):
    """What out-of-fold predictions reach: `score` of the metric of the search, with its standard error `se`."""

    macro_auc: Share
    score: Share
    se: Annotated[float, Field(ge=0)]

    @model_validator(mode="before")
    @classmethod
    def _by_macro_auc(cls, values: Any) -> Any:
        """Files of earlier releases have no other score."""
        if isinstance(values, dict) and "score" not in values and "macro_auc" in values:
            return {**values, "score": values["macro_auc"]}
        return values


class Lead(_Part):
    """How much better something is than the default: a score on the same files, from a paired bootstrap over them.

    Attributes:
        se: standard error of `mean`.
        p_better: share of the resamples in which it is better.
        shrunken: `mean`, shrunk towards 0 as its error and the usual spread of configurations say.
    """

    mean: float
    se: Annotated[float, Field(ge=0)]
    p_better: Share
    shrunken: float


class Finalist(_Scored):
    """A configuration that was trained for each part, and what its out-of-fold predictions reach.

    `members` are of the parts in turn, once or several times; the score is that of one model a part, in the mean.
    """

    trial_id: str
    is_default: bool
    lead: Lead | None
    """Over the default; None of the default itself, and where it is no finalist."""
    is_delivered: bool
    misfit: str = ""
    """Why its models do not go with the others'; else one that is not delivered is rather worse than the default."""
    members: Annotated[tuple[Member, ...], Field(min_length=1)]


class Delivered(_Scored):
    """What a search delivers: the equal-weight mean of the members of all finalists with `is_delivered`.

    The score is that of the mean of the delivered finalists' out-of-fold predictions.
    """

    format: Literal[1] = 1
    metric: str = MACRO_AUC
    """What the search went by, of `window_metrics.METRICS`."""
    n_parts: Annotated[int, Field(ge=2)]
    n_files: Annotated[int, Field(ge=2)]
    """Labelled soundscapes, each heard by all parts' models but one."""
    finalists: Annotated[tuple[Finalist, ...], Field(min_length=1)]
    """The best first."""
    lead: Lead | None

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.metric not in METRICS:
            raise ValueError(f"metric {self.metric:.40} is none of {', '.join(METRICS)}")
        return self

    @model_validator(mode="after")
    def _some_are_delivered(self) -> Self:
        if not self.members:
            raise ValueError("none of its finalists is delivered")
        odd = [one.trial_id for one in self.finalists if len(one.members) % self.n_parts]
        if odd:
            raise ValueError(f"{odd[0]} has not as many members of each of the {self.n_parts} parts")
        return self

    @property
    def title(self) -> str:
        """What people call the metric."""
        return METRICS[self.metric].title

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(member for one in self.finalists if one.is_delivered for member in one.members)

    @property
    def best(self) -> Finalist:
        return next(one for one in self.finalists if one.is_delivered)

    @property
    def single(self) -> Member:
        """One model, for whoever has little time: of the best finalist's the first."""
        return self.best.members[0]


def write_delivered(run: Path, delivered: Delivered) -> None:
    write_json(run / DELIVERED_FILE, delivered.model_dump(mode="json"))


def read_delivered(run: Path) -> Delivered | None:
    """What the search in a run folder delivers; None where it trained no finalists.

    Raises:
        CheckpointError: delivered.json is damaged.
    """
    path = run / DELIVERED_FILE
    if not is_file(path):
        return None
    try:
        return Delivered.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise CheckpointError(f"{path}: is damaged ({reason}); resume the search, or give --top-k.") from None


def verdict(delivered: Delivered) -> str:
    """One sentence: what is proven, and what is delivered."""
    proven = [one.trial_id for one in delivered.finalists if one.lead and one.lead.p_better > 1 - LEAST_CHANCE]
    members = f"the mean of {len(delivered.members)} models is delivered"
    if proven:
        return f"proven better than the default: {', '.join(proven)}; {members}"
    return f"no trial is proven better than the default, so {members}"
