"""Fault 12: what a checkpoint says of itself; of damaged ones see test_hostile_weights.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import CheckpointError
from sed_model.core.files import sha256_of
from sed_model.model.checkpoint import (
    Parent,
    delete_state,
    load_model,
    load_state,
    save_state,
    weights_digest,
)
from tests.models import save_random_model

CLASSES = ("1139490", "grekis")


@pytest.fixture(scope="module")
def saved(tiny_config: SedConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_model(
        tmp_path_factory.mktemp("saved"),
        tiny_config,
        epoch=7,
        parent=Parent(stage="pretrain_ce", weights_sha256="0" * 64),
        classes=CLASSES,
        data_fingerprint="f" * 64,
        validation="folds",
        metrics={"macro_auc": 0.75},
    )


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_a_model_comes_back_as_it_was(saved: Path, tiny_config: SedConfig) -> None:
    loaded = load_model(saved)
    assert loaded.config == tiny_config
    assert loaded.lineage.classes == CLASSES
    assert (loaded.lineage.stage, loaded.lineage.epoch, loaded.lineage.metrics) == ("train_bce", 7, {"macro_auc": 0.75})
    assert loaded.as_parent == Parent(stage="train_bce", weights_sha256=sha256_of(saved / "model.safetensors"))
    assert not loaded.model.training
    weights = load_file(saved / "model.safetensors")
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_a_second_log_mel_of_earlier_releases_is_refused(tmp_path: Path, tiny_config: SedConfig) -> None:
    """Its weights would load, and hear something else. Models of that time do not say what validated them."""
    config = tiny_config.with_overrides({"model.multi_resolution": True})
    save_random_model(tmp_path, config)
    with pytest.raises(CheckpointError, match=r"multi_resolution=true of an earlier release, .* train again"):
        load_model(tmp_path)


def test_a_folder_holds_safetensors_and_json_only(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.json", "model.safetensors"]
    for name in ("config.json", "model.json"):
        assert isinstance(json.loads((saved / name).read_text()), dict)


def test_the_digest_of_weights_is_that_of_their_file(saved: Path) -> None:
    weights = {name: value.clone() for name, value in load_file(saved / "model.safetensors").items()}
    assert weights_digest(weights) == sha256_of(saved / "model.safetensors")
    images = {name: v.to(memory_format=torch.channels_last) if v.ndim == 4 else v for name, v in weights.items()}
    assert weights_digest(images) == sha256_of(saved / "model.safetensors")


@pytest.mark.parametrize("missing", ["model.safetensors", "model.json"])
def test_a_folder_without_a_whole_model_is_refused(copy: Path, missing: str) -> None:
    (copy / missing).unlink()
    with pytest.raises(CheckpointError, match=f"{copy}: no trained model here"):
        load_model(copy)


def test_a_missing_configuration_is_named(copy: Path) -> None:
    (copy / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be used"):
        load_model(copy)


# --- the training state


def test_the_last_state_is_loaded(tmp_path: Path) -> None:
    for epoch in (1, 2):
        save_state(tmp_path, {"epoch": epoch, "weights": {"w": torch.full((2,), float(epoch))}})
    state, note = load_state(tmp_path)
    assert state is not None
    assert (state["epoch"], state["weights"]["w"].tolist(), note) == (2, [2.0, 2.0], "")


def test_no_state_is_none(tmp_path: Path) -> None:
    assert load_state(tmp_path) == (None, "")


@pytest.mark.parametrize("n_bytes", [0, 30, 64, 65, 500])
def test_a_truncated_state_falls_back_to_the_one_before_and_says_so(tmp_path: Path, n_bytes: int) -> None:
    for epoch in (1, 2):
        save_state(tmp_path, {"epoch": epoch})
    path = tmp_path / "state.pt"
    path.write_bytes(path.read_bytes()[:n_bytes])
    state, note = load_state(tmp_path)
    assert state == {"epoch": 1}
    assert note == f"{tmp_path}: damaged training state passed over: state.pt"


def test_a_break_between_the_two_renames_leaves_the_state_before(tmp_path: Path) -> None:
    for epoch in (1, 2):
        save_state(tmp_path, {"epoch": epoch})
    (tmp_path / "state.pt").unlink()
    assert load_state(tmp_path) == ({"epoch": 1}, "")


def test_without_a_good_state_the_note_names_both(tmp_path: Path) -> None:
    for name in ("state.pt", "state.previous.pt"):
        (tmp_path / name).write_bytes(b"nothing good")
    assert load_state(tmp_path) == (
        None,
        f"{tmp_path}: damaged training state passed over: state.pt, state.previous.pt",
    )


def test_a_deleted_state_leaves_the_model(copy: Path) -> None:
    for epoch in (1, 2):
        save_state(copy, {"epoch": epoch})
    delete_state(copy)
    assert load_state(copy) == (None, "")
    assert load_model(copy).lineage.epoch == 7
