"""Trackers that a search reports to beside its run folder: MLflow and Weights & Biases, by Ray's callbacks."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sed_model.core.errors import ConfigError
from sed_model.core.texts import first_line, nearest

TRACKERS = ("mlflow", "wandb")
NONE = "none"
PROJECT = "sed-search"
"""Name of the W&B project; its groups, and MLflow's experiments, are named after the runs."""


def check_tracker(track: str | None) -> None:
    """
    Raises:
        ConfigError: no such tracker, a URI for one that has none, or its package is not installed.
    """
    name, colon, uri = (track or NONE).partition(":")
    if name == NONE and not colon:
        return
    if name not in TRACKERS:
        raise ConfigError(f"--track {track}: unknown; use mlflow, mlflow:URI, wandb or none{nearest(name, TRACKERS)}.")
    if colon and (name != "mlflow" or not uri):
        raise ConfigError(f"--track {track}: write mlflow:URI, such as mlflow:http://localhost:5000, or {name} alone.")
    if find_spec(name) is None:
        raise ConfigError(
            f"--track {track}: the package {name} is not installed; pip install 'sed-search[{name}]' (from a checkout: "
            f".venv/bin/python -m pip install -c constraints.txt -e '.[{name}]')."
        )


def open_tracker(track: str | None, run: Path) -> list[Any]:
    """Ray's callback that reports the trials of a run, each with its settings and all numbers of each epoch; or none.

    MLflow's default is $MLFLOW_TRACKING_URI, else the database mlflow.db beside the run folder. W&B takes its own
    environment: WANDB_MODE=offline leaves its files in the run folder.

    Raises:
        ConfigError: see `check_tracker`; or the tracker refuses, or cannot be reached.
    """
    check_tracker(track)
    name, _, uri = (track or NONE).partition(":")
    if name == NONE:
        return []
    callback, refusals = _mlflow(uri, run) if name == "mlflow" else _wandb(run)
    try:
        callback.setup()
    except refusals as error:
        raise ConfigError(f"--track {track}: {first_line(error)}") from None
    return [callback]


def _mlflow(uri: str, run: Path) -> tuple[Any, tuple[type[Exception], ...]]:
    from mlflow import exceptions
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    run.parent.mkdir(parents=True, exist_ok=True)
    default = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.parent.absolute() / 'mlflow.db'}"
    callback = MLflowLoggerCallback(tracking_uri=uri or default, experiment_name=run.name)
    return callback, (exceptions.MlflowException, OSError)


def _wandb(run: Path) -> tuple[Any, tuple[type[Exception], ...]]:
    from ray.air.integrations.wandb import WandbLoggerCallback

    mode = os.environ.get("WANDB_MODE")  # Ray's workers need not have this process's environment
    return WandbLoggerCallback(project=PROJECT, group=run.name, dir=str(run), mode=mode), (ValueError,)
