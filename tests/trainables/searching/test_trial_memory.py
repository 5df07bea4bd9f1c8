"""What a trial is estimated to take of the memory: by hand, and against a process that trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from trial_memory import both

from sed_model.config.sed_config import SedConfig
from sed_model.data.demo import write_demo_data
from sed_model.model.model_trial import Tried
from trainables.searching.trial_memory import trial_bytes
from trainables.spaces.distributions import Choice
from trainables.spaces.search_space import Parameter, SearchSpace

TRIED = Tried((), weights_bytes=10_000_000, clip_bytes=1_000_000)
FIXED = 550_000_000 + 2**27 + 8 * 10_000_000
"""Imports, images of validation windows, and copies of the weights."""


@pytest.mark.parametrize(
    ("precisions", "n_workers", "more"),
    [
        (("fp32",), 0, 11_200_000),  # 8 clips of 1 MB, and 0.4 for what is beside them
        (("bf16",), 0, 5_600_000),
        (("fp32",), 2, 5_600_000 + 275_000_000),  # 4 clips, and half of the process that waits for both
        (("bf16", "fp32"), 0, 11_200_000),
    ],
)
def test_a_trial_takes_what_its_parts_do(precisions: tuple[str, ...], n_workers: int, more: int) -> None:
    drawn = {"optim.precision": precisions, "optim.batch_size": (2, 8, 4)}
    space = SearchSpace("x", SedConfig(), parameters=tuple(Parameter(key, Choice(drawn[key])) for key in drawn))

    assert trial_bytes(space, TRIED, n_workers) == FIXED + more


@pytest.mark.slow  # a Python process that imports torch and trains
def test_the_estimate_is_near_what_a_trial_takes(tmp_path: Path) -> None:
    config = SedConfig().with_overrides(
        {
            "model.backbone": "resnet10t",
            "model.pretrained": False,
            "optim.batch_size": 8,
            "stages.train_bce.epochs": 1,
            "data.cache_dir": str(tmp_path / "cache"),
        }
    )
    estimated_mb, measured = both(write_demo_data(tmp_path / "data"), config)

    assert 0.5 < estimated_mb / measured["own_mb"] < 2
