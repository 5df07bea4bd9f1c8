"""What the search adds to the training: short trials in a search, over the same trainings in a plain loop.

    python benchmarks/search_overhead.py [--trials 20] [--plot docs/pictures/search_overhead.png]

The search runs one trial at a time. Its clock runs from the start of its second trial to the end of its last: drawing,
reports, tables, Ray and all, but not the start-up (Ray, imports, reading the data, the first trial's process). The loop
trains the same configurations with `fit` alone, in one process of the same priority as Ray gives its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from _result import print_result

from sed_model.clips.training_data import open_training_data
from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import plan_stages
from sed_model.data.demo import write_demo_data
from sed_model.data.recordings import read_data_folder
from sed_model.run_folder.folder import RunFolder
from sed_model.train.fit import FitJob, fit
from trainables.on_ray.cluster import ALLOCATOR_ENVIRONMENT
from trainables.spaces.load import load_space

TARGET = 1.15
RAY_NICENESS = 15
SPACE = """
base:
  front_end: {hop_length: 800, n_mels: 64, f_min_hz: 50}
  model: {backbone: mobilenetv3_small_050, pretrained: false}
  augment: {wave: {prob: 0.0}}
  data: {window_s: 5}
  optim: {batch_size: 16, min_steps_per_epoch: 1}
  stages: {pretrain_ce: {epochs: 2}, train_bce: {epochs: 1}}
search: {stages: [pretrain_ce, train_bce], searcher: random, scheduler: none}
space:
  stages.pretrain_ce.lr: {loguniform: [1.0e-4, 1.0e-2]}
  model.pool_type:       {choice: [avg, max, gem]}
"""


def search_ends_s(folder: Path, n_trials: int) -> list[float]:
    """When each trial after the first ended, in seconds after the start of the second."""
    (folder / "short.yaml").write_text(SPACE, encoding="utf-8")
    command = [sys.executable, "-m", "trainables.search", "--space", folder / "short.yaml", "--data", folder / "data"]
    command += ["--out", folder, "--name", "run", "--num-trials", n_trials, "--max-concurrent", 1, "--no-pseudo-labels"]
    times_s: dict[str, float] = {}
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            event = re.match(r"(trial_\d+) (starts|complete)", line)
            if event:
                times_s[" ".join(event.groups())] = time.monotonic()
    start_s = times_s["trial_0001 starts"]
    return [times_s[f"trial_{number:04d} complete"] - start_s for number in range(1, n_trials)]


def loop_ends_s(folder: Path) -> list[float]:
    """The same trainings without a search. Prints their times when this file is run with --loop."""
    os.nice(RAY_NICENESS)
    torch.set_num_threads(1)
    run = RunFolder(folder / "run")
    space = load_space(folder / "short.yaml")
    table = read_data_folder(folder / "data", space.base.data.target_s)
    points = [space.point_of(row) for row in run.read_trials()]
    configs: list[SedConfig] = [space.config(point) for point in points]
    start_s, ends_s = 0.0, []
    for number, config in enumerate(configs):
        if number == 1:
            start_s = time.monotonic()
        data = open_training_data(table, config, progress=False)
        for _ in fit(FitJob(config, plan_stages(config, space.search.stages), folder / f"loop_{number}"), data):
            pass
        ends_s.append(time.monotonic() - start_s)
    return ends_s[1:]


def plot(ours_s: list[float], plain_s: list[float], path: Path) -> None:
    """Trials that have ended over the time."""
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for ends_s, label in ((plain_s, "trainings alone"), (ours_s, "search")):
        axes.step([0, *ends_s], range(len(ends_s) + 1), where="post", label=f"{label}: {ends_s[-1]:.0f} s")
    axes.set(xlabel="seconds since the second trial began", ylabel="trials that have ended")
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=150)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--plot", type=Path, help="write the course of both as a picture")
    parser.add_argument("--loop", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop is not None:
        print(json.dumps(loop_ends_s(options.loop)))
        return 0
    os.environ.update(ALLOCATOR_ENVIRONMENT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with contextlib.redirect_stdout(sys.stderr):
            write_demo_data(folder / "data")
        ours = search_ends_s(folder, options.trials)
        statuses = pd.read_parquet(folder / "run" / "trials.parquet")["status"]
        if not (statuses == "complete").all():
            raise RuntimeError(f"trials of the benchmark failed: {statuses.to_list()}")
        words = [sys.executable, __file__, "--loop", str(folder)]
        plain = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    if options.plot:
        plot(ours, plain, options.plot)
    ours_s, plain_s = ours[-1], plain[-1]
    ratio = ours_s / plain_s
    holds = print_result(
        f"search of {options.trials} short trials over their trainings alone",
        plain=plain_s,
        ours=ours_s,
        unit="s",
        ratio=ratio,
        target=TARGET,
        holds=ratio <= TARGET,
        digits=3,
    )
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
