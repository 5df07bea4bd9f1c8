"""Models with random weights, for tests that need no trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sed_model.config.sed_config import SedConfig
from sed_model.model.checkpoint import Lineage, LoadedModel, save_model
from sed_model.model.network import SedModel

CLASSES = ("1139490", "abethr1", "grekis")
"""Those of the tiny data folders."""


def random_model(config: SedConfig, seed: int = 0, **facts: Any) -> LoadedModel:
    """A model that says of itself that it was trained for an epoch; `facts` replace what else its lineage says."""
    lineage = Lineage.model_validate(
        {
            "stage": "train_bce", "loss": "bce", "epoch": 1, "parent": None, "classes": CLASSES,
            "data_fingerprint": "", "validation": "soundscapes", "seed": seed, "metrics": {}, **facts,
        }
    )  # fmt: skip
    torch.manual_seed(seed)
    return LoadedModel(SedModel(config, len(lineage.classes)).eval(), config, lineage)


def save_random_model(folder: Path, config: SedConfig, seed: int = 0, **facts: Any) -> Path:
    """The same in a folder, which comes back."""
    made = random_model(config, seed, **facts)
    save_model(folder, made.model.state_dict(), config, made.lineage)
    return folder
