"""Searches on a GPU, by the command in a process of its own; skipped without one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]


def searched(start_command: Callable[..., object], space: Path, data: Path, out: Path, *words: str) -> pd.DataFrame:
    process = start_command(
        "trainables.search", "--space", space, "--data", data, "--out", out, "--name", "run", "--num-trials", "2",
        "--top-k", "1", "--set", "optim.channels_last=false", *words,  # else cuDNN compiles for long
    )  # fmt: skip
    assert process.process.wait(timeout=240) == 0, process.output + process.errors
    print(process.output)
    return pd.read_parquet(out / "run" / "trials.parquet")


def test_only_who_reserves_a_gpu_sees_it(cache_dir: Path) -> None:
    program = (
        "import ray, torch\n"
        "from trainables.on_ray.cluster import ray_session\n"
        "with ray_session(dashboard=False):\n"
        "    sees = ray.remote(lambda: torch.cuda.is_available())\n"
        "    print(ray.get([sees.options(num_gpus=share).remote() for share in (0, 0.25)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[False, True]"


@pytest.mark.parametrize(
    "words",
    [
        ("--gpus-per-trial", "0.5", "--workers-per-trial", "0"),  # two trials at a time inside Tune's actors
        ("--gpus-per-trial", "1"),  # one Ray Train worker a trial, joined by NCCL
    ],
    ids=["half a GPU", "Ray Train"],
)
def test_trials_train_on_the_gpu(
    start_command: Callable[..., object], tiny_space: Path, tiny_root: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    trials = searched(start_command, tiny_space, tiny_root, tmp_path, *words)
    assert set(trials["status"]) <= {"complete", "pruned"}
    assert trials["macro_auc"].notna().all()
    assert (tmp_path / "run" / "ensemble" / "pseudo_labels" / "part-00000.parquet").is_file()
