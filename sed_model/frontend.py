"""Waveform -> log-mel, scaled to 0..1. A clip's log-mel depends on that clip alone, never on its batch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.transforms import MelSpectrogram

from sed_model.config import FrontEnd

POWER_FLOOR = 1e-10
REFERENCE_FLOOR_DB = -20.0
"""About 75 dB below a full-scale sine: quieter clips are not amplified any further, and digital silence maps to 0."""
CPU_CHUNK = 4
"""Clips a pass on a CPU: the temporaries of more than that fall out of its cache (1.8 times slower at 32 clips)."""


class LogMel(nn.Module):
    """Log-mel of each clip, 0..1: its loudest point is 1 and everything `top_db` below that is 0."""

    def __init__(self, settings: FrontEnd) -> None:
        super().__init__()
        self.top_db = settings.top_db
        self.mel = MelSpectrogram(
            sample_rate=settings.sample_rate_hz,
            n_fft=settings.n_fft,
            hop_length=settings.hop_length,
            n_mels=settings.n_mels,
            f_min=settings.f_min_hz,
            f_max=settings.f_max_hz,
            power=2.0,
        )
        # The window and the filters follow from the settings; a checkpoint need not carry them.
        for module in self.mel.modules():
            module._non_persistent_buffers_set.update(module._buffers)

    @torch.no_grad()
    def forward(self, waveforms: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch mels frames"]:
        chunk = CPU_CHUNK if waveforms.device.type == "cpu" else max(1, len(waveforms))
        with torch.autocast(waveforms.device.type, enabled=False):
            return torch.cat([scale_power(self.mel(part.float()), self.top_db) for part in waveforms.split(chunk)])


def scale_power(power: Float[Tensor, "batch mels frames"], top_db: float) -> Float[Tensor, "batch mels frames"]:
    """Mel power -> 0..1, relative to the loudest point of each clip."""
    level_db = power.clamp(min=POWER_FLOOR).log10_().mul_(10)
    reference_db = level_db.amax(dim=(-2, -1), keepdim=True).clamp(min=REFERENCE_FLOOR_DB)
    return level_db.sub_(reference_db - top_db).div_(top_db).clamp_(0, 1)


class InputImages(nn.Module):
    """What the backbone sees: a log-mel; with `multi_resolution` also a second one (n_fft x2, hop_length /2)."""

    def __init__(self, settings: FrontEnd, multi_resolution: bool) -> None:
        super().__init__()
        self.coarse = LogMel(settings)
        self.fine: LogMel | None = None
        if multi_resolution:
            finer = {"n_fft": settings.n_fft * 2, "hop_length": settings.hop_length // 2}
            self.fine = LogMel(settings.model_copy(update=finer))

    @property
    def n_channels(self) -> int:
        return 1 if self.fine is None else 2

    def forward(self, waveforms: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch channels mels frames"]:
        coarse = self.coarse(waveforms)
        if self.fine is None:
            return coarse.unsqueeze(1)
        fine = F.adaptive_avg_pool2d(self.fine(waveforms), coarse.shape[-2:])
        return torch.stack([coarse, fine], dim=1)
