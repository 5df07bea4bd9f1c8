"""Trackers that a search reports to beside its run folder: MLflow and Weights & Biases, by Ray's callbacks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sed_model.core.errors import ConfigError
from sed_model.core.texts import first_line, nearest
from sed_model.run_folder.delivered import Delivered, Finalist

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
    callback = MLflowLoggerCallback(tracking_uri=mlflow_uri(uri, run), experiment_name=run.name)
    return callback, (exceptions.MlflowException, OSError)


def mlflow_uri(uri: str, run: Path) -> str:
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.parent.absolute() / 'mlflow.db'}"


def _wandb(run: Path) -> tuple[Any, tuple[type[Exception], ...]]:
    from ray.air.integrations.wandb import WandbLoggerCallback

    mode = os.environ.get("WANDB_MODE")  # Ray's workers need not have this process's environment
    return WandbLoggerCallback(project=PROJECT, group=run.name, dir=str(run), mode=mode), (ValueError,)


def track_delivered(
    track: str | None, run: Path, delivered: Delivered, refits: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Report what a search delivers: a run of the tracker for each finalist, and one for the mean of all.

    The search has ended by then: a tracker that fails is told, and ends nothing.

    Args:
        refits: rows of refits.parquet, whose scores a finalist's run has as `part_0` and so on.
    """
    name, _, uri = (track or NONE).partition(":")
    if name == NONE:
        return
    try:
        if name == "mlflow":
            _mlflow_runs(mlflow_uri(uri, run), run.name, delivered_numbers(delivered, refits))
        else:
            _wandb_runs(run, delivered_numbers(delivered, refits))
    except Exception as error:  # noqa: BLE001 - whatever a tracker raises: the models are there
        print(f"--track {track}: what is delivered could not be reported: {first_line(error)}", flush=True)


def delivered_numbers(delivered: Delivered, refits: Sequence[Mapping[str, Any]] = ()) -> dict[str, dict[str, float]]:
    """Name of a tracker's run -> its numbers; `macro_auc` is that of the out-of-fold predictions."""
    numbers = {f"{one.trial_id} finalist": _finalist_numbers(one, refits) for one in delivered.finalists}
    mean = {"macro_auc": delivered.macro_auc, "macro_auc_se": delivered.se, "n_models": float(len(delivered.members))}
    if delivered.lead:
        mean |= {"lead": delivered.lead.mean, "p_better": delivered.lead.p_better}
    return numbers | {"delivered mean": mean}


def _finalist_numbers(one: Finalist, refits: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    numbers = {"macro_auc": one.macro_auc, "macro_auc_se": one.se, "n_models": float(len(one.members))}
    numbers["is_delivered"] = float(one.is_delivered)
    if one.lead:
        numbers |= {"lead": one.lead.mean, "p_better": one.lead.p_better}
    mine = [row for row in refits if row["trial_id"] == one.trial_id and row["in_parts"] and not row["error"]]
    return numbers | {f"part_{row['fold']}": row["macro_auc"] for row in mine}


def _mlflow_runs(uri: str, experiment: str, runs: Mapping[str, Mapping[str, float]]) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    place = found.experiment_id if found else client.create_experiment(experiment)
    for name, numbers in runs.items():
        run_id = client.create_run(place, run_name=name).info.run_id
        for key, value in numbers.items():
            client.log_metric(run_id, key, value)
        client.set_terminated(run_id)


def _wandb_runs(run: Path, runs: Mapping[str, Mapping[str, float]]) -> None:
    import wandb

    for name, numbers in runs.items():
        with wandb.init(project=PROJECT, group=run.name, name=name, dir=str(run), reinit="create_new") as tracked:
            tracked.log(dict(numbers))
