"""Search spaces that make no sense: status 2, one message that names key, value and repair, and nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants


@pytest.fixture
def space_with(tmp_path: Path, tiny_space: Path) -> Callable[[str], Path]:
    """Writes a space of its own beside the tiny base."""

    def write(text: str) -> Path:
        shutil.copy(tiny_space.parent / "base.yaml", tmp_path)
        path = tmp_path / "space.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


SPACES = {
    "a configuration": ("model: {pool_type: avg}\n", ["no search space", "trainables.train --config space.yaml"]),
    "reversed range": ("base: base.yaml\nspace: {model.gem_p: {uniform: [6, 1]}}\n", ["model.gem_p", "[1, 6]"]),
    "a chance of earlier releases": (
        "base: base.yaml\nspace: {augment.mix.mixup_prob: {uniform: [0, 1]}}\n",
        ["space.augment.mix.mixup_prob: was replaced; use augment.mix.prob", "augment.mix.cutmix_share"],
    ),
    "losses of stages that do not compare": (
        "base: base.yaml\nconfig: {stages.pretrain_ce.loss: ce}\nsearch: {metric: val_loss, mode: min}\n"
        "space: {model.pool_type: {choice: [avg]}}\n",
        ["search.metric=val_loss", "pretrain_ce ce, train_bce bce", "metric: macro_auc"],
    ),
    "losses of trials that do not compare": (
        "base: base.yaml\nsearch: {metric: val_loss, mode: min, stages: [pretrain_ce]}\n"
        "space: {loss.label_smoothing: {uniform: [0, 0.2]}}\n",
        ["search.metric=val_loss", "loss.label_smoothing is drawn", "--set"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), SPACES.values(), ids=SPACES)
def test_search_refuses_a_space(
    refusal_of: Callable[..., str], space_with: Callable[[str], Path], tiny_root: Path, text: str, expected: list[str]
) -> None:
    message = refusal_of("search", "--space", space_with(text), "--data", tiny_root)

    assert [text for text in expected if text not in message] == []


def test_quick_checks_come_before_slow_ones(
    refusal_of: Callable[..., str], space_with: Callable[[str], Path], own_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder before weights are fetched; and the hub is asked once for all models."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(own_data / "cache"))
    space = space_with("base: base.yaml\nspace: {model.backbone: {choice: [resnet10t, resnet18]}}\n")
    words = ("search", "--space", space, "--set", "model.pretrained=true", "--data")

    assert refusal_of(*words, own_data / "nowhere").startswith(f"error: {own_data / 'nowhere'} is not a folder")
    assert "weights of resnet10t" in (asked := refusal_of(*words, own_data))
    assert "resnet18" not in asked
