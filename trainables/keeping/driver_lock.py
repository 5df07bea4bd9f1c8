"""One driver at a time writes into a folder: two searches in one run folder would mix their trials and tables."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from sed_model.core.errors import ConfigError
from sed_model.core.files import write_json

LOCK_FILE = ".driver.lock"
"""The kernel frees the lock when the process ends, however it ends; of one that is killed the file stays."""
HOLDER_FILE = ".driver.json"
"""Who has the lock, for people."""
WAIT_S = 0.5
"""`holder_of` has a lock for a moment, too."""


@dataclass(frozen=True)
class Holder:
    """A process that writes into a folder; `what` it is is one word, such as search."""

    what: str
    host: str
    process_id: int
    since: str


@contextmanager
def only_driver(folder: Path, what: str) -> Iterator[None]:
    """For the length of the block no other driver writes into the folder, which is made.

    Raises:
        ConfigError: another one does. It names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=WAIT_S)
    except Timeout:
        raise _refusal(folder) from None
    except OSError as error:
        print(f"{folder}: this file system has no locks ({error.strerror}); start nothing else there", flush=True)
    host = socket.gethostname()
    before = _read_holder(folder)
    if before is not None and before.host != host:
        print(
            f"{folder}: a {before.what} on {before.host} (process {before.process_id}, since {before.since}) did not "
            "end in order; see to it that it is dead, for some shared folders do not pass locks on",
            flush=True,
        )
    try:
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        write_json(folder / HOLDER_FILE, asdict(Holder(what, host, os.getpid(), now)))
        yield
    finally:
        (folder / HOLDER_FILE).unlink(missing_ok=True)
        if lock.is_locked:
            (folder / LOCK_FILE).unlink(missing_ok=True)  # whoever waits for it looks for it again
        lock.release()


def check_free(folder: Path) -> None:
    """
    Raises:
        ConfigError: a driver writes into the folder.
    """
    if is_held(folder):
        raise _refusal(folder)


def may_be_held(folder: Path) -> bool:
    """Whether a driver may write into the folder, also where locks do not work or do not reach other machines."""
    if is_held(folder):
        return True
    holder = _read_holder(folder)
    return holder is not None and (
        holder.host != socket.gethostname() or Path("/proc", str(holder.process_id)).exists()
    )


def is_held(folder: Path) -> bool:
    """Whether a driver writes into the folder."""
    if not (folder / LOCK_FILE).is_file():
        return False
    try:
        with FileLock(folder / LOCK_FILE).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # not to be written to, or without locks
        return False


def _refusal(folder: Path) -> ConfigError:
    holder = _read_holder(folder)
    if holder is None:
        return ConfigError(f"{folder}: another process writes there; wait until it has ended, or stop it.")
    message = (
        f"{folder}: a {holder.what} on {holder.host} (process {holder.process_id}, since {holder.since}) writes there; "
        "wait until it has ended, or stop it."
    )
    if holder.host != socket.gethostname():
        message += f" If that machine has failed, remove {folder / LOCK_FILE}."
    return ConfigError(message)


def _read_holder(folder: Path) -> Holder | None:
    try:
        return Holder(**json.loads((folder / HOLDER_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
