"""Pickles that leave a file behind when they are read: in tests of readers that must not run them."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import torch


class Touch:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch.__get__(self.path), ()  # type: ignore[return-value]


def pickled(trace: Path) -> bytes:
    return pickle.dumps(Touch(trace))


def zipped(trace: Path) -> bytes:
    content = io.BytesIO()
    torch.save(Touch(trace), content)
    return content.getvalue()
