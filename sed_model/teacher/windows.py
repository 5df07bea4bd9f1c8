"""Where a foreign model's windows begin: the one rule, for recordings that are heard once and for clips of a probe."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

LEAST_REST = 0.01
"""Of a window. So little at the end of a recording, which resampling may add, is not worth a window of its own."""


def window_starts(n_samples: int, length: int, hop: float) -> Int64[np.ndarray, " windows"]:
    """Where windows begin: every `hop` samples, and a last one that ends with the recording, so that all is heard."""
    spare = max(0, n_samples - length)
    starts = np.rint(np.arange(int(spare / hop + 1e-9) + 1) * hop).astype(np.int64)
    return np.append(starts, spare) if spare - starts[-1] > LEAST_REST * length else starts
