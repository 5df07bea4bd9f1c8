"""Data folders and weights that a search cannot use: status 2, one message that names them, and nothing written."""

from __future__ import annotations

import shutil
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
    "empty train.csv": (lambda root: (root / "train.csv").write_bytes(b""), ["train.csv"]),
    "only a header": (
        lambda root: (root / "train.csv").write_text("primary_label,filename\n"), ["train.csv", "no rows"]
    ),
    "train.csv in another encoding": (
        lambda root: (root / "train.csv").write_bytes(b"primary_label,filename\ngrekis,\xe9"), ["train.csv"]
    ),
    "train.csv that is an archive": (lambda root: (root / "train.csv").write_bytes(bytes(range(256))), ["train.csv"]),
    "train.csv that is a folder": (
        lambda root: ((root / "train.csv").unlink(), (root / "train.csv").mkdir()), ["train.csv"]
    ),
    "a column twice": (
        lambda root: replace_in(root / "train.csv", "rating,author", "author,author"), ["train.csv", "author"]
    ),
    "an empty label": (lambda root: replace_in(root / "train.csv", "\ngrekis,", "\n,"), ["train.csv"]),
    "an absolute path": (
        lambda root: replace_in(root / "train.csv", "grekis/XC0.wav", "/etc/passwd"), ["/etc/passwd", "train_audio/"]
    ),
    "a row twice": (lambda root: replace_in(root / "train.csv", "grekis/XC1", "grekis/XC0"), ["grekis/XC0.wav"]),
    "rating in words": (lambda root: replace_in(root / "train.csv", "XC0.wav,1", "XC0.wav,good"), ["'good'"]),
    "no audio folder": (lambda root: shutil.rmtree(root / "train_audio"), ["train_audio"]),
    "taxonomy without labels": (
        lambda root: (root / "taxonomy.csv").write_text("scientific_name\nAvis\n"), ["taxonomy.csv", "primary_label"]
    ),
    "a class twice": (
        lambda root: replace_in(root / "taxonomy.csv", "grekis,", "abethr1,"), ["taxonomy.csv", "abethr1 is in line 3"]
    ),
    "truncated audio": (
        lambda root: (root / "train_audio/grekis/XC0.wav").write_bytes(b"RIFF\0\0"), ["grekis/XC0.wav"]
    ),
    "labels that are no numbers": (
        lambda root: replace_in(root / "train_soundscapes_labels.csv", "L0_1,1", "L0_1,yes"), ["yes"]
    ),
    "labels of an unknown class": (
        lambda root: replace_in(root / "train_soundscapes_labels.csv", "grekis", "gull"),
        ["train_soundscapes_labels.csv", "grekis"],
    ),
    "row_id without a second": (
        lambda root: replace_in(root / "train_soundscapes_labels.csv", "L0_1,", "L0,"), ["L0"]
    ),
    "missing column": (lambda root: replace_in(root / "train.csv", "primary_label", "label"), ["primary_label"]),
    "unknown label": (lambda root: replace_in(root / "train.csv", "\ngrekis,", "\nnone,"), ["none", "taxonomy.csv"]),
    "missing file": (lambda root: (root / "train_audio/grekis/XC0.wav").unlink(), ["grekis/XC0.wav"]),
    "path out of the folder": (
        lambda root: replace_in(root / "train.csv", "grekis/XC0.wav", "../x.wav"),
        ["../x.wav", "train_audio/"],
    ),
    "label list that is code": (
        lambda root: replace_in(root / "train.csv", "['grekis']", "print(1)"),
        ["print(1)", "secondary_labels"],
    ),
    "rating of six stars": (lambda root: replace_in(root / "train.csv", "XC0.wav,1", "XC0.wav,6"), ["'6'", "5"]),
    "unreadable audio": (
        lambda root: (root / "train_audio/grekis/XC0.wav").write_text("this is no audio"),
        ["grekis/XC0.wav", "on_bad_audio=skip"],
    ),
    "labels of no soundscape": (
        lambda root: replace_in(root / "train_soundscapes_labels.csv", "L0_1,", "L9_1,"),
        ["L9_1"],
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
