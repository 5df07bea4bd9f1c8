"""Waveform -> log-mel, scaled to 0..1. A clip's log-mel depends on that clip alone, never on its batch."""

from __future__ import annotations

import warnings

import torch
from jaxtyping import Float, Float32, Int16
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.transforms import MelSpectrogram

from sed_model.config.sed_config import FrontEnd
from sed_model.model.fast_mel import (
    INT16_SCALE,
    POWER_FLOOR,
    REFERENCE_FLOOR_DB,
    shared_fast_mel,
    shared_short_mel,
    short_filters,
    short_transform,
)

CPU_CHUNK = 1
"""Clips a pass of torchaudio on a CPU. The temporaries of one stay in its cache; from four clips on glibc may take each
anew from the kernel, which made log-mels 1.8 times slower in some runs and not in others."""

Waveforms = Float[Tensor, "batch samples"] | Int16[Tensor, "batch samples"]
"""int16 counts as full scale 32768."""


class LogMel(nn.Module):
    """Log-mel of each clip, 0..1: its loudest point is 1 and everything `top_db` below that is 0.

    On a CPU by the compiled loops of `fast_mel`; elsewhere, and in a graph that is traced, by torchaudio. With `short`
    it is that of `fast_mel.ShortMel`: as many frames, each from a shorter stretch of time.
    """

    def __init__(self, settings: FrontEnd, short: bool = False) -> None:
        super().__init__()
        self.settings, self.short = settings, short
        transform = short_transform(settings) if short else settings
        with warnings.catch_warnings():
            # Empty filters of the short transform: they are replaced.
            warnings.filterwarnings("ignore", message="At least one mel filterbank", category=UserWarning)
            self.mel = MelSpectrogram(
                sample_rate=settings.sample_rate_hz,
                n_fft=transform.n_fft,
                hop_length=transform.hop_length,
                n_mels=settings.n_mels,
                f_min=settings.f_min_hz,
                f_max=settings.f_max_hz,
                power=2.0,
            )
        if short:
            self.mel.mel_scale.fb = torch.from_numpy(short_filters(settings).T.copy())
        # The window and the filters follow from the settings; a checkpoint need not carry them.
        for module in self.mel.modules():
            module._non_persistent_buffers_set.update(module._buffers)

    @torch.no_grad()
    def forward(self, waveforms: Waveforms) -> Float32[Tensor, "batch mels frames"]:
        if waveforms.device.type != "cpu" or _is_traced():
            return self.by_torchaudio(waveforms)
        samples = waveforms if waveforms.dtype == torch.int16 else waveforms.float()
        fast = shared_short_mel(self.settings) if self.short else shared_fast_mel(self.settings)
        return torch.from_numpy(fast.log_mel_batch(samples.detach().numpy(), torch.get_num_threads()))

    @torch.no_grad()
    def by_torchaudio(self, waveforms: Waveforms) -> Float32[Tensor, "batch mels frames"]:
        """The same values, within 1e-5, by library calls alone: what `forward` does on an accelerator."""
        samples = waveforms * float(INT16_SCALE) if waveforms.dtype == torch.int16 else waveforms.float()
        chunk = CPU_CHUNK if samples.device.type == "cpu" else max(1, len(samples))
        with torch.autocast(samples.device.type, enabled=False):
            return torch.cat([scale_power(self._power(part), self.settings.top_db) for part in samples.split(chunk)])

    def _power(self, samples: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch mels frames"]:
        power: Tensor = self.mel(samples)
        if not self.short:
            return power
        steps = F.pad(power, (1, 1), mode="replicate")
        n_frames = (power.shape[-1] + 1) // 2
        before, centre, behind = (steps[..., first::2][..., :n_frames] for first in range(3))
        return 0.5 * centre + 0.25 * (before + behind)


def _is_traced() -> bool:
    """Whether this call makes a graph (torch.compile, torch.export, TorchScript), which cannot leave torch."""
    return torch.compiler.is_compiling() or bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def scale_power(power: Float[Tensor, "batch mels frames"], top_db: float) -> Float[Tensor, "batch mels frames"]:
    """Mel power -> 0..1, relative to the loudest point of each clip."""
    level_db = power.clamp(min=POWER_FLOOR).log10_().mul_(10)
    reference_db = level_db.amax(dim=(-2, -1), keepdim=True).clamp(min=REFERENCE_FLOOR_DB)
    return level_db.sub_(reference_db - top_db).div_(top_db).clamp_(0, 1)


class InputImages(nn.Module):
    """What the backbone sees: a log-mel; with `multi_resolution` also one of short transforms, which tells when."""

    def __init__(self, settings: FrontEnd, multi_resolution: bool) -> None:
        super().__init__()
        self.log_mels = nn.ModuleList([LogMel(settings)])
        if multi_resolution:
            self.log_mels.append(LogMel(settings, short=True))

    @property
    def n_channels(self) -> int:
        return len(self.log_mels)

    def forward(self, waveforms: Waveforms) -> Float32[Tensor, "batch channels mels frames"]:
        return torch.stack([log_mel(waveforms) for log_mel in self.log_mels], dim=1)
