"""What a trial tells TensorBoard."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import hparams, scalar

from sed_model.train.progress import EpochResult

SCALARS = ("train_loss", "val_loss", "macro_auc", "lr", "samples_per_s")


class EventFile:
    """A TensorBoard event file in a folder; without a folder nothing is written.

    What is written is in the file when the call returns. tensorboardX's SummaryWriter leaves that to a thread, for up
    to two minutes: a trial that is stopped would lose its last epochs, and a copy of the file would be of no certain
    length.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._writer = None if folder is None else EventsWriter(str(folder / "events"), f".{os.getpid()}")

    def write_hparams(self, drawn: Mapping[str, Any]) -> None:
        """The values drawn for a trial, for the HPARAMS page, beside the trial's scores."""
        values = {key: value if isinstance(value, bool | int | float) else str(value) for key, value in drawn.items()}
        self._write(hparams(values, {"macro_auc": 0.0}), 0)

    def write_epoch(self, result: EpochResult) -> None:
        told = result.as_report()
        names = dict.fromkeys((*SCALARS, result.metric))
        self._write([scalar(name, told[name]) for name in names], result.epoch)

    def _write(self, summaries: Iterable[Summary], step: int) -> None:
        if self._writer is None:
            return
        for summary in summaries:
            self._writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
