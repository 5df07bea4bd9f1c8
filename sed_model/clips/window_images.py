"""The images of validation windows, made once: they are the same in every epoch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from sed_model.clips.dataset import Batch, ValidationWindows

KEPT_BYTES = 128 * 2**20
"""So much a trial keeps: 400 windows of 10 s at the default front end. Those beyond are made anew in each epoch."""


class WindowImages(Dataset[Batch]):
    """Validation windows with their images [channels, mels, frames] as inputs, for a model on the CPU."""

    def __init__(self, windows: ValidationWindows, make_images: nn.Module, kept_bytes: int = KEPT_BYTES) -> None:
        self._windows, self._make_images = windows, make_images
        self.recordings = windows.recordings
        self._kept: dict[int, Batch] = {}
        self._bytes_left = kept_bytes

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, row: int) -> Batch:
        if row in self._kept:
            return self._kept[row]
        batch = self._windows[row]
        batch = batch._replace(inputs=self._images(batch.inputs))
        if batch.inputs.nbytes <= self._bytes_left:
            self._bytes_left -= batch.inputs.nbytes
            self._kept[row] = batch
        return batch

    @torch.no_grad()
    def _images(self, waveform: Tensor) -> Tensor:
        images: Tensor = self._make_images(waveform[None])[0]
        return images
