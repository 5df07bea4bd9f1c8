"""Models as graphs of ONNX Runtime and of OpenVINO, which predict without PyTorch's layers. CPU only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import CheckpointError, ConfigError
from sed_model.model.devices import cpu_is_faster_in_bf16
from sed_model.model.frontend import InputImages
from sed_model.model.network import SedOutput

GraphRuntime = Literal["onnx", "openvino"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
PACKAGES: dict[str, str] = {"onnx": "onnxruntime", "openvino": "openvino"}
INPUTS, OUTPUTS = ("images", "target"), ("clip_logits", "frame_logits")
COMPUTES_IN: dict[str, str] = {"fp32": "f32", "fp16": "f32", "bf16": "bf16", "int8": "f32"}
"""OpenVINO's arithmetic between the layers. Some CPUs are slower in bf16: see `fastest`."""
Run = Callable[
    [Float32[np.ndarray, "batch channels mels frames"], Float32[np.ndarray, "batch 2"]],
    tuple[Float32[np.ndarray, "batch classes"], Float32[np.ndarray, "batch steps classes"]],
]
"""Images and targets -> clip logits and frame logits. May be called by several threads at once."""


class GraphModel(nn.Module):
    """In the place of a `SedModel`: `images` is the same code, and everything behind it runs as a graph."""

    def __init__(self, config: SedConfig, run: Run) -> None:
        super().__init__()
        self.images = InputImages(config.front_end, config.model.multi_resolution)
        self._run = run

    def forward(
        self, images: Float[Tensor, "batch channels mels frames"], target: Float[Tensor, "batch 2"] | None = None
    ) -> SedOutput:
        """Logits on the CPU; `target` as for `SedModel`."""
        if target is None:
            target = torch.tensor([[0.0, 1.0]]).repeat(len(images), 1)
        inputs = (tensor.detach().float().cpu().contiguous().numpy() for tensor in (images, target))
        return SedOutput(*(torch.from_numpy(logits) for logits in self._run(*inputs)))


def fastest(asked: Precision | Literal["auto"], runtime: GraphRuntime, native: bool | None = None) -> Precision:
    """What to export in where `asked` is auto: bf16 for OpenVINO on a CPU fast in it (`native`), else fp32."""
    if asked != "auto":
        return asked
    native = cpu_is_faster_in_bf16() if native is None else native
    return "bf16" if runtime == "openvino" and native else "fp32"


def computed_in(exported: Precision, native: bool | None = None) -> Precision:
    """What a graph is computed in here: one in bf16, whose weights are in fp32, in fp32 on a CPU that is slow in it."""
    native = cpu_is_faster_in_bf16() if native is None else native
    return "fp32" if exported == "bf16" and not native else exported


def check_installed(runtime: GraphRuntime) -> None:
    """
    Raises:
        ConfigError: the runtime's package is not installed.
    """
    package = PACKAGES[runtime]
    if find_spec(package) is None:
        raise ConfigError(
            f"--runtime {runtime}: the package {package} is not installed; pip install {package}, or predict with "
            "--runtime torch."
        )


def open_onnx(path: Path) -> Run:
    """An ONNX graph on one thread a call.

    Raises:
        ConfigError: onnxruntime is not installed.
        CheckpointError: it cannot open the file.
    """
    check_installed("onnx")
    runtime = import_module("onnxruntime")
    settings = runtime.SessionOptions()
    # Files run side by side, one thread each.
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    try:
        session = runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except _onnx_errors(runtime) as error:
        raise _cannot_open(path, error, "onnx") from None

    def run(images: Any, target: Any) -> Any:
        return tuple(session.run(list(OUTPUTS), dict(zip(INPUTS, (images, target), strict=True))))

    return run


def _onnx_errors(runtime: Any) -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises for a file that it cannot use; its errors have no base of their own."""
    raised = runtime.capi.onnxruntime_pybind11_state
    return tuple(
        getattr(raised, name) for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile")
    )


def open_openvino(xml: Path, weights: Path, precision: Precision = "fp32", n_threads: int = 1) -> Run:
    """An OpenVINO graph: `n_threads` calls at a time, one thread each.

    Raises:
        ConfigError: openvino is not installed.
        CheckpointError: it cannot open the files.
    """
    check_installed("openvino")
    openvino = import_module("openvino")
    settings = {
        "INFERENCE_PRECISION_HINT": COMPUTES_IN[precision],
        "INFERENCE_NUM_THREADS": n_threads,
        "NUM_STREAMS": n_threads,
        # Several models take turns on the same cores: the streams of two must not both hold on to one of them.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(xml, weights), "CPU", settings)
    except RuntimeError as error:
        raise _cannot_open(xml, error, "openvino") from None
    # What OpenVINO sets up when an array is first read deadlocks with the interpreter's lock where two threads do it at
    # once (a function's static that lets go of the lock while it is made).
    openvino.Tensor(np.zeros(1, np.float32)).data  # noqa: B018
    of_thread = threading.local()

    def run(images: Any, target: Any) -> Any:
        # A request holds its results until the next call: one for each thread.
        if not hasattr(of_thread, "request"):
            of_thread.request = compiled.create_infer_request()
        results = of_thread.request.infer(dict(zip(INPUTS, (images, target), strict=True)))
        return tuple(np.array(results[name], np.float32) for name in OUTPUTS)

    return run


def _cannot_open(path: Path, error: Exception, runtime: str) -> CheckpointError:
    reason = " ".join(str(error).split())[-200:]
    return CheckpointError(f"{path}: {PACKAGES[runtime]} cannot open it ({reason}); export the model again.")
