"""Where a search spends its CPU time: driver and workers under py-spy, the rest by the kernel's count.

    python benchmarks/score_costs.py [--rate 10] -- --space benchmarks/chain.yaml --data DIR --name NAME

What follows `--` goes to `trainables.search`. py-spy is no dependency: `pip install py-spy`. One JSON line a cost, the
largest first: CPU seconds of all processes, and their share. Sampling slows the search down, so its wall time is none
to report; samples of a process are scaled to the CPU seconds that the kernel counted for it.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

COSTS = {
    "imports": r"_find_and_load",
    "training: backward pass": r"train_epoch.*_engine_run_backward",
    "training: forward pass": r"train_epoch.*SedModel\.forward",
    "training: input": r"train_epoch.*_BaseDataLoaderIter\.__next__",
    "training: optimiser and averaged weights": r"train_epoch.*_optimizer_step",
    "training: mixing, masks, loss": r"train_epoch",
    "validation: forward pass": r"_validate.*SedModel\.forward",
    "validation: input": r"_validate.*(_BaseDataLoaderIter\.__next__|InputImages\.forward)",
    "validation: scores": r"_validate",
    "checkpoints": r"_Run\.(_keep_best|_save|_end_stage)",
    "setting a trial up": r"\b(model_costs|training_data|_Run\.__init__|_Run\._training)\b",
    "pseudo-labels": r"_LabelWorker|plan_ensemble|label_soundscapes",
    "frame scores of the best trial": r"write_frame_scores",
    "checking the input": r"\bprepare \(",
    "starting Ray": r"\bray_session\b",
    "tables, journal, searcher": r"\b(Recorder|SedSearcher)\.|write_leaderboard",
    "Tune's loop": r"Tuner\.fit",
}
"""The first that a stack, outermost call first, holds."""
WAITING = re.compile(r"\b(wait|select|poll|sleep|get_next|main_loop) \([^;]*$")
RAYS_OWN = "Ray's own processes"
OTHER = "the rest of driver and workers"


def is_python(process: psutil.Process) -> bool:
    """Whether a process of the search is a worker, whose stack says what it does."""
    return "default_worker.py" in " ".join(process.cmdline()) or process.name().startswith("ray::")


def run(words: list[str], rate_hz: int, folder: Path) -> dict[int, float]:
    """Run the search; CPU seconds of each process, and py-spy's samples of driver and workers in `folder`."""
    search = subprocess.Popen([sys.executable, "-m", "trainables.search", *words])
    used_s: dict[int, float] = {}
    samplers: dict[int, subprocess.Popen[bytes]] = {}
    root = psutil.Process(search.pid)
    while search.poll() is None:
        for process in (root, *root.children(recursive=True)):
            try:
                times = process.cpu_times()
                used_s[process.pid] = times.user + times.system
                if process.pid not in samplers and (process.pid == search.pid or is_python(process)):
                    samplers[process.pid] = sample(process.pid, rate_hz, folder)
            except psutil.Error:  # it has just ended
                continue
        time.sleep(0.2)
    for sampler in samplers.values():
        sampler.wait()
    if search.returncode:
        raise SystemExit(f"the search failed with status {search.returncode}")
    return used_s


def sample(pid: int, rate_hz: int, folder: Path) -> subprocess.Popen[bytes]:
    words = ["py-spy", "record", "--pid", pid, "--rate", rate_hz, "--format", "raw", "--output", folder / f"{pid}.raw"]
    return subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stacks(file: Path) -> Iterator[tuple[str, int]]:
    """Stacks that were computing, each with its number of samples."""
    for line in file.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        if not WAITING.search(stack):
            yield stack, int(count)


def cost_of(stack: str) -> str:
    return next(
        (name for name, pattern in COSTS.items() if re.search(pattern, stack)), "the rest of driver and workers"
    )


def costs(used_s: dict[int, float], folder: Path) -> Counter[str]:
    """CPU seconds of each cost."""
    seconds: Counter[str] = Counter()
    for pid, process_s in used_s.items():
        file = folder / f"{pid}.raw"
        samples: Counter[str] = Counter()
        for stack, count in stacks(file) if file.is_file() else ():
            samples[cost_of(stack)] += count
        for name, count in samples.items() or [(RAYS_OWN, 1)]:
            seconds[name] += process_s * count / max(1, samples.total())
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=10, metavar="HZ", help="samples a second (10)")
    parser.add_argument("words", nargs="+", help="arguments of trainables.search, after --")
    options = parser.parse_args()
    if shutil.which("py-spy") is None:
        raise SystemExit("py-spy is not on PATH; install it: pip install py-spy")
    with tempfile.TemporaryDirectory() as folder:
        seconds = costs(run(options.words, options.rate, Path(folder)), Path(folder))
    for name, cost_s in seconds.most_common():
        share = round(cost_s / seconds.total(), 4)
        print(json.dumps({"name": name, "cpu_s": round(cost_s, 1), "share": share}), flush=True)
    print(json.dumps({"name": "all", "cpu_s": round(seconds.total(), 1), "share": 1.0}), flush=True)


if __name__ == "__main__":
    main()
