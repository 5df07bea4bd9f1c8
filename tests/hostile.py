"""What the suites of hostile input (test_hostile_*.py) share: no case hangs, and every one is refused or read right.

`SED_HOSTILE_EXAMPLES=5000 pytest tests/*/test_hostile_*.py` draws that many random examples a property, from a new
seed each time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from sed_model.core.errors import UserError

EXAMPLES = int(os.environ.get("SED_HOSTILE_EXAMPLES", "40"))
"""Random examples that each property test draws."""
LONGEST_S = 10
LONGEST_MESSAGE = 6_000
Outcome = Callable[[Callable[[], object]], tuple[int, str, str]]
"""Runs a command: exit status, what it prints, and its message."""

drawn = settings(
    max_examples=EXAMPLES,
    derandomize="SED_HOSTILE_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class HangsError(Exception):
    """A case took longer than LONGEST_S."""


@contextmanager
def in_time() -> Iterator[None]:
    """Ends a case that hangs, also one that waits in a system call."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise HangsError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def refusal(call: Callable[[], object], *words: str, kind: type[Exception] = UserError) -> str:
    """The message of the user's error that `call` has to raise; every one of `words` is in it."""
    with in_time(), pytest.raises(kind) as raised:
        call()
    message = str(raised.value)
    assert [word for word in words if word not in message] == []
    assert len(message) < LONGEST_MESSAGE
    return message


def refused(
    call: Callable[[], object], *words: str, kind: type[Exception] | tuple[type[Exception], ...] = UserError
) -> bool:
    """Whether `call` raises a user's error, with `words` in it; any other error is a fault, and so is a hang."""
    message = None
    with in_time():
        try:
            call()
        except kind as error:
            message = str(error)
    assert message is None or [word for word in words if word not in message] == []
    return message is not None


# --- what stands where a file should be


def as_folder(path: Path) -> None:
    path.mkdir()


def as_loop(path: Path) -> None:
    path.symlink_to(path.name)


def as_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


NO_FILES: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a folder": as_folder,
    "a link to itself": as_loop,
    "a link to a device": as_device,
}
"""What puts them there; a pipe would block a reader for ever, the device fill the memory."""


def put_in_place(path: Path, put: Callable[[Path], None]) -> None:
    path.unlink(missing_ok=True)
    put(path)


def deep_folder(parent: Path, n_levels: int = 20) -> None:
    """Folders within folders, whose paths get longer than any that may be opened: unreadable for root, too."""
    at = os.open(parent, os.O_RDONLY)
    try:
        for _ in range(n_levels):
            os.mkdir("d" * 240, dir_fd=at)
            below = os.open("d" * 240, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
    finally:
        os.close(at)


# --- damaged content


def truncated(path: Path, percent: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * percent / 100)])


def overwritten(path: Path, place: float, data: bytes) -> None:
    """Other bytes at a place (0..1) of a file."""
    content = bytearray(path.read_bytes())
    start = int(len(content) * place)
    content[start : start + len(data)] = data
    path.write_bytes(bytes(content))


places = st.floats(0, 1, exclude_max=True)
"""Of a file, for `overwritten`."""
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2)
)
"""What a JSON or YAML file may hold."""

KINDS_OF_COLUMNS: list[tuple[pa.DataType, st.SearchStrategy[object]]] = [
    (pa.null(), st.none()),
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-(2**7), 2**7 - 1)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.decimal128(5, 2), st.decimals(-100, 100, places=2)),
    (pa.string(), st.text(max_size=6)),
    (pa.large_string(), st.text(max_size=6)),
    (pa.dictionary(pa.int32(), pa.string()), st.text(max_size=2)),
    (pa.binary(), st.binary(max_size=6)),
    (pa.date32(), st.dates()),
    (pa.timestamp("us"), st.datetimes()),
    (pa.list_(pa.float32()), st.lists(st.floats(width=32) | st.none(), max_size=3)),
    (pa.list_(pa.string()), st.lists(st.text(max_size=2) | st.none(), max_size=3)),
    (pa.struct([("a", pa.int64())]), st.fixed_dictionaries({"a": st.integers(0, 3)})),
]


@st.composite
def columns(draw: st.DrawFn, n_rows: int) -> pa.Array:
    """A column of a Parquet table, of any kind."""
    stored, values = draw(st.sampled_from(KINDS_OF_COLUMNS))
    return pa.array(draw(st.lists(values | st.none(), min_size=n_rows, max_size=n_rows)), stored)


def with_column(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    """The table with a column more, or another in the place of one."""
    if name not in table.column_names:
        return table.append_column(name, column)
    return table.set_column(table.column_names.index(name), name, column)


DEEP = b"[" * 100_000
NO_JSON: dict[str, bytes] = {
    "nothing": b"",
    "another encoding": '{"stage": "é"}'.encode("utf-16"),
    "Latin-1": b'{"stage": "\xe9"}',
    "deep lists": DEEP,
    "a NUL": b'{"stage": "a\0b"}',
    "digits without end": b'{"epoch": ' + b"9" * 5_000 + b"}",
}
ODD_JSON: dict[str, bytes] = NO_JSON | {
    "null": b"null",
    "a list": b"[]",
    "an empty mapping": b"{}",
    "NaN": b"NaN",
}
NO_TABLES: dict[str, bytes] = {
    "nothing": b"",
    "twice the magic": b"PAR1PAR1",
    "a footer beyond the file": b"PAR1" + b"\xff\xff\xff\x7fPAR1",
    "zeros": bytes(500),
}
"""No Parquet."""
