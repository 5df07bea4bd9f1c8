"""What the suites of hostile input (test_hostile_*.py) share: no case hangs, and every one is refused or read right.

`SED_HOSTILE_EXAMPLES=5000 pytest tests/*/test_hostile_*.py` draws that many random examples a property, from a new
seed each time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
from hypothesis import HealthCheck, settings

from sed_model.errors import UserError

EXAMPLES = int(os.environ.get("SED_HOSTILE_EXAMPLES", "40"))
"""Random examples that each property test draws."""
LONGEST_S = 10
LONGEST_MESSAGE = 6_000

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


def refusal(call: Callable[[], object], *words: str) -> str:
    """The message of the user's error that `call` has to raise; every one of `words` is in it."""
    with in_time(), pytest.raises(UserError) as raised:
        call()
    message = str(raised.value)
    assert [word for word in words if word not in message] == []
    assert len(message) < LONGEST_MESSAGE
    return message


def refused(call: Callable[[], object], *words: str) -> bool:
    """Whether `call` raises a user's error, with `words` in it; any other error is a fault, and so is a hang."""
    message = None
    with in_time():
        try:
            call()
        except UserError as error:
            message = str(error)
    assert message is None or [word for word in words if word not in message] == []
    return message is not None
