"""Resources that Ray Train has reserved for the workers of a trial are given back when the trial is killed."""

from __future__ import annotations

import math
import time
from typing import Any

import ray
from ray._private.state import state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]  # made at run time
from ray.tune import Callback
from ray.util.placement_group import PlacementGroup, remove_placement_group

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
