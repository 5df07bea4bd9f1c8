"""Where a large search meets its limits: 1,000 trials on 64 nodes, 28,564 recordings, 9,726 soundscapes of 206 classes.

    python benchmarks/scale.py [--full] [--part driver]

Each part is measured in fresh processes, at sizes that take minutes in all (with --full half an hour, and up to 18 GB),
and extrapolated by a straight line: one JSON line a figure. What is imaginary: trials report made-up scores and do not
train; nodes are Ray nodes of this machine whose CPUs are logical; recordings are copies of one; predictions are random.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from _scale import N_NODES, N_RECORDINGS, N_SOUNDSCAPES, N_TRIALS, Metric, report

SHORTEST_TRIAL_S = 60
TRIAL_LIMIT_MS = 1000 * SHORTEST_TRIAL_S / N_NODES
"""A driver that works longer for a trial cannot keep all nodes busy, when each trial takes a minute."""
METRICS = {
    "driver, draw": Metric("ms CPU a trial", N_TRIALS),
    "driver, report": Metric("ms CPU a trial", N_TRIALS),
    "driver, schedule": Metric("ms CPU a trial", N_TRIALS),
    "driver, record": Metric("ms CPU a trial", N_TRIALS),
    "driver, together": Metric("ms CPU a trial", N_TRIALS, TRIAL_LIMIT_MS),
    "driver, waits for the disk": Metric("fsync calls a trial", N_TRIALS),
    "optuna.journal": Metric("MB", N_TRIALS),
    "optuna.journal, read by a resumed search": Metric("s CPU", N_TRIALS, 10),
    "driver, with Ray Tune": Metric("ms CPU a trial", N_TRIALS, TRIAL_LIMIT_MS),
    "first trials, all started after": Metric("s", N_NODES),
    "trials that end": Metric("trials/s", N_TRIALS),
    "driver, memory": Metric("MB", N_TRIALS),
    "files of Tune and tables": Metric("files per trial", N_TRIALS),
    "data folder, read by a process": Metric("s CPU", N_RECORDINGS),
    "data folder, opened by a trial": Metric("s CPU", N_RECORDINGS, SHORTEST_TRIAL_S / 10),
    "audio cache, build": Metric("s CPU", N_RECORDINGS),
    "audio cache, size": Metric("GB", N_RECORDINGS),
    "audio cache, memory of the build": Metric("MB", N_RECORDINGS, 8000),
    "ensemble, parts": Metric("MB", N_SOUNDSCAPES),
    "label table, made": Metric("s CPU", N_SOUNDSCAPES),
    "label table, memory of the driver": Metric("MB", N_SOUNDSCAPES, 8000),
    "label table, read by a student's trial": Metric("s CPU", N_SOUNDSCAPES, SHORTEST_TRIAL_S / 10),
    "label table, memory of a student's trial": Metric("MB", N_SOUNDSCAPES, 1000),
}


@dataclass(frozen=True)
class Part:
    """`steps` are measured one after the other in one folder, at each of `sizes`, or of `full` with --full."""

    steps: tuple[str, ...]
    sizes: tuple[int, ...]
    full: tuple[int, ...]


PARTS = {
    "driver": Part(("driver",), (400,), (N_TRIALS,)),
    "tune": Part(("tune",), (100,), (N_TRIALS,)),
    "folder": Part(("folder",), (4000, 8000), (N_RECORDINGS,)),
    "cache": Part(("cache",), (50, 100), (250, 500, 1000)),
    "labels": Part(("labels", "student"), (1000, 2000), (N_SOUNDSCAPES,)),
}


def measure(step: str, size: int, folder: Path) -> None:
    """Measure one step in this process, and print its values."""
    import _common  # noqa: F401  one thread
    import _scale_data as data
    import _scale_search as searches

    work = {
        "driver": searches.measure_driver,
        "tune": searches.measure_tune,
        "folder": data.measure_folder,
        "cache": data.measure_cache,
        "labels": data.measure_labels,
        "student": data.measure_student,
    }
    print(json.dumps(work[step](size, folder)))


def measured_apart(step: str, size: int, folder: Path) -> dict[str, dict[str, float]]:
    """The values that a fresh process prints, by name and size."""
    words = [sys.executable, str(Path(__file__).resolve()), "--measure", step, str(size), str(folder)]
    lines = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    values: dict[str, dict[str, float]] = json.loads(lines[-1])
    return values


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the full sizes, where they fit")
    parser.add_argument("--part", choices=list(PARTS), action="append", help="only this part; may be repeated")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        step, size, folder = options.measure
        measure(step, int(size), Path(folder))
        return 0
    holds = True
    for name in options.part or PARTS:
        points: defaultdict[str, dict[int, float]] = defaultdict(dict)
        for size in PARTS[name].full if options.full else PARTS[name].sizes:
            with tempfile.TemporaryDirectory() as folder:
                for step in PARTS[name].steps:
                    for figure, values in measured_apart(step, size, Path(folder)).items():
                        points[figure] |= {int(at): value for at, value in values.items()}
        for figure, by_size in points.items():
            holds &= report(figure, METRICS[figure], by_size)
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
