"""A command in a process of its own. All that it starts carries its mark, so that what outlives it is found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
MARK = "SED_STARTED_BY"
"""Name of the environment variable; children inherit it."""
NOT_INHERITED = ("PYTHONWARNINGS", "RAY_ADDRESS", "PYTHONDONTWRITEBYTECODE")


def marked(mark: str) -> list[psutil.Process]:
    """The processes that live and carry the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:  # it has ended, or is not ours
            continue
    return found


def title(process: psutil.Process) -> str:
    """Ray writes into it what a worker does: ray::ImplicitFunc.train; "" for one that has ended."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


class MarkedCommand:
    """`python -m MODULE ARGUMENTS..`, started; its output goes to `log`, its errors beside it."""

    def __init__(self, module: str, *arguments: object, log: Path, environment: Mapping[str, str]) -> None:
        self.log, self.mark = log, uuid.uuid4().hex
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        with log.open("w") as output, log.with_suffix(".err").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                cwd=ROOT,
                env=inherited | environment | {MARK: self.mark},
                stdout=output,
                stderr=errors,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def errors(self) -> str:
        return self.log.with_suffix(".err").read_text()

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def wait_until(self, holds: Callable[[], object], timeout_s: float, poll_s: float = 0.005) -> bool:
        """Whether it came to it, before the command ended or the time was over."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s and self.runs:
            if holds():
                return True
            time.sleep(poll_s)
        return False

    def signal(self, number: int, timeout_s: float = 60) -> int:
        """Send a signal; the command's status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=timeout_s)

    def wait_until_all_is_gone(self, timeout_s: float) -> list[psutil.Process]:
        """Once the command has ended: wait for what it started; what is left comes back."""
        end_s = time.monotonic() + timeout_s
        while (left := marked(self.mark)) and time.monotonic() < end_s:
            time.sleep(0.05)
        return left

    def end(self) -> None:
        """End the command and all that it started, whatever state they are in."""
        if self.runs:
            self.signal(signal.SIGKILL)
        for process in marked(self.mark):
            process.kill()
