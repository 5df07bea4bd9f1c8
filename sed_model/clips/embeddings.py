"""What a frozen foreign model heard between two times of a recording."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class EmbeddingSource(Protocol):
    """The embeddings of one foreign model, the teacher."""

    name: str
    """The teacher's."""
    dim: int

    def mean(self, path: str, start_s: float, end_s: float) -> NDArray[np.float32] | None:
        """[dim], of what the teacher heard between the times of a recording or soundscape.

        None where nothing is known. `path` is relative to the data folder.
        """
