"""A command that leads a session of its own: what it starts is in it, and is found even when the command is dead."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
RAY_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
NOT_INHERITED = ("PYTHONWARNINGS", "RAY_ADDRESS")


def title(process: psutil.Process) -> str:
    """Ray writes into it what a worker does: ray::ImplicitFunc.train; "" for one that has ended."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


def is_ray_agent(process: psutil.Process) -> bool:
    """Whether it is one of the two agents of a Ray node, which outlive a raylet that is killed by a minute.

    They try 60 times, a second apart, to tell a GCS that is dead as well; Ray has no setting for that.
    """
    return title(process).startswith(RAY_AGENTS)


class Command:
    """`python -m MODULE ARGUMENTS..`, started. What it prints goes into `log`, and its errors beside it."""

    def __init__(self, module: str, *arguments: object, log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        with log.open("w") as output, log.with_suffix(".err").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                cwd=ROOT,
                env={**inherited, "PYTHONDONTWRITEBYTECODE": "", **environment},
                stdout=output,
                stderr=errors,
                start_new_session=True,
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

    def started(self) -> list[psutil.Process]:
        """What it has started, and what that has, as far as it lives."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid != process.pid and process.status() != "zombie":
                    found.append(process)
            except (psutil.Error, ProcessLookupError):  # it has ended
                continue
        return found

    def wait_until(self, holds: Callable[[], object], timeout_s: float, poll_s: float = 0.005) -> bool:
        """Whether it came to it, before the command ended or the time was over."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s and self.runs:
            if holds():
                return True
            time.sleep(poll_s)
        return False

    def signal(self, number: int, timeout_s: float = 60) -> int:
        """Its status after a signal."""
        self.process.send_signal(number)
        return self.process.wait(timeout=timeout_s)

    def wait_until_all_have_ended(self, timeout_s: float, agents_too: bool = True) -> list[psutil.Process]:
        """When the command has ended: wait for what it has started; what is left after all comes back."""
        end_s = time.monotonic() + timeout_s
        while True:
            left = [process for process in self.started() if agents_too or not is_ray_agent(process)]
            if not left or time.monotonic() > end_s:
                return left
            time.sleep(0.05)

    def end(self) -> None:
        """End it and all that it has started, in whatever state they are."""
        if self.runs:
            self.signal(signal.SIGKILL)
        for process in self.started():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
