"""TensorBoard event files: what is written is there at once."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event

from sed_model.train.progress import EpochResult
from trainables.trials.event_file import EventFile


def result_of(epoch: int) -> EpochResult:
    return EpochResult(
        "train_bce", epoch, epoch, 9, 0.5, 0.75, 0.625, 0.625, "train_bce", epoch, 1e-3, 40.0, finished=False
    )


def values_of(path: Path) -> Iterator[tuple[int, str, Any]]:
    """Step, tag and value of each record: its length, a checksum, the event, a checksum."""
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack_from("<Q", data)
        event = Event.FromString(data[12 : 12 + length])
        yield from ((event.step, value.tag, value.simple_value) for value in event.summary.value)
        data = data[16 + length :]


def test_an_epoch_is_in_the_file_before_the_next_one(tmp_path: Path) -> None:
    with EventFile(tmp_path / "trial_0000") as events:
        for epoch in (1, 2):
            events.write_epoch(result_of(epoch))
            (file,) = (tmp_path / "trial_0000").iterdir()
            scores = [(step, value) for step, tag, value in values_of(file) if tag == "macro_auc"]
            assert scores == [(earlier, 0.625) for earlier in range(1, epoch + 1)]


def test_drawn_values_of_any_kind_are_told(tmp_path: Path) -> None:
    with EventFile(tmp_path) as events:
        events.write_hparams({"model.pool_type": "gem", "optim.ema": True, "lr": 1e-3, "augment.folder": None})
    (file,) = tmp_path.iterdir()

    assert all(name in file.read_bytes() for name in (b"model.pool_type", b"optim.ema", b"lr", b"augment.folder"))


def test_a_worker_without_a_folder_writes_nothing(tmp_path: Path) -> None:
    with EventFile(None) as events:
        events.write_hparams({"lr": 1e-3})
        events.write_epoch(result_of(1))

    assert list(tmp_path.iterdir()) == []
