"""Ten thousand trials and a million epochs: the ranking and the report stay within 30 s and 1 GB."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from sed_model.run_folder.run_tables import trial_id

N_TRIALS, N_EPOCHS = 10_000, 100
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


def write_big_run(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    numbers = np.arange(N_TRIALS)
    names = np.array([trial_id(number) for number in numbers])
    scores = 0.6 + 0.2 * rng.random(N_TRIALS)
    folder.mkdir()
    trials = {
        "trial_id": names, "number": numbers, "status": np.where(rng.random(N_TRIALS) < 0.3, "complete", "pruned"),
        "macro_auc": scores, "stage": ["train_bce"] * N_TRIALS, "epoch": [N_EPOCHS] * N_TRIALS,
        "epochs": [N_EPOCHS] * N_TRIALS, "duration_s": rng.random(N_TRIALS) * 100, "params_m": [4.0] * N_TRIALS,
        "cpu_ms_per_window": 5 + rng.random(N_TRIALS), "fold": [0] * N_TRIALS, "seed": [0] * N_TRIALS,
        "error": pa.nulls(N_TRIALS, pa.string()), "config.model.pool_type": rng.choice(["avg", "max", "gem"], N_TRIALS),
        **{f"config.augment.p{index}": rng.random(N_TRIALS) for index in range(12)},
    }  # fmt: skip
    pq.write_table(pa.table(trials), folder / "trials.parquet")
    n_rows, half = N_TRIALS * N_EPOCHS, N_EPOCHS // 2
    curves = {
        "trial_id": np.repeat(names, N_EPOCHS),
        "stage": np.tile(np.repeat(["pretrain_ce", "train_bce"], half), N_TRIALS),
        "epoch": np.tile(np.arange(1, N_EPOCHS + 1), N_TRIALS),
        "stage_epoch": np.tile(np.tile(np.arange(1, half + 1), 2), N_TRIALS),
        "train_loss": rng.random(n_rows), "val_loss": rng.random(n_rows),
        "macro_auc": np.repeat(scores, N_EPOCHS) * np.tile(np.linspace(0.7, 1, N_EPOCHS), N_TRIALS),
        "lr": rng.random(n_rows), "samples_per_s": rng.random(n_rows),
    }  # fmt: skip
    pq.write_table(pa.table(curves), folder / "curves.parquet")
    (folder / "search.yaml").write_text(yaml.safe_dump({"seed": 0}), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_big_run_is_reported_in_30_s_and_1_gb(tmp_path: Path) -> None:
    run = write_big_run(tmp_path / "big")

    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(run)], capture_output=True, text=True, check=True, timeout=280
    )

    measured = yaml.safe_load(done.stdout.splitlines()[-1])
    assert measured["cpu_s"] < 30
    assert measured["peak_mb"] < 1000
    assert (run / "report.html").stat().st_size < 15e6
    assert "Drawn are 300 of 10,000 trials" in (run / "report.html").read_text(encoding="utf-8")
