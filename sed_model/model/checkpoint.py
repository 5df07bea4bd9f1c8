"""Checkpoints. A model: safetensors, with its configuration and lineage as JSON. A training state: one checked file."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from safetensors.torch import save as serialise
from torch import Tensor

from sed_model.config.sed_config import SedConfig, config_from_dict
from sed_model.core.errors import CheckpointError, ConfigError
from sed_model.core.files import replacing, sha256_of, write_json
from sed_model.core.paths import is_file
from sed_model.model.graph import GraphModel
from sed_model.model.network import SedModel
from sed_model.model.probe_model import ProbeModel, check_weights
from sed_model.run_folder.split_record import Source, SplitRecord
from sed_model.teacher.description import ForeignModel, TeacherDescription

WEIGHTS_FILE = "model.safetensors"
LINEAGE_FILE = "model.json"
CONFIG_FILE = "config.json"
STATE_FILE = "state.pt"
PREVIOUS_STATE_FILE = "state.previous.pt"
STATE_ERRORS = (
    *(pickle.UnpicklingError, struct.error, RuntimeError, EOFError, OSError, MemoryError, OverflowError),
    *(ValueError, LookupError, TypeError, AttributeError),
)
"""What torch.load raises for a file that is none of its own."""
REASON_LENGTH = 200
"""Characters of another library's error that are quoted."""


class Parent(BaseModel):
    """The model that a stage started from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    stage: str
    weights_sha256: str


class Lineage(BaseModel):
    """Where a model comes from; what decides whether it may join an ensemble.

    A student of pseudo-labels has its `round` (from 1), its `teachers`' checksums and the fingerprint of the table; a
    model that starts from a student has its round too. `split` is what validated it; models of older versions lack it.
    `foreign` are the foreign models that it hears with, or has learned from by whatever way; `probe_of` is the one that
    a probe hears with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[1] = 1
    stage: str
    loss: str
    epoch: int
    parent: Parent | None
    classes: tuple[str, ...]
    data_fingerprint: str
    validation: str
    seed: int
    metrics: dict[str, float]
    round: int = 0
    teachers: tuple[str, ...] = ()
    pseudo_labels: str | None = None
    split: SplitRecord | None = None
    foreign: tuple[ForeignModel, ...] = ()
    probe_of: TeacherDescription | None = None
    weights_sha256: str = ""

    @property
    def scores(self) -> Literal["softmax", "sigmoid"]:
        """What its probabilities are: those of cross-entropy share 1 among the classes, all others are a class's own.

        The two do not mix: a mean, a rule or a threshold for one says nothing about the other.
        """
        return "softmax" if self.loss == "ce" else "sigmoid"

    def as_source(self, name: str) -> Source:
        """What a training that starts from the model has to know of it."""
        return Source(name, self.split, self.data_fingerprint if self.round else None)


def foreign_of(lineages: Iterable[Lineage]) -> tuple[ForeignModel, ...]:
    """The foreign models behind some models, each once."""
    return tuple(dict.fromkeys(one for lineage in lineages for one in lineage.foreign))


def licence_lines(lineages: Iterable[Lineage]) -> list[str]:
    """What follows from the licences of foreign models, a line each; whoever passes a model on is told."""
    return [
        f"licence: {one} is behind these models, and its licence follows what is made with them"
        for one in foreign_of(lineages)
    ]


@dataclass(frozen=True)
class LoadedModel:
    """A model that predicts: PyTorch's, an exported graph, or a probe of a foreign model."""

    model: SedModel | GraphModel | ProbeModel
    config: SedConfig
    lineage: Lineage

    @property
    def as_parent(self) -> Parent:
        return Parent(stage=self.lineage.stage, weights_sha256=self.lineage.weights_sha256)


def save_model(folder: Path, weights: Mapping[str, Tensor], config: SedConfig, lineage: Lineage) -> Lineage:
    """Write model.safetensors, config.json and model.json; the last, with the checksum of the first, seals the set."""
    with replacing(folder / WEIGHTS_FILE) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, temporary)
        lineage = lineage.model_copy(update={"weights_sha256": sha256_of(temporary)})
    write_json(folder / CONFIG_FILE, config.model_dump(mode="json"))
    write_json(folder / LINEAGE_FILE, lineage.model_dump(mode="json"))
    return lineage


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """The checksum that model.safetensors with these weights has."""
    return hashlib.sha256(serialise({name: tensor.contiguous() for name, tensor in weights.items()})).hexdigest()


def read_lineage(folder: Path, with_weights: bool = True) -> Lineage:
    """The lineage of the model in a folder; an exported one (`with_weights` false) may lack PyTorch's weights.

    Raises:
        CheckpointError: there is no model, or its model.json is damaged.
    """
    path = folder / LINEAGE_FILE
    if (with_weights and not is_file(folder / WEIGHTS_FILE)) or not is_file(path):
        raise CheckpointError(
            f"{folder}: no trained model here ({WEIGHTS_FILE} with {LINEAGE_FILE}); give the folder of one, such as "
            "runs/NAME/trials/trial_0003."
        )
    try:
        return Lineage.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: is damaged or of another version ({_reason(error)}); train again.") from None


def load_model(folder: Path) -> LoadedModel:
    """The model in a folder, in evaluation mode on the CPU.

    Raises:
        CheckpointError: something is missing, damaged, or does not fit together.
    """
    lineage = read_lineage(folder)
    config = read_config(folder)
    if config.model.multi_resolution and lineage.split is None:
        raise CheckpointError(
            f"{folder}: model.multi_resolution=true of an earlier release, whose second log-mel was another one; "
            "train again."
        )
    weights_path = folder / WEIGHTS_FILE
    if sha256_of(weights_path) != lineage.weights_sha256:
        raise CheckpointError(f"{weights_path}: does not match the checksum in {LINEAGE_FILE}; copy the folder again.")
    try:
        weights = load_file(weights_path)
        model = _empty_model(config, lineage, weights)
        model.load_state_dict(weights)
    except (SafetensorError, RuntimeError, ConfigError, KeyError) as error:
        raise CheckpointError(f"{weights_path}: does not fit {CONFIG_FILE} ({_reason(error)}); train again.") from None
    if bad := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise CheckpointError(f"{weights_path}: {bad[0]} holds NaN or Inf; the model has diverged, train again.")
    return LoadedModel(model.eval(), config, lineage)


def _empty_model(config: SedConfig, lineage: Lineage, weights: Mapping[str, Tensor]) -> SedModel | ProbeModel:
    if lineage.probe_of is not None:
        check_weights(weights, len(lineage.classes))
        return ProbeModel(lineage.probe_of, config, weights, lineage.foreign[0].sha256 if lineage.foreign else "")
    return SedModel(without_pretraining(config), len(lineage.classes))


def read_config(folder: Path) -> SedConfig:
    """
    Raises:
        CheckpointError: the model's configuration is missing or damaged.
    """
    path = folder / CONFIG_FILE
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(tree, dict):
            raise ConfigError(f"a {type(tree).__name__}, not a mapping of keys")
        return config_from_dict(tree)
    except (OSError, ValueError, RecursionError, ConfigError) as error:
        raise CheckpointError(f"{path}: cannot be used ({error}); train again.") from None


def without_pretraining(config: SedConfig) -> SedConfig:
    """A copy whose model starts from random weights: for models whose weights come from a checkpoint."""
    return config.with_overrides({"model.pretrained": False, "model.weights": None})


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a full training state with its checksum; the state before it stays as a fallback."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    payload = buffer.getbuffer()
    path = folder / STATE_FILE
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            file.write(hashlib.sha256(payload).hexdigest().encode() + b"\n")
            file.write(payload)
        if path.exists():
            path.replace(folder / PREVIOUS_STATE_FILE)


def load_state(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """The last good training state of a folder (or None), and a note on damaged ones ("" where none are)."""
    damaged = []
    for name in (STATE_FILE, PREVIOUS_STATE_FILE):
        path = folder / name
        if not is_file(path):
            continue
        digest, _, payload = path.read_bytes().partition(b"\n")
        if hashlib.sha256(payload).hexdigest().encode() != digest:
            damaged.append(name)
            continue
        try:
            state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except STATE_ERRORS:
            state = None
        if isinstance(state, dict):
            return state, _damage_note(folder, damaged)
        damaged.append(name)
    return None, _damage_note(folder, damaged)


def delete_state(folder: Path) -> None:
    """Remove the training state of a finished run; its best model stays."""
    for name in (STATE_FILE, PREVIOUS_STATE_FILE):
        (folder / name).unlink(missing_ok=True)


def _damage_note(folder: Path, damaged: list[str]) -> str:
    return f"{folder}: damaged training state passed over: {', '.join(damaged)}" if damaged else ""


def _reason(error: Exception) -> str:
    """What an error has to say, short enough for one line."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors()[:3])
    # PyTorch's first line says no more than that there are errors.
    return " ".join(line.strip() for line in str(error).strip().splitlines()[:2])[:REASON_LENGTH]


def start_from(model: SedModel, parent: LoadedModel, config: SedConfig, classes: tuple[str, ...]) -> None:
    """Give the model its parent's weights.

    Raises:
        CheckpointError: the parent knows other classes, or is built otherwise.
    """
    stage = parent.lineage.stage
    if parent.lineage.classes != classes:
        strange = sorted(set(parent.lineage.classes) ^ set(classes))
        difference = f"{', '.join(strange[:5])} in one of them only" if strange else "in another order"
        raise CheckpointError(
            f"the {stage} model knows {len(parent.lineage.classes)} classes, the data has {len(classes)} "
            f"({difference}); train {stage} on this data."
        )
    try:
        model.load_state_dict(parent.model.state_dict())
    except RuntimeError:
        theirs = parent.config.flat()
        changes = [
            f"{key}={value} (there {theirs[key]})"
            for key, value in config.flat().items()
            if key.startswith("model.") and value != theirs[key]
        ]
        raise CheckpointError(
            f"the {stage} model does not fit {', '.join(changes)}; keep these as they were, or train {stage} again."
        ) from None
