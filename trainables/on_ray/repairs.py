"""What Ray leaves to its users: trials lost with their machine, reservations of dead actors, the error of a trial."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import Any

import ray
from ray._private.state import state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]  # made at run time
from ray.tune import Callback
from ray.util.placement_group import PlacementGroup, remove_placement_group


def trial_error(trial: Any) -> str:
    """The error in one line."""
    return error_line(error_text(trial))


def error_text(trial: Any) -> str:
    """All that Tune wrote of a trial's errors; it is copied into the run folder a little later."""
    file = Path(trial.error_file) if trial.error_file else None
    return file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""


def error_line(traceback: str) -> str:
    """The line of a traceback that names the error: the last that begins with its type, or the last of all."""
    lines = [line.strip() for line in traceback.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b", line)]
    return (named or lines or ["unknown error"])[-1]


# Of a machine that is taken away with notice Ray knows itself that the trial is not to blame.
NODE_DEATH = re.compile("actor.s node was terminated")


class NodeLosses(Callback):
    """Tune callback: a trial that was lost with its machine goes on elsewhere, and keeps its retry after an error."""

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if NODE_DEATH.search(trial_error(trial)):
            trial.run_metadata.num_failures -= 1


LOOK_EVERY_S = 5.0


class AbandonedGroups(Callback):
    """Tune callback: removes placement groups of this search that were left by an actor that is dead.

    Ray 2.60 does so for a trainer once its workers run. That of a trial killed before would stay until the search
    ends, and where nothing else is free the search would wait for it for ever.
    """

    def __init__(self, has_workers: bool) -> None:
        self._next_look_s = 0.0 if has_workers else math.inf  # other trials reserve nothing by themselves

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() > self._next_look_s:
            self._next_look_s = time.monotonic() + LOOK_EVERY_S
            remove_abandoned_groups()


def remove_abandoned_groups() -> None:
    """Remove the placement groups of this job whose creator is a dead actor."""
    job_id = ray.get_runtime_context().get_job_id()
    # Ray's public tables of placement groups do not tell who created one.
    for row in state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(row)
        made_by_actor = not ray.ActorID(group.creator_actor_id).is_nil()  # Tune makes its own in the driver
        if (
            made_by_actor
            and group.creator_actor_dead
            and group.creator_job_id.hex() == job_id
            and group.state != PlacementGroupTableData.REMOVED
        ):
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
