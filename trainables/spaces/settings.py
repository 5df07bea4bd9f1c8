"""The `search:` section of a search space: what is optimised, for how long, and how."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sed_model.config.training import STAGE_NAMES, StageName
from sed_model.core.texts import nearest
from sed_model.run_folder.window_metrics import MACRO_AUC, METRICS

MetricName = Literal["macro_auc", "cmap", "cmap5", "padded_cmap", "top1", "val_loss"]
VAL_LOSS = "val_loss"
MODES: dict[str, str] = {**dict.fromkeys(METRICS, "max"), VAL_LOSS: "min"}
"""What a trial reports after each epoch and a search may go by, and the better direction."""
TUNE_METRICS = {**{name: f"best_{name}" for name in METRICS}, VAL_LOSS: VAL_LOSS}
"""What is reported of them to Tune: the best score so far, since the best epoch's model is the one that is kept."""
Cost = Literal["cpu_ms_per_window", "params_m"]
"""What a model costs: measured CPU milliseconds for a window on one thread, or millions of parameters."""
Searcher = Literal["optuna", "random", "gp", "nsga2"]


DEFAULT, PORTFOLIO, QUASI_RANDOM = "default", "portfolio", "quasi-random"
"""How a trial was drawn, where no method of `Searcher` drew it: the base configuration; what did well on other data;
the start of a search."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AshaSettings(_Section):
    """Asynchronous successive halving (Li et al. 2020). Epochs are counted over all stages of a trial."""

    grace_period: int | None = Field(
        None, ge=1, description="Epochs that every trial may run; default: rungs within the second stage."
    )
    reduction_factor: float = Field(3.0, gt=1, le=100, description="One trial of so many goes on at each rung.")


class SearchSettings(_Section):
    metric: MetricName = Field(
        "macro_auc",
        description="What the search goes by: the best epoch and early stopping, what is drawn and stopped, who leads, "
        "who is a finalist and what is proven of it. With val_loss, which only draws and stops, the rest is by "
        "macro_auc.",
    )
    mode: Literal["max", "min"] = "max"
    cost: Cost | None = Field(None, description="Second objective, to be small: the search looks for the Pareto front.")
    num_trials: int = Field(20, ge=1, le=1_000_000)
    epochs_scale: float = Field(1.0, gt=0, le=100, description="Multiplies the epochs of every stage.")
    stages: tuple[StageName, ...] = ("pretrain_ce", "train_bce", "finetune")
    scheduler: AshaSettings | None = Field(default_factory=AshaSettings)
    searcher: Searcher = Field("optuna", description="TPE, independent draws, a Gaussian process, or NSGA-II.")
    portfolio: str = Field(
        "portfolio.yaml",
        min_length=1,
        description="File of settings that did well on other data, tried right after the default; none: without.",
    )
    startup_trials: int | None = Field(
        None,
        ge=1,
        description="Trials before it learns from scores, without the portfolio's; default: a quarter, 3 to 10 "
        "(2 of 3 or 4, with the portfolio's).",
    )
    seed: int = Field(0, ge=0, lt=2**31)
    finalists: int = Field(
        3,
        ge=0,
        le=50,
        description="Best trials of those that beat the default which, with it, are trained on parts of the labelled "
        "soundscapes and delivered as their mean; in places that are left they train with further seeds. 0: none.",
    )
    finalist_epochs_scale: float = Field(
        3.0,
        gt=0,
        le=100,
        description="Multiplies the epochs of those stages in which finalists hear labelled soundscapes.",
    )
    trials_in_parts: bool = Field(
        True,
        description="Where finalists will train, trials train as they do: on three of four parts of the labelled "
        "soundscapes, as long, without choosing an epoch; the fourth scores them, and its model is the finalist's.",
    )
    refit_folds: tuple[int, ...] = Field((), description="Folds, or offsets of the seed, that the best are trained on.")

    @field_validator("stages")
    @classmethod
    def _in_order(cls, stages: tuple[StageName, ...]) -> tuple[StageName, ...]:
        ordered = tuple(name for name in STAGE_NAMES if name in stages)
        if stages != ordered or not stages:
            raise ValueError(f"is {list(stages)}; list each stage once, in the order {', '.join(STAGE_NAMES)}.")
        return stages

    @field_validator("refit_folds")
    @classmethod
    def _each_once(cls, folds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(folds)) < len(folds) or not all(0 <= fold < 2**31 for fold in folds):
            raise ValueError(f"is {list(folds)}; list each fold once, from 0 below 2^31, e.g. [0, 1, 2].")
        return folds

    @field_validator("scheduler", mode="before")
    @classmethod
    def _known_scheduler(cls, value: Any) -> Any:
        if value in ("none", None):
            return None
        if value == "asha":
            return AshaSettings()
        if isinstance(value, dict) and list(value) == ["asha"]:
            settings = value["asha"] or AshaSettings()
            if isinstance(settings, dict) and settings.get("brackets") == 1:  # earlier releases recorded it
                settings = {name: setting for name, setting in settings.items() if name != "brackets"}
            return settings
        if isinstance(value, AshaSettings):
            return value
        raise ValueError(f"is {value!r}; write none, asha or {{asha: {{reduction_factor: 3}}}}.")

    @model_validator(mode="after")
    def _better_direction(self) -> Self:
        if self.mode != MODES[self.metric]:
            raise ValueError(f"mode={self.mode} makes {self.metric} worse; write mode: {MODES[self.metric]}.")
        return self

    @property
    def score(self) -> str:
        """The metric that scores models."""
        return MACRO_AUC if self.metric == VAL_LOSS else self.metric

    def as_dict(self) -> dict[str, Any]:
        """The section as it is written in YAML."""
        tree = self.model_dump(mode="json")
        tree["scheduler"] = "none" if self.scheduler is None else {"asha": tree["scheduler"]}
        return tree


def parse_search(section: Any) -> tuple[SearchSettings, list[str]]:
    """The settings and a message for each problem; the defaults when there is one."""
    if not isinstance(section, dict):
        return SearchSettings(), [
            f"search: is {section!r}; write a mapping such as {{metric: macro_auc, num_trials: 20}}."
        ]
    try:
        return SearchSettings.model_validate(section), []
    except ValidationError as error:
        return SearchSettings(), [_problem(detail) for detail in error.errors()]


def _problem(detail: Any) -> str:
    name = ".".join(["search", *map(str, detail["loc"])])
    if detail["type"] == "extra_forbidden":
        fields = [*SearchSettings.model_fields, *AshaSettings.model_fields]
        return f"{name}: unknown setting{nearest(detail['loc'][-1], fields)}; known are {', '.join(fields)}."
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return f"{name}: {message}"
    return f"{name}={detail['input']!r}: {message[0].lower()}{message[1:]}."
