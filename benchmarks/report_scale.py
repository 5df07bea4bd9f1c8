"""Ranking and report of ten thousand trials and a million epochs against a tenth of the trials: CPU seconds, memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from _result import print_result

from sed_model.run_folder.run_tables import trial_id

N_TRIALS, N_EPOCHS = 10_000, 100
TARGET_RATIO, MOST_MB = 10.0, 1000.0
"""Ten times the trials take less than ten times the time, and fit into the memory of a laptop."""
# Its own process, whose peak is that of the work (ru_maxrss begins with the parent's); the time is the processor's,
# since others may be busy with it.
MEASURED = """
import json, resource, sys
from analysis import ranking, report
run = sys.argv[1]
ranking.main(["--run", run, "--json"])
report.main(["--run", run])
used = resource.getrusage(resource.RUSAGE_SELF)
peak_kb = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "peak_mb": int(peak_kb) / 1024}))
"""


def write_big_run(folder: Path, n_trials: int, n_epochs: int = N_EPOCHS) -> Path:
    """A run folder of so many trials, about a third of them complete."""
    rng = np.random.default_rng(0)
    numbers = np.arange(n_trials)
    names = np.array([trial_id(number) for number in range(n_trials)])
    scores = 0.6 + 0.2 * rng.random(n_trials)
    folder.mkdir()
    trials = {
        "trial_id": names, "number": numbers, "status": np.where(rng.random(n_trials) < 0.3, "complete", "pruned"),
        "macro_auc": scores, "stage": ["train_bce"] * n_trials, "epoch": [n_epochs] * n_trials,
        "epochs": [n_epochs] * n_trials, "duration_s": rng.random(n_trials) * 100, "params_m": [4.0] * n_trials,
        "cpu_ms_per_window": 5 + rng.random(n_trials), "fold": [0] * n_trials, "seed": [0] * n_trials,
        "error": pa.nulls(n_trials, pa.string()), "config.model.pool_type": rng.choice(["avg", "max", "gem"], n_trials),
        **{f"config.augment.p{index}": rng.random(n_trials) for index in range(12)},
    }  # fmt: skip
    pq.write_table(pa.table(trials), folder / "trials.parquet")
    n_rows, half = n_trials * n_epochs, n_epochs // 2
    curves = {
        "trial_id": np.repeat(names, n_epochs),
        "stage": np.tile(np.repeat(["pretrain_ce", "train_bce"], half), n_trials),
        "epoch": np.tile(np.arange(1, n_epochs + 1), n_trials),
        "stage_epoch": np.tile(np.tile(np.arange(1, half + 1), 2), n_trials),
        "train_loss": rng.random(n_rows), "val_loss": rng.random(n_rows),
        "macro_auc": np.repeat(scores, n_epochs) * np.tile(np.linspace(0.7, 1, n_epochs), n_trials),
        "lr": rng.random(n_rows), "samples_per_s": rng.random(n_rows),
    }  # fmt: skip
    pq.write_table(pa.table(curves), folder / "curves.parquet")
    (folder / "search.yaml").write_text(yaml.safe_dump({"seed": 0}), encoding="utf-8")
    return folder


def measured(folder: Path, n_trials: int) -> dict[str, float]:
    """CPU seconds and peak MB of the ranking and the report of one run."""
    run = write_big_run(folder / str(n_trials), n_trials)
    done = subprocess.run([sys.executable, "-c", MEASURED, str(run)], capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        few, many = (measured(Path(name), n_trials) for n_trials in (N_TRIALS // 10, N_TRIALS))
    ratio = many["cpu_s"] / few["cpu_s"]
    holds = ratio < TARGET_RATIO and many["peak_mb"] < MOST_MB
    print_result(
        "report_10000_trials", holds=holds, plain=few["cpu_s"], ours=many["cpu_s"], unit="s CPU", ratio=ratio,
        target=TARGET_RATIO, peak_mb=many["peak_mb"],
    )  # fmt: skip
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
