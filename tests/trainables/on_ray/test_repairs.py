"""Placement groups of dead actors are removed, and no others."""

from __future__ import annotations

import time

import ray
from ray.util import placement_group, placement_group_table
from ray.util.placement_group import PlacementGroup, remove_placement_group

from trainables.on_ray.repairs import AbandonedGroups


@ray.remote(num_cpus=0)
class Trainer:
    """Reserves and dies, as Ray Train's controller does with its trial."""

    def reserve(self) -> PlacementGroup:
        return placement_group([{"CPU": 0.01}])


def is_there(group: PlacementGroup) -> bool:
    return bool(placement_group_table(group)["state"] != "REMOVED")


def test_only_the_group_of_a_dead_actor_is_removed(ray_cluster: None) -> None:
    dead, alive = Trainer.remote(), Trainer.remote()
    abandoned, held = ray.get([dead.reserve.remote(), alive.reserve.remote()])
    own = placement_group([{"CPU": 0.01}])
    for group in (abandoned, held, own):
        ray.get(group.ready(), timeout=30)
    ray.kill(dead)

    end_s = time.monotonic() + 30
    while is_there(abandoned) and time.monotonic() < end_s:
        AbandonedGroups(has_workers=True).on_step_begin(0, [])
        time.sleep(0.1)
    assert [is_there(group) for group in (abandoned, held, own)] == [False, True, True]
    for group in (held, own):
        remove_placement_group(group)
    ray.kill(alive)
