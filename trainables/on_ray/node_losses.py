"""A trial is not to blame for the death of its machine."""

from __future__ import annotations

import re
from typing import Any

from ray.tune import Callback

from trainables.on_ray.trial_errors import trial_error

# Of a machine that is taken away with notice Ray knows itself that the trial is not to blame.
NODE_DEATH = re.compile("actor.s node was terminated")


class NodeLosses(Callback):
    """Tune callback: a trial that was lost with its machine goes on elsewhere, and keeps its retry after an error."""

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if NODE_DEATH.search(trial_error(trial)):
            trial.run_metadata.num_failures -= 1
