"""Hostile JSON beside a model: its configuration, lineage, post-processing and exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.config.sed_config import SedConfig
from sed_model.export.exported import read_record
from sed_model.model.checkpoint import load_model, read_config, read_lineage
from tests.hostile import ODD_JSON, drawn, refusal, refused, trees

JSON_FILES = [(name, kind) for name in ("model.json", "config.json") for kind in ODD_JSON]
JSON_FILES.remove(("config.json", "an empty mapping"))  # a configuration may leave out every key


@pytest.mark.parametrize(("name", "kind"), JSON_FILES)
def test_json_of_another_kind_is_refused_by_name(own_model: Path, name: str, kind: str) -> None:
    (own_model / name).write_bytes(ODD_JSON[kind])
    refusal(lambda: load_model(own_model), name)


LINEAGE: dict[str, object] = {"format": 2, "epoch": [7], "classes": "grekis", "split": {"kind": "folds"}, "surprise": 1}


@pytest.mark.parametrize("name", LINEAGE)
def test_a_lineage_with_a_value_of_another_kind_is_refused(own_model: Path, name: str) -> None:
    path = own_model / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: LINEAGE[name]}))
    refusal(lambda: read_lineage(own_model), "model.json: is damaged or of another version", name)


@drawn
@given(section=st.sampled_from(list(SedConfig.model_fields)), value=trees)
def test_any_configuration_is_read_or_refused_by_name(own_model: Path, section: str, value: Any) -> None:
    (own_model / "config.json").write_text(json.dumps({section: value}))
    refused(lambda: read_config(own_model), "config.json", section)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "nowhere", "model/model.json"], ids=lambda name: name[:8])
def test_a_folder_that_is_none_has_no_model(own_model: Path, name: str) -> None:
    refusal(lambda: load_model(own_model.parent / name), "no trained model here")


@pytest.mark.parametrize("content", ODD_JSON.values(), ids=ODD_JSON)
def test_a_hostile_record_of_an_export_is_refused(own_model: Path, content: bytes) -> None:
    (own_model / "export.onnx.json").write_bytes(content)
    refusal(lambda: read_record(own_model, "onnx"), "export.onnx.json")


@pytest.mark.parametrize(
    "files", [{}, {"../../x": "0"}, {"model.onnx": "0", "x": "0"}, {"/etc/passwd": "0"}, ["model.onnx"]]
)
def test_a_record_of_an_export_cannot_name_other_files(own_model: Path, files: object) -> None:
    record = {"runtime": "onnx", "precision": "fp32", "weights_sha256": "0" * 64, "files": files, "versions": {}}
    record |= {"n_windows": 1, "max_difference": 0.0}
    (own_model / "export.onnx.json").write_text(json.dumps(record))
    refusal(lambda: read_record(own_model, "onnx"), "export.onnx.json")
