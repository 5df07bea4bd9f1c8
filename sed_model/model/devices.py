"""Where a model runs, in which number format."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn

from sed_model.config.training import Optim
from sed_model.core.errors import ConfigError, TrainingError

ISAS_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of ONEDNN_MAX_CPU_ISA."""
ISAS_WITHOUT_AMX = (*ISAS_WITHOUT_BF16, "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512")
SLOWER = "1.5 to 3 times slower than fp32 in OpenVINO and a quarter slower in PyTorch"


@dataclass(frozen=True)
class Runtime:
    """A device with its autocast type; rank and world_size of this process among those that train one model."""

    device: torch.device
    autocast_dtype: torch.dtype | None
    channels_last: bool = True
    rank: int = 0
    world_size: int = 1

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(
            self.device.type, dtype=self.autocast_dtype or torch.bfloat16, enabled=self.autocast_dtype is not None
        )

    def place(self, model: nn.Module) -> nn.Module:
        """Move a model here, in the memory format that convolutions are fast in.

        Several processes with GPUs exchange their batch statistics. On CPUs, for which PyTorch has no SyncBatchNorm,
        each process normalises by its own; the running statistics are the first one's.
        """
        if self.device.type == "cuda" and self.world_size > 1:
            model = exchange_batch_statistics(model)
        if self.device.type == "cpu" and self.autocast_dtype is torch.bfloat16:
            for module in model.modules():
                if (
                    isinstance(module, nn.Conv2d)
                    and 1 < module.groups == module.in_channels
                    and max(module.kernel_size) > 3
                ):
                    train_in_fp32(module)
        memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        return model.to(self.device, memory_format=memory_format)  # type: ignore[call-overload]

    def images(self, images: torch.Tensor) -> torch.Tensor:
        return images.to(memory_format=torch.channels_last) if self.channels_last else images


def has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def exchange_batch_statistics(model: nn.Module) -> nn.Module:
    """The model with every BatchNorm taking its statistics over the batches of all processes; needs GPUs to train."""
    if any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
        return model
    # timm's own function: PyTorch's would drop the activations that timm fuses with its norms.
    converted: nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return converted


def train_in_fp32(module: nn.Module) -> None:
    """Take a layer out of a CPU's autocast where gradients are needed; its result has the type of its input.

    The backward pass of wide depthwise convolutions takes 2 to 6 times longer in bf16 (PyTorch 2.11 on AVX-512).
    """
    if "forward" not in vars(module):
        module.forward = functools.partial(_fp32_where_trained, module.forward)


def _fp32_where_trained(forward: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    if not (torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")):
        return forward(x)
    with torch.autocast("cpu", enabled=False):
        return forward(x.float()).to(x.dtype)


def choose_runtime(settings: Optim, rank: int = 0, world_size: int = 1) -> Runtime:
    """The GPU where there is one, else the CPU; `precision: auto` takes bf16 where the device computes in it.

    Raises:
        ConfigError: fp16 on a CPU, which has no fast arithmetic for it.
    """
    device = _device()
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if _computes_in_bf16(device) else ("fp16" if device.type == "cuda" else "fp32")
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("optim.precision=fp16: a CPU has no fast fp16; use auto, bf16 or fp32.")
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return Runtime(device, dtype, settings.channels_last, rank, world_size)


def prediction_runtime(settings: Optim) -> Runtime:
    """`choose_runtime` for a model that may come from another machine: what this device has not becomes auto."""
    device = _device()
    lacks = {"bf16": not _computes_in_bf16(device), "fp16": device.type == "cpu"}
    if lacks.get(settings.precision, False):
        settings = settings.model_copy(update={"precision": "auto"})
    return choose_runtime(settings)


def emulation_note(precision: str, option: str = "optim.precision", native: bool | None = None) -> str:
    """A line for who asks for bf16 where the CPU is slower in it, else ""; `native` None: what this machine does."""
    native = _computes_in_bf16(_device()) if native is None else native
    if precision != "bf16" or native:
        return ""
    return f"{option} bf16: this CPU has no fast instructions for bf16, {SLOWER}; auto takes what is fast here"


def cpu_is_faster_in_bf16(cpuinfo: str | None = None, max_isa: str | None = None) -> bool:
    """Whether bf16 is faster than fp32: with AMX, or AVX-512's instructions for it on an AMD.

    An Intel that has the latter alone (a virtual machine may hide AMX) trains 1.2 to 1.4 times slower in bf16, and
    computes OpenVINO's graphs 1.5 times slower; a CPU with neither emulates bf16.

    Args:
        cpuinfo: text with its flags; None: /proc/cpuinfo, or no flags where there is none.
        max_isa: the most that oneDNN may use; None: ONEDNN_MAX_CPU_ISA.
    """
    if cpuinfo is None:
        path = Path("/proc/cpuinfo")
        cpuinfo = path.read_text() if path.is_file() else ""
    if max_isa is None:
        max_isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    words = set(cpuinfo.split())
    if "amx_bf16" in words and max_isa.upper() not in ISAS_WITHOUT_AMX:
        return True
    return {"avx512_bf16", "AuthenticAMD"} <= words and max_isa.upper() not in ISAS_WITHOUT_BF16


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def _computes_in_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_is_faster_in_bf16()


def ran_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether an error says so: torch.OutOfMemoryError on a GPU, plain RuntimeErrors of PyTorch and oneDNN on a CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # oneDNN says the second where it has no room for the code of an operation (with more words it means other things).
    return "allocate memory" in str(error) or str(error) == "could not create a primitive"


@contextmanager
def explained_memory_errors(hint: str) -> Iterator[None]:
    """Turns memory that ran out into a TrainingError: "out of memory in", then `hint`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise TrainingError(f"out of memory in {hint}") from None
