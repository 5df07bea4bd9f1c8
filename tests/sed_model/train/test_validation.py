"""How many windows are validated at a time."""

from __future__ import annotations

import pytest
import torch

from sed_model.config.sed_config import SedConfig
from sed_model.model.devices import Runtime
from sed_model.train.validation import windows_a_batch


@pytest.mark.parametrize(
    ("device", "n_windows", "n_clips", "world_size", "expected"),
    [
        ("cpu", 32, 9, 1, 9),  # no more than clips in a step
        ("cpu", 32, 64, 1, 32),
        ("cpu", 32, 64, 4, 16),  # of each process
        ("cpu", 32, 2, 1, 8),  # less would take longer
        ("cpu", 4, 9, 1, 4),  # as the configuration says
        ("cuda", 32, 9, 1, 32),
    ],
)
def test_a_cpu_validates_no_more_windows_than_a_step_has_clips(
    device: str, n_windows: int, n_clips: int, world_size: int, expected: int
) -> None:
    config = SedConfig().with_overrides({"inference.batch_size": n_windows, "optim.batch_size": n_clips})

    assert windows_a_batch(config, Runtime(torch.device(device), None, world_size=world_size)) == expected
