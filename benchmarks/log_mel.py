"""Log-mel of 10 s clips on one core: torchaudio on a batch of 32, against it in chunks and against `LogMel`."""

from __future__ import annotations

import sys

import torch
from _common import Side, interleaved_ms, plain_log_mel, report

from sed_model.config.sed_config import FrontEnd
from sed_model.model.frontend import LogMel

BATCH, CLIP_S, N_ROUNDS = 32, 10, 7
LIBRARY_TARGET, KERNEL_TARGET = 1.7, 4.0


def main() -> int:
    s = FrontEnd()
    clips = 0.1 * torch.randn(BATCH, CLIP_S * s.sample_rate_hz, generator=torch.Generator().manual_seed(0))
    plain, log_mel = plain_log_mel(s), LogMel(s)
    difference = float((log_mel.by_torchaudio(clips) - log_mel(clips)).abs().max())
    sides = [
        Side(lambda _: plain(clips), BATCH),
        Side(lambda _: log_mel.by_torchaudio(clips), BATCH),
        Side(lambda _: log_mel(clips), BATCH),
    ]
    plain_ms, chunked_ms, kernel_ms = interleaved_ms(sides, N_ROUNDS)
    holds = [
        report("log_mel_10s_library_calls", (plain_ms, chunked_ms), LIBRARY_TARGET),
        report("log_mel_10s_kernel", (plain_ms, kernel_ms), KERNEL_TARGET),
    ]
    if difference > 1e-4:
        print(f"the kernel differs from torchaudio by {difference:.2g}", file=sys.stderr)
    return 0 if all(holds) and difference <= 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
