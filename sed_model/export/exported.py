"""Exported models: a graph in the model's folder, with a record that ties it to the model it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sed_model.core.errors import CheckpointError
from sed_model.core.files import sha256_of
from sed_model.core.paths import is_file
from sed_model.model.checkpoint import LoadedModel, read_config, read_lineage
from sed_model.model.graph import (
    GraphModel,
    GraphRuntime,
    Precision,
    check_installed,
    computed_in,
    open_onnx,
    open_openvino,
)

RECORD_FILE: dict[str, str] = {"onnx": "export.onnx.json", "openvino": "export.openvino.json"}
GRAPH_FILES: dict[str, tuple[str, ...]] = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin")}


class ExportRecord(BaseModel):
    """What was exported from which weights, and how far it is from PyTorch.

    `max_difference` is of probabilities, over `n_windows` of real audio. `macro_auc` and `macro_auc_torch` are those of
    the labelled train soundscapes, None where there are none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[1] = 1
    runtime: GraphRuntime
    precision: Precision
    weights_sha256: str
    files: dict[str, str]
    versions: dict[str, str]
    n_windows: int
    max_difference: float
    macro_auc: float | None = None
    macro_auc_torch: float | None = None


def export_command(folder: Path, runtime: str) -> str:
    return f"python -m trainables.export --model {folder} --format {runtime}"


def read_record(folder: Path, runtime: GraphRuntime) -> ExportRecord:
    """The record of an export, compared with the model and with the files beside it.

    Raises:
        CheckpointError: there is no export, it is damaged, or it is not of the model in the folder.
    """
    path, command = folder / RECORD_FILE[runtime], export_command(folder, runtime)
    if not is_file(path):
        raise CheckpointError(f"{folder}: has no export for {runtime}; make it: {command}")
    try:
        record = ExportRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        raise CheckpointError(f"{path}: is damaged or of another version; export again: {command}") from None
    if record.runtime != runtime or set(record.files) != set(GRAPH_FILES[runtime]):
        raise CheckpointError(f"{path}: is no record of an export for {runtime}; export again: {command}")
    if record.weights_sha256 != read_lineage(folder, with_weights=False).weights_sha256:
        raise CheckpointError(f"{path}: was exported from other weights than those of now; export again: {command}")
    for name, checksum in record.files.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != checksum:
            raise CheckpointError(
                f"{folder / name}: is missing, or does not match the checksum in {path.name}; export again: {command}"
            )
    return record


def load_exported(folder: Path, runtime: GraphRuntime, n_threads: int = 1) -> LoadedModel:
    """An exported model; model.safetensors need not be there. `n_threads` may predict with it at a time.

    One in bf16 is computed in fp32 where the CPU has no bf16 instructions.

    Raises:
        ConfigError: the runtime is not installed.
        CheckpointError: the export is missing, damaged, or not of this model.
    """
    check_installed(runtime)
    lineage, config = read_lineage(folder, with_weights=False), read_config(folder)
    precision = computed_in(read_record(folder, runtime).precision)
    paths = [folder / name for name in GRAPH_FILES[runtime]]
    run = open_onnx(*paths) if runtime == "onnx" else open_openvino(paths[0], paths[1], precision, n_threads)
    return LoadedModel(GraphModel(config, run).eval(), config, lineage)


def emulated_note(folders: Sequence[Path], runtime: GraphRuntime, native: bool | None = None) -> str:
    """A line where exports in bf16 are computed in fp32, because this CPU is slower in bf16 (not `native`); else ""."""
    exported = [read_record(folder, runtime).precision for folder in folders]
    changed = sum(computed_in(precision, native) != precision for precision in exported)
    if not changed:
        return ""
    return (
        f"{changed} of {len(exported)} models were exported in bf16, for which this CPU has no fast instructions: "
        "they are computed in fp32"
    )
