"""How a cost grows: measured at some sizes, and a straight line through it to the size that is asked about."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

N_TRIALS, N_NODES = 1000, 64
N_RECORDINGS, N_SOUNDSCAPES, N_CLASSES, N_MEMBERS = 28_564, 9_726, 206, 5

Points = dict[int, float]
"""Value by size."""
Out = TypeVar("Out")


@dataclass(frozen=True)
class Metric:
    """What is measured, and at which size it is asked about; `limit` is what it may be there."""

    unit: str
    target: int
    limit: float | None = None


def report(name: str, metric: Metric, points: Mapping[int, float]) -> bool:
    """Print the growth as one JSON line; whether it stays below its limit."""
    sizes, values = list(points), list(points.values())
    start, slope = line(sizes, values)
    measured = max(sizes) >= metric.target
    at_target = values[-1] if measured else start + slope * metric.target
    holds = metric.limit is None or at_target <= metric.limit
    result = {
        "name": name,
        "unit": metric.unit,
        "measured": {str(size): round(value, 3) for size, value in points.items()},
        "line": f"{start:.4g} + {slope:.4g} n",
        "target": metric.target,
        "at_target": round(at_target, 3),
        "extrapolated": not measured,
        "limit": metric.limit,
        "holds": holds,
    }
    print(json.dumps(result), flush=True)
    return holds


def line(sizes: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """Value at size 0 and growth by size, least squares; costs that do not grow are taken to be constant."""
    if len(sizes) < 2:
        return values[0], 0.0
    slope, start = np.polyfit(sizes, values, 1)
    return (float(start), float(slope)) if slope > 0 else (float(np.mean(values)), 0.0)


def block_means(totals: Sequence[float], n_blocks: int, first: int = 0) -> Points:
    """Mean growth of a running total in each part of it, by the middle of the part, counted from `first`."""
    edges = np.linspace(0, len(totals) - 1, n_blocks + 1).round().astype(int)
    means = np.diff(np.asarray(totals)[edges]) / np.diff(edges)
    return {first + int(middle): float(mean) for middle, mean in zip((edges[1:] + edges[:-1]) // 2, means, strict=True)}


def timed(work: Callable[..., Out], *arguments: Any) -> tuple[Out, float]:
    """The result, and the CPU seconds of this process."""
    start_s = time.process_time()
    result = work(*arguments)
    return result, time.process_time() - start_s


def rss_mb(peak: bool = False) -> float:
    """Memory of this process now, or the most that it had (getrusage also counts the one that started it). Linux."""
    return _status_mb("VmHWM" if peak else "VmRSS")


def own_mb() -> float:
    """As `rss_mb`, without the pages of mapped files, which processes share."""
    return _status_mb("RssAnon")


def _status_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(text.split()[1]) for text in lines if text.startswith(f"{field}:")) * 1024 / 1e6
