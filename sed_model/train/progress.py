"""How far a run is: the result of each epoch, the best model so far, and both as a training state."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from sed_model.config.sed_config import config_from_dict
from sed_model.core.errors import ConfigError
from sed_model.model.checkpoint import Parent
from sed_model.run_folder.window_metrics import MACRO_AUC


@dataclass(frozen=True)
class EpochResult:
    """What one epoch gave. Epochs count from 1; `epoch` runs on through the stages, `epochs` is where they all end.

    `best_macro_auc` is that of `best_epoch` in `best_stage`: of the model that is kept, which has the best `score` so
    far. After a stage with cross-entropy that begins anew, since its softmax orders windows otherwise than the sigmoids
    that follow.
    `finished` marks the last result of a run (a stage that stops early leaves `epoch` short of `epochs`).
    """

    stage: str
    epoch: int
    stage_epoch: int
    epochs: int
    train_loss: float
    val_loss: float
    macro_auc: float
    best_macro_auc: float
    best_stage: str
    best_epoch: int
    lr: float
    samples_per_s: float
    finished: bool
    best_se: float = math.nan
    """Standard error of the best score."""
    metric: str = MACRO_AUC
    """What the best epoch is chosen by, of `window_metrics.METRICS`."""
    score: float = math.nan
    """The metric, where it is not macro AUC."""
    best_score: float = math.nan
    note: str = ""
    """What the user ought to know of this epoch (a batch that was halved), or ""."""

    def as_report(self) -> dict[str, Any]:
        """What searches hear and record: the fields, the metric's by its name."""
        fields = asdict(self)
        error, score, best = (fields.pop(name) for name in ("best_se", "score", "best_score"))
        named = {} if self.metric == MACRO_AUC else {self.metric: score, f"best_{self.metric}": best}
        return {**fields, **named, f"best_{self.metric}_se": error}


@dataclass
class Progress:
    """What a resumed run needs to know, beside the stage's own state."""

    epoch: int = 0
    best_score: float = -math.inf
    best_se: float = math.nan
    best_macro_auc: float = -math.inf
    """That of the best epoch, which has the best score."""
    best_stage: str = ""
    best_epoch: int = 0
    stage_best_score: float = -math.inf
    stage_best: dict[str, Tensor] = field(default_factory=dict)
    epochs_without_gain: int = 0
    mean_weights: dict[str, Tensor] = field(default_factory=dict)
    """The mean of the averaged weights after the last `n_averaged` epochs, see `optim.average_epochs`."""
    n_averaged: int = 0
    parent: Parent | None = None
    results: list[EpochResult] = field(default_factory=list)

    def take_into_mean(self, weights: Mapping[str, Tensor]) -> None:
        """Add the weights of one more epoch to the mean. Counters (integers) are those of the last."""
        self.n_averaged += 1
        for name, tensor in weights.items():
            value = tensor.detach().cpu()
            if value.is_floating_point() and self.n_averaged > 1:
                self.mean_weights[name].lerp_(value, 1 / self.n_averaged)
            else:
                self.mean_weights[name] = value.clone()

    def as_state(self) -> dict[str, Any]:
        """The fields by name, as `checkpoint.save_state` takes them."""
        kept = {name: getattr(self, name) for name in FIELDS}
        return {
            **kept,
            "parent": self.parent.model_dump() if self.parent else None,
            "results": [asdict(result) for result in self.results],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Progress:
        """States of earlier releases have no averaged weights (they could not be told to make any) and no errors.

        Their score is macro AUC.
        """
        known = {"best_macro_auc": state["best_score"], **state}
        return cls(
            **{name: known[name] for name in FIELDS if name in known or name not in LATER},
            parent=Parent(**state["parent"]) if state["parent"] else None,
            results=[EpochResult(**_renamed(result)) for result in state["results"]],
        )


def _renamed(result: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a result, whose standard error had another name in earlier releases."""
    return {"best_se" if name == "best_macro_auc_se" else name: value for name, value in result.items()}


LATER = ("mean_weights", "n_averaged", "best_se", "best_macro_auc")
FIELDS = (
    *("epoch", "best_score", "best_stage", "best_epoch"),
    *("stage_best_score", "stage_best", "epochs_without_gain", *LATER),
)
"""Of `Progress`, those that a state holds as they are."""


def with_new_keys(run: Mapping[str, str]) -> dict[str, str]:
    """What a state says of its run, with the configuration as today's release writes it: keys may be new since."""
    try:
        configuration = config_from_dict(json.loads(run["configuration"])).model_dump_json()
    except (ConfigError, LookupError, TypeError, ValueError, AttributeError):
        return dict(run)  # it is none, and differs
    return {**run, "configuration": configuration}
