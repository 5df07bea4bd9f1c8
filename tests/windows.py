"""Windows that are scored, as tables of them: for tests that write predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Windows:
    paths: list[str]
    start_s: np.ndarray
    end_s: np.ndarray
    targets: np.ndarray
