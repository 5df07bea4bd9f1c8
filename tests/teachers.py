"""Small foreign models with a linear embedding that is known by hand, as .tflite and as .onnx files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from sed_model.teacher.description import TeacherDescription, checked_description
from sed_model.teacher.runner import Teacher

RATE_HZ = 8_000
LABELS = ("Avis grekis_Great Kiskadee", "Avis abethr1_African Thrush", "Noise_Noise", "Canis lupus_Wolf")
"""A logit each; the first two are birds of the tiny data."""
TO_LOGITS = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 3], [1, 1, 1]], np.float32)


def to_embedding(n_samples: int) -> np.ndarray:
    """[3, samples]: the embedding of a window is its mean, its first sample and its last one."""
    weights = np.zeros((3, n_samples), np.float32)
    weights[0], weights[1, 0], weights[2, -1] = 1 / n_samples, 1, 1
    return weights


def write_tflite(path: Path, n_samples: int, weights: np.ndarray | None = None) -> Path:
    """samples -> embedding -> logits, in two fully connected layers; the embedding is no output of the graph."""
    layers = [to_embedding(n_samples) if weights is None else weights, TO_LOGITS]
    buffers = [b"", *(layer.astype(np.float32).tobytes() for layer in layers)]
    tensors = [
        _tensor("samples", [1, n_samples]),
        _tensor("to_embedding", list(layers[0].shape), 1),
        _tensor("embedding", [1, 3]),
        _tensor("to_logits", list(layers[1].shape), 2),
        _tensor("logits", [1, len(LABELS)]),
    ]
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs = tensors, [0], [4]
    graph.operators = [_fully_connected([0, 1, -1], 2), _fully_connected([2, 3, -1], 4)]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [_buffer(data) for data in buffers]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _tensor(name: str, shape: list[int], buffer: int = 0) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, schema.TensorType.FLOAT32, buffer
    return tensor


def _buffer(data: bytes) -> Any:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8) if data else None
    return buffer


def _fully_connected(inputs: list[int], output: int) -> Any:
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = inputs, [output]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    return operator


def write_onnx(path: Path, n_samples: int, weights: np.ndarray | None = None) -> Path:
    """samples -> embedding -> logits, both of them outputs of the graph."""
    layers = [to_embedding(n_samples) if weights is None else weights, TO_LOGITS]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["samples", "to_embedding"], ["embedding"]),
            helper.make_node("MatMul", ["embedding", "to_logits"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("samples", TensorProto.FLOAT, ["batch", n_samples])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)]),
        ],
        [
            numpy_helper.from_array(np.ascontiguousarray(layer.T, np.float32), name)
            for layer, name in zip(layers, ("to_embedding", "to_logits"), strict=True)
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


WRITERS: dict[str, Callable[..., Path]] = {".tflite": write_tflite, ".onnx": write_onnx}


def describe(file: Path, window_s: float = 0.001, hop_s: float | None = None, **others: Any) -> TeacherDescription:
    """A description of a file that `write_tflite` or `write_onnx` made, with LABELS beside it."""
    labels = file.with_name("labels.txt")
    labels.write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    tree = {
        "name": "tiny", "file": str(file), "labels": str(labels), "sample_rate_hz": RATE_HZ, "window_s": window_s,
        "hop_s": window_s if hop_s is None else hop_s, "embedding": "embedding", "logits": "logits",
    }  # fmt: skip
    return checked_description(tree | others, "test")


def tiny_teacher(folder: Path, suffix: str = ".tflite", window_s: float = 0.001, **others: Any) -> TeacherDescription:
    """The model file made in `folder`, and its description."""
    return describe(WRITERS[suffix](folder / f"tiny{suffix}", round(window_s * RATE_HZ)), window_s, **others)


def windows_heard(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of windows that foreign models hear from now on, one a call."""
    counts: list[int] = []
    hear = Teacher.hear

    def counted(self: Teacher, windows: Any) -> Any:
        counts.append(len(windows))
        return hear(self, windows)

    monkeypatch.setattr(Teacher, "hear", counted)
    return counts
