"""YAML files: what a reader is told when one cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from sed_model.core.errors import ConfigError
from sed_model.core.yaml_file import read_yaml


def write(folder: Path, text: str) -> Path:
    path = folder / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    assert read_yaml(write(tmp_path, "# nothing\n")) == {}


def test_every_repeated_key_is_named_with_its_lines(tmp_path: Path) -> None:
    text = "a: 1\nb:\n  - c: 1\n    c: 2\na: 3\n"
    with pytest.raises(ConfigError) as caught:
        read_yaml(write(tmp_path, text))
    assert "a: stands twice, in lines 1 and 5" in str(caught.value)
    assert "c: stands twice, in lines 3 and 4" in str(caught.value)


def test_the_same_key_in_two_mappings_is_fine(tmp_path: Path) -> None:
    assert read_yaml(write(tmp_path, "a: {x: 1}\nb: {x: 2}\n")) == {"a": {"x": 1}, "b": {"x": 2}}


def test_an_anchor_used_twice_is_fine(tmp_path: Path) -> None:
    assert read_yaml(write(tmp_path, "a: &one {x: 1}\nb: *one\n")) == {"a": {"x": 1}, "b": {"x": 1}}
