"""Searches, ensembles, probes, chains under random kills: nothing may be lost, done twice, inconsistent, left behind.

    python benchmarks/chaos.py [--trials 60] [--kills 12] [--seed 0] [--part local|cluster|..] [--keep DIR]

soak      a search of --trials tiny trials that nothing disturbs: memory and open files over the trials
local     a quarter of it with a Ray of its own; driver, trials and Ray's processes are killed. Gone on with until it is
          done, it has to equal the undisturbed one, and all that a killed driver has left has to end by itself
cluster   the search on a Ray that goes on, two trials at a time; CPUs and placement groups have to come back
workers   trials whose Ray Train workers, controllers and actors are killed
ensemble  a labelling job whose driver and actors are killed; its labels have to equal those of an undisturbed one
finalists the search of two trials whose finalists train on parts of labelled soundscapes; driver and trainings are
          killed. All models have to equal those of an undisturbed one
hear      a foreign model hears recordings, and probes are fitted; driver and actors are killed. The same
chain     the whole road from a data folder to a Kaggle folder; the driver is killed. Every step has to be done once

Kills are drawn from --seed; when they strike depends on the machine as well. Each part has --kills of them (workers a
third, where one costs half a minute), and runs to its end afterwards. One JSON line per part, with counts; the exit
status is 1 when something does not hold.

Ray leaves two things behind that it has no setting for. They are counted, and bounded: `agents_gone_s`, how long the
agents of a killed node lived on (they try for a minute to tell a GCS that is dead as well), and `ray_leftovers`, a
folder of 0 bytes for each dashboard.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import ray
from _chaos_place import SPACE, Place, report, storm_counts
from _chaos_roads import chain, finalists, hear
from _command import title
from _run_checks import Ledger, check_equal, ended, left_over, problems_of, started
from _storm import GONE_WITHIN_S, VICTIMS, Storm, draw_kills
from ray.util import placement_group_table

from sed_model.data.demo import write_demo_data

N_SOUNDSCAPES = 48
N_CPUS = 2
EXIT_TERMINATED = 143
FLAT_MIB_A_TRIAL, FLAT_FILES = 0.5, 5


def check_search(storm: Storm, run: Path, n_trials: int) -> list[str]:
    """What is wrong after the storm."""
    problems = [*storm.problems, *problems_of(run, n_trials)]
    for number, output in enumerate(storm.outputs):
        again = set(ended("".join(storm.outputs[:number]))) & set(started(output))
        problems += [f"{name} had ended, and was run again" for name in again]
    return problems


def soak(place: Place) -> bool:
    """The undisturbed search. Its driver, and the process of its trials, are looked at as each trial ends."""
    start_s = time.monotonic()
    command = place.search("soak", place.n_trials, "--max-concurrent", 1)(0)
    seen: dict[str, list[tuple[int, float, int]]] = {"driver": [], "trial": []}
    n_before = 0
    while command.runs:
        n_ended = len(ended(command.output))
        if n_ended > n_before:
            n_before = n_ended
            trials = [one for one in command.started() if VICTIMS["trial"](title(one))]
            for kind, process in (("driver", psutil.Process(command.process.pid)), *(("trial", one) for one in trials)):
                with contextlib.suppress(psutil.Error), process.oneshot():
                    seen[kind].append((n_ended, process.memory_info().rss / 2**20, process.num_fds()))
        time.sleep(0.05)
    problems = [] if command.process.wait() == 0 else [f"the undisturbed search fails: {command.errors}"]
    problems += problems_of(place.reference, place.n_trials)
    problems += [f"outlives its driver: {title(one)[:80]}" for one in command.wait_until_all_have_ended(GONE_WITHIN_S)]
    counts: dict[str, Any] = {"trials": n_before, "duration_s": round(time.monotonic() - start_s)}
    for kind, samples in seen.items():
        numbers, memory_mib, n_files = (np.array(column) for column in zip(*samples, strict=True))
        late = numbers > n_before // 4  # libraries and caches are loaded by then
        slope = float(np.polyfit(numbers[late], memory_mib[late], 1)[0])
        more_files = int(np.median(n_files[-5:]) - np.median(n_files[late][:5]))
        counts |= {f"{kind}_mib": round(memory_mib[-1]), f"{kind}_mib_a_trial": round(slope, 3)}
        counts |= {f"{kind}_files": int(n_files[-1]), f"{kind}_more_files": more_files}
        if slope > FLAT_MIB_A_TRIAL:
            problems.append(f"the {kind} grows by {slope:.2f} MiB a trial")
        if more_files > FLAT_FILES:
            problems.append(f"the {kind} has {more_files} more files open than before")
    return report("soak", problems, **counts)


def local(place: Place, rng: np.random.Generator) -> bool:
    """One trial at a time, so that it can be compared with the undisturbed search."""
    n_trials, run = place.n_trials // 4, place.base / "local" / "run"
    kinds = {"driver": 4, "trial": 3, "worker": 1, "raylet": 1, "gcs": 0.5, "agent": 0.5}
    storm = Storm(draw_kills(rng, place.n_kills, 6.0, kinds), rng)
    ledger = Ledger(run)
    storm.rage(place.search("local", n_trials, "--max-concurrent", 1), " starts: ", ledger.look)
    problems = check_search(storm, run, n_trials)
    try:
        check_equal(run, place.reference, n_trials)
    except AssertionError as error:
        problems.append(f"differs from the undisturbed search: {error}")
    logs = list((place.base / "tmp").glob("ray/session_2*"))
    left = [path for path in (place.base / "tmp").iterdir() if path.name != "ray"]
    of_ray = [path for path in left if is_dashboards(path)]
    problems += [f"left over in the folder of temporary files: {path.name}" for path in left if path not in of_ray]
    if len(of_ray) > len(logs):
        problems.append(f"{len(of_ray)} folders of {len(logs)} dashboards are left over")
    counts = {"ray_log_folders": len(logs), "ray_leftovers": len(of_ray)}
    return report("local", problems, trials=len(ledger), **storm_counts(storm), **counts)


def is_dashboards(folder: Path) -> bool:
    """Whether it is what each dashboard of Ray leaves behind, even in order: a socket of its fork server, 0 bytes."""
    return folder.name.startswith("pymp-") and all(path.is_socket() for path in folder.iterdir())


@contextlib.contextmanager
def own_cluster(place: Place) -> Iterator[str]:
    """A Ray that outlives the commands that join it; its address. Its processes are children of this one."""
    os.environ |= {"SED_CACHE_DIR": str(place.base / "cache"), "TMPDIR": str(place.base / "tmp")}
    # Without its dashboard Ray Train would not see that a trainer is dead, and keep the CPUs of its workers.
    ray.init(
        address="local", num_cpus=N_CPUS, include_dashboard=True, log_to_driver=False, object_store_memory=300 * 2**20
    )
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


def not_given_back() -> list[str]:
    """What the cluster still has lent out, once it has had time to notice that a command is dead."""
    end_s = time.monotonic() + GONE_WITHIN_S
    while True:
        lent = N_CPUS - ray.available_resources().get("CPU", 0)
        left = [
            f"{one['name']} {one['state']}" for one in placement_group_table().values() if one["state"] != "REMOVED"
        ]
        left += [title(one) for one in psutil.Process().children(recursive=True) if VICTIMS["trial"](title(one))]
        if not (lent or left) or time.monotonic() > end_s:
            return [
                *([f"{lent:g} CPUs are lent out"] if lent else []),
                *(f"left on the cluster: {one}" for one in left),
            ]
        time.sleep(0.2)


def cluster(place: Place, rng: np.random.Generator) -> bool:
    """Two trials at a time, on a Ray that goes on."""
    run = place.base / "cluster" / "run"
    with own_cluster(place) as address:
        storm = Storm(draw_kills(rng, place.n_kills, 4.0, {"driver": 1, "trial": 2}), rng, psutil.Process())
        ledger = Ledger(run)
        search = place.search("cluster", place.n_trials, "--max-concurrent", 2, "--address", address)
        storm.rage(search, " starts: ", lambda: [*ledger.look(), *not_given_back()])
    problems = check_search(storm, run, place.n_trials)
    return report("cluster", problems, trials=len(ledger), **storm_counts(storm))


def workers(place: Place, rng: np.random.Generator) -> bool:
    """Trials that train in Ray Train workers; a trial that loses one twice has failed, which is recorded."""
    n_trials, run = 4, place.base / "workers" / "run"
    with own_cluster(place) as address:
        kills = draw_kills(rng, -(-place.n_kills // 3), 30.0, {"driver": 1, "trial": 1, "worker": 3})
        storm = Storm(kills, rng, psutil.Process())
        ledger = Ledger(run)
        options = ("--workers-per-trial", 1, "--max-concurrent", 1, "--address", address)
        storm.rage(place.search("workers", n_trials, *options), "  loss ", lambda: [*ledger.look(), *not_given_back()])
    problems = check_search(storm, run, n_trials)
    failed = int((pd.read_parquet(run / "trials.parquet")["status"] == "failed").sum())
    return report("workers", problems, trials=len(ledger), failed=failed, **storm_counts(storm))


def ensemble(place: Place, rng: np.random.Generator) -> bool:
    """The labels of an undisturbed job, and of one that is killed."""
    soundscapes, part = place.base / "soundscapes", place.base / "ensemble"
    soundscapes.mkdir()
    unlabelled = sorted((place.base / "data" / "train_soundscapes").glob("*"))[-4:]
    for number in range(N_SOUNDSCAPES):
        shutil.copy(unlabelled[number % 4], soundscapes / f"S{number:03d}{unlabelled[0].suffix}")
    words = ("--run", place.reference, "--top-k", 3, "--soundscapes", soundscapes)
    with own_cluster(place) as address:
        common = ("trainables.ensemble", "ensemble")
        whole = place.command(*common, 99, *words, "--out", place.base / "whole", "--address", address)
        if whole.process.wait() != 0:
            return report("ensemble", [f"the undisturbed job fails: {whole.errors}"])
        storm = Storm(draw_kills(rng, place.n_kills, 3.0, {"driver": 1, "worker": 1}), rng, psutil.Process())
        out = ("--out", part / "out", "--address", address)
        storm.rage(lambda session: place.command(*common, session, *words, *out), "ensemble of", not_given_back)
    expected, labels = (pd.read_parquet(folder / "pseudo_labels") for folder in (place.base / "whole", part / "out"))
    problems = list(storm.problems)
    if not labels.equals(expected) or len(labels) == 0:
        problems.append(f"{len(labels)} labels differ from the {len(expected)} of the undisturbed job")
    problems += [f"left over: {name}" for name in left_over(part / "out")]
    return report("ensemble", problems, labels=len(labels), **storm_counts(storm))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--kills", type=int, default=12, help="in each part; the more, the longer it takes (12)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=list(PARTS), action="append", help="only this; may be repeated")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="work there, and leave runs and logs; a short path, for the sockets",
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))  # or what it has started would stay
    with tempfile.TemporaryDirectory(prefix="chaos_") as name:
        base = (options.keep or Path(name)).absolute()
        (base / "tmp").mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr):
            write_demo_data(base / "data", recordings_per_class=6)
        (base / "tiny.yaml").write_text(SPACE, encoding="utf-8")
        place = Place(base, options.trials, options.kills)
        holds = []
        for number, (part, run) in enumerate(PARTS.items()):
            if options.part and part not in options.part:
                continue
            if part in NEED_SOAK and not place.reference.exists():
                holds.append(soak(place))
            holds.append(run(place, np.random.default_rng([options.seed, number])))
    return 0 if all(holds) else 1


PARTS: dict[str, Callable[[Place, np.random.Generator], bool]] = {
    "local": local, "cluster": cluster, "workers": workers, "ensemble": ensemble, "finalists": finalists,
    "hear": hear, "chain": chain,
}  # fmt: skip
NEED_SOAK = ("local", "ensemble")
"""They are compared with the undisturbed search, or label with its models."""

if __name__ == "__main__":
    raise SystemExit(main())
