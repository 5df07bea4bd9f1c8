"""Small search spaces, written, read and drawn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna

from trainables.spaces.load import load_space
from trainables.spaces.search_space import SearchSpace

SMALL = """
space:
  model.pool_type: {choice: [avg, gem]}
  model.gem_p: {uniform: [1, 6], when: {model.pool_type: gem}}
"""
NESTED = """
space:
  model.final_dropout: {uniform: [0, 0.5], when: {model.attention_heads: [4, 8]}}
  model.attention_heads: {choice: [2, 4, 8], when: {model.multi_head_attention: true}}
  model.multi_head_attention: {choice: [false, true]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str, **overrides: Any) -> SearchSpace:
    return load_space(write(folder, text), {name.replace("__", "."): value for name, value in overrides.items()})


def draws(space: SearchSpace, n_draws: int, seed: int = 0) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.suggest(study.ask()) for _ in range(n_draws)]
