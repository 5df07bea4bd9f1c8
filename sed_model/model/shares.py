"""A batch shared out over the processes that train one model; collectives that put its rows together again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from sed_model.model.devices import Runtime


@dataclass(frozen=True)
class Share:
    """What one process has of a batch of `n_rows`: the rows `rank`, `rank + world_size`, ..."""

    n_rows: int
    rank: int = 0
    world_size: int = 1

    def of(self, whole: Tensor) -> Tensor:
        """This process's rows of a tensor [n_rows, ...]."""
        return whole[self.rank :: self.world_size]

    def gather(self, own: Tensor) -> Tensor:
        """The rows of all processes in the order of the batch [n_rows, ...]; gradients flow to this process's own.

        Every process has to call it.
        """
        if self.world_size == 1:
            return own
        n_padded = -(-self.n_rows // self.world_size)
        padded = own.new_zeros(n_padded, *own.shape[1:])
        padded[: len(own)] = own.detach()
        shares = [torch.empty_like(padded) for _ in range(self.world_size)]
        distributed.all_gather(shares, padded)
        # Row i of process r is row i * world_size + r; the padding ends up behind all rows.
        whole = torch.stack(shares, dim=1).flatten(0, 1)[: self.n_rows]
        whole[self.rank :: self.world_size] = own
        return whole


def share_of(n_own: int, runtime: Runtime) -> Share:
    """The share of which this process has `n_own` rows. Every process has to call it."""
    if runtime.world_size == 1:
        return Share(n_own)
    n_rows = torch.tensor(n_own, device=runtime.device)
    distributed.all_reduce(n_rows)
    return Share(int(n_rows), runtime.rank, runtime.world_size)


def highest(value: int, runtime: Runtime) -> int:
    """The highest of all processes' values. Every process has to call it."""
    if runtime.world_size == 1:
        return value
    result = torch.tensor(value, device=runtime.device)
    distributed.all_reduce(result, distributed.ReduceOp.MAX)
    return int(result)
