"""Two processes train one model: same scores in both, validation shared out, one checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sed_model.checkpoint import load_model
from sed_model.config import SedConfig
from sed_model.dataset import TrainingData, ValidationWindows
from sed_model.devices import choose_runtime
from sed_model.predict import predict_dataset, probabilities_of

pytestmark = pytest.mark.slow  # two more Python processes that import torch
ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("ddp_worker.py")
OVERRIDES = {
    "stages.pretrain_ce.epochs": 2,
    "stages.train_bce.epochs": 2,
    "stages.train_bce.freeze_backbone": True,
    "optim.batch_size": 3,
}


@pytest.fixture(scope="module")
def two_processes(
    tiny_root: Path, tiny_config: SedConfig, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[list[dict[str, float]]]]:
    folder = tmp_path_factory.mktemp("ddp")
    overrides = json.dumps(tiny_config.flat() | OVERRIDES)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "SED_CACHE_DIR": str(cache_dir)}
    workers = [
        subprocess.Popen(
            [
                sys.executable,
                str(WORKER),
                str(rank),
                "2",
                str(folder / "store"),
                str(tiny_root),
                str(folder),
                overrides,
            ],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for worker in workers:
        errors = worker.communicate(timeout=240)[1]
        assert worker.returncode == 0, errors
    return folder, [json.loads((folder / f"results_{rank}.json").read_text()) for rank in (0, 1)]


def test_both_processes_report_the_same_scores(two_processes: tuple[Path, list[list[dict[str, float]]]]) -> None:
    first, second = two_processes[1]
    assert len(first) == len(second) == 4
    for name in ("stage", "epoch", "val_loss", "macro_auc", "best_macro_auc", "lr", "finished"):
        assert [result[name] for result in first] == [result[name] for result in second], name
    # Each trains on clips of its own.
    assert [result["train_loss"] for result in first] != [result["train_loss"] for result in second]


def test_the_shared_validation_is_that_of_the_model_that_is_kept(
    two_processes: tuple[Path, list[list[dict[str, float]]]], tiny_data: TrainingData
) -> None:
    loaded = load_model(two_processes[0])
    windows = ValidationWindows(tiny_data, loaded.config)
    logits = predict_dataset(loaded.model, windows, loaded.config, choose_runtime(loaded.config.optim))
    written = np.array(pq.read_table(two_processes[0] / "oof.parquet")["probabilities"].to_pylist(), np.float32)
    np.testing.assert_allclose(probabilities_of(logits, loaded.lineage.loss), written, atol=1e-5)
