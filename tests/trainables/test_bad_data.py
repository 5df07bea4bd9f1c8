"""Data folders and weights that a search cannot use: status 2, one message that names them, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


DAMAGES: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no train.csv": (lambda root: (root / "train.csv").unlink(), ["train.csv"]),
    "unreadable audio": (
        lambda root: (root / "train_audio/grekis/XC0.wav").write_text("this is no audio"),
        ["grekis/XC0.wav", "on_bad_audio=skip"],
    ),
    "labels of nothing": (
        lambda root: (root / "train_soundscapes_labels.csv").write_text("row_id,1139490,abethr1,grekis\nL0_1,0,0,0\n"),
        ["macro AUC can never be defined", "none of them holds any class", "data.validation=folds"],
    ),
    "a class in every label": (
        lambda root: (root / "train_soundscapes_labels.csv").write_text("row_id,1139490,abethr1,grekis\nL0_1,0,1,0\n"),
        ["macro AUC can never be defined", "every one of them holds abethr1"],
    ),
    "labels beyond the end": (
        lambda root: replace_in(root / "train_soundscapes_labels.csv", "L0_4,", "L0_40,"),
        ["L0", "39"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "expected"), DAMAGES.values(), ids=DAMAGES)
def test_search_refuses_data(
    refusal_of: Callable[..., str], tiny_space: Path, own_data: Path, cache_dir: Path, damage: Callable[[Path], Any],
    expected: list[str],
) -> None:  # fmt: skip
    damage(own_data)
    message = refusal_of("search", "--space", tiny_space, "--data", own_data)

    assert [text for text in expected if text not in message] == []


def test_every_bad_file_is_listed(
    refusal_of: Callable[..., str], tiny_space: Path, own_data: Path, cache_dir: Path
) -> None:  # fmt: skip
    for label in ("grekis", "abethr1"):
        (own_data / "train_audio" / label / "XC1.wav").write_bytes(b"")
    message = refusal_of("search", "--space", tiny_space, "--data", own_data)

    assert "2 of 14 audio files" in message
    assert "grekis/XC1.wav" in message
    assert "abethr1/XC1.wav" in message


def test_weights_of_another_backbone_are_refused(
    refusal_of: Callable[..., str], tiny_space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), tmp_path / "resnet10t.safetensors")
    message = refusal_of(
        "search", "--space", tiny_space, "--data", tiny_root, "--set", "model.weights=resnet10t.safetensors"
    )

    assert "resnet10t.safetensors" in message
    assert "mobilenetv3_small_050" in message
