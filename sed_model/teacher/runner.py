"""Running a foreign model: windows of audio -> embeddings and logits, by LiteRT (.tflite) or ONNX Runtime (.onnx)."""

from __future__ import annotations

import importlib.util
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from sed_model.core.errors import ConfigError
from sed_model.core.texts import examples, first_line, nearest
from sed_model.teacher.description import TeacherDescription
from sed_model.teacher.first_window import try_first_window

PACKAGES = {".tflite": "ai_edge_litert", ".onnx": "onnxruntime"}
Run = Callable[[Float32[np.ndarray, " samples"]], list[NDArray[Any]]]
"""One window -> the tensors that were asked for."""
ERRORS = (ValueError, RuntimeError, TypeError, IndexError)
"""What the runtimes raise for a damaged file, or one that is none of theirs; ONNX Runtime has others besides."""


@dataclass(frozen=True)
class Heard:
    """What a foreign model says of windows; `logits` has no columns where the description names none."""

    embeddings: Float32[np.ndarray, "windows dim"]
    logits: Float32[np.ndarray, "windows labels"]


@dataclass(frozen=True)
class Teacher:
    """A foreign model, ready to hear. Pickles as its description; one thread at a time is inside its runtime.

    Attributes:
        dim: width of its embeddings.
        n_logits: of a window; 0 where the description names none.
    """

    description: TeacherDescription
    dim: int
    n_logits: int
    _run: Run = field(repr=False, compare=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    def __reduce__(self) -> tuple[Callable[[TeacherDescription, bool], Teacher], tuple[TeacherDescription, bool]]:
        return load_teacher, (self.description, True)

    def hear(self, windows: Float32[np.ndarray, "windows samples"]) -> Heard:
        """
        Args:
            windows: each `description.window_s` long, at its sample rate, -1..1.

        Raises:
            ConfigError: the model gives no numbers, or fails on its own input.
        """
        embeddings = np.empty((len(windows), self.dim), np.float32)
        logits = np.empty((len(windows), self.n_logits), np.float32)
        for row, window in enumerate(windows):
            with self._lock:
                tensors = _told(self._run, window, self.description)
            embeddings[row] = tensors[0].ravel()
            if self.n_logits:
                logits[row] = tensors[1].ravel()
        if not (np.isfinite(embeddings).all() and np.isfinite(logits).all()):
            raise ConfigError(f"{self.description.name}: says NaN or Inf of a window; its file is damaged.")
        return Heard(embeddings, logits)


def load_teacher(description: TeacherDescription, is_tried: bool = False) -> Teacher:
    """
    Args:
        is_tried: the file has been loaded before, so that no other process has to try it first.

    Raises:
        ConfigError: the runtime is not installed, the file is not there, is damaged or hostile, lacks a tensor that the
            description names, or hears other windows; or it has another number of labels than of logits.
    """
    path = description.path
    names = [description.embedding, *([] if description.logits is None else [description.logits])]
    package = PACKAGES[path.suffix.lower()]
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"{description.name}: the package {package.replace('_', '-')} is not installed; pip install '.[teacher]', "
            "or make teacher."
        )
    if not is_tried:
        try_first_window(description)
    run = (_tflite if path.suffix.lower() == ".tflite" else _onnx)(path, names, description)
    tensors = _told(run, np.zeros(description.window_samples, np.float32), description)
    sizes = [tensor.size for tensor in tensors]
    n_labels = len(description.read_labels())
    if description.logits is not None and n_labels and n_labels != sizes[1]:
        raise ConfigError(
            f"{description.name}: has {sizes[1]} logits in {description.logits}, but {n_labels} labels; name the "
            "labels of this model."
        )
    return Teacher(description, sizes[0], sizes[1] if description.logits is not None else 0, run)


def _told(run: Run, window: Float32[np.ndarray, " samples"], description: TeacherDescription) -> list[NDArray[Any]]:
    try:
        return run(window)
    except errors_of(description.path) as error:
        raise ConfigError(
            f"{description.path}: cannot hear a window ({first_line(error)}); is it another model?"
        ) from None


def errors_of(path: Path) -> tuple[type[Exception], ...]:
    """What the runtime of the file raises for one that it cannot use; ONNX Runtime's errors share no base."""
    if path.suffix.lower() != ".onnx":
        return ERRORS
    from onnxruntime.capi import onnxruntime_pybind11_state as raised

    own = [one for one in vars(raised).values() if isinstance(one, type) and issubclass(one, Exception)]
    return (*ERRORS, *own)


def _tflite(path: Path, names: Sequence[str], description: TeacherDescription) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    try:
        with warnings.catch_warnings():
            # The embedding is no output of BirdNET, and only this keeps it; it takes a few megabytes.
            warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors", category=UserWarning)
            interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
        (inputs,) = interpreter.get_input_details()
        interpreter.resize_tensor_input(inputs["index"], [1, description.window_samples], strict=True)
        interpreter.allocate_tensors()
        by_name = {one["name"]: one["index"] for one in interpreter.get_tensor_details()}
    except ERRORS as error:
        raise ConfigError(_no_model(path, description, first_line(error))) from None
    indices = [by_name[_known(name, by_name, path)] for name in names]

    def run(window: Float32[np.ndarray, " samples"]) -> list[NDArray[Any]]:
        interpreter.set_tensor(inputs["index"], window[None])
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in indices]

    return run


def _onnx(path: Path, names: Sequence[str], description: TeacherDescription) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (inputs,) = session.get_inputs()
    except errors_of(path) as error:
        raise ConfigError(_no_model(path, description, first_line(error))) from None
    outputs = [one.name for one in session.get_outputs()]
    wanted = [_known(name, outputs, path) for name in names]

    def run(window: Float32[np.ndarray, " samples"]) -> list[NDArray[Any]]:
        return [np.asarray(tensor) for tensor in session.run(wanted, {inputs.name: window[None]})]

    return run


def _known(name: str, names: Any, path: Path) -> str:
    if name not in names:
        raise ConfigError(
            f"{path}: has no tensor {name!r}{nearest(name, names)}; it has {examples(sorted(filter(None, names)))}."
        )
    return name


def _no_model(path: Path, description: TeacherDescription, reason: str) -> str:
    return (
        f"{path}: is no model of one input of {description.window_samples} samples ({description.window_s:g} s at "
        f"{description.sample_rate_hz} Hz): {reason}; give another file, or describe it as it is."
    )
