"""How much memory a trial takes on processors, told before one starts: of the models that were tried, the largest."""

from __future__ import annotations

from sed_model.clips.validation_windows import KEPT_BYTES
from sed_model.model.devices import cpu_is_faster_in_bf16
from sed_model.model.model_trial import Tried
from trainables.searching.checks import probes
from trainables.spaces.search_space import SearchSpace

PROCESS_BYTES = 550_000_000
"""What a process has imported, before any model: 0.52 GB of its own with PyTorch for CUDA."""
WEIGHT_COPIES = 8
"""The weights, their gradients, two of Adam, the averaged ones, the best ones of the stage, those that wait while the
averaged ones are validated, and those of autocast."""
STEP_SHARE = 1.4
"""Of what a step keeps for its backward pass: gradients and workspace come on top, and memory that lies in holes."""


def trial_bytes(space: SearchSpace, tried: Tried, n_workers: int) -> int:
    """Memory of a trial's process of its own at its peak, or of each of its workers.

    Estimates were 4 to 13 % above what five trials took. With `optim.grad_checkpointing` they are low (0.9 GB where 1.3
    were measured): what is computed again is not counted. Nor is what processes share (mapped recordings, libraries):
    0.7 GB, once for all trials of a machine.

    Args:
        tried: the most that a model of the space takes.
        n_workers: Ray Train workers of a trial, which share its batch; 0: it trains itself.
    """
    drawn = probes(space)
    batch_sizes = drawn.get("optim.batch_size", (space.base.optim.batch_size,))
    n_clips = -(-max(int(size) for size in batch_sizes) // max(1, n_workers))
    in_fp32 = any(_in_fp32(name) for name in drawn.get("optim.precision", (space.base.optim.precision,)))
    step = n_clips * tried.clip_bytes * STEP_SHARE / (1 if in_fp32 else 2)
    driver = PROCESS_BYTES / n_workers if n_workers else 0  # the trial's own process waits beside them
    return round(PROCESS_BYTES + driver + KEPT_BYTES + WEIGHT_COPIES * tried.weights_bytes + step)


def _in_fp32(precision: str) -> bool:
    return precision == "fp32" or (precision == "auto" and not cpu_is_faster_in_bf16())
