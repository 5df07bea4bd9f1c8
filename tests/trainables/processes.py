"""Commands in processes of their own, to be watched and signalled."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from _command import Command


class CommandProcess(Command):
    """A command in a process of its own, to be signalled."""

    def __init__(self, module: str, cache_dir: Path, log: Path, *arguments: object) -> None:
        super().__init__(module, *arguments, log=log, environment={"SED_CACHE_DIR": str(cache_dir)})

    def wait_until(self, holds: Callable[[], object], timeout_s: float = 120, poll_s: float = 0.005) -> bool:
        """Until it comes to it, or the test fails."""
        if not super().wait_until(holds, timeout_s, poll_s):
            pytest.fail(f"it did not come to it (status {self.process.poll()}): {self.output}{self.errors}")
        return True

    def signal(self, number: int, timeout_s: float = 60) -> int:
        """Its status after a signal. Whatever it has started, Ray's processes among them, ends too."""
        status = super().signal(number, timeout_s)
        self.check_that_all_have_ended()
        return status

    def check_that_all_have_ended(self, timeout_s: float = 30) -> None:
        """After a kill Ray's agents, which write nothing, outlive the others by a minute: they are ended here."""
        assert self.wait_until_all_have_ended(timeout_s, agents_too=False) == []
        self.end()


class SearchProcess(CommandProcess):
    """The search command. Its run folder is `out/run`."""

    def __init__(self, out: Path, cache_dir: Path, log: Path, *arguments: object) -> None:
        self.run = out / "run"
        words = ("--out", out, "--name", "run", "--no-dashboard", *arguments)
        super().__init__("trainables.search", cache_dir, log, *words)

    def epochs(self) -> set[tuple[str, int]]:
        """Trials and their epochs, as they are printed: the tables lag behind."""
        lines = re.findall(r"^(trial_\d+)  \w+ +epoch +(\d+)/", self.output, re.MULTILINE)
        return {(trial, int(epoch)) for trial, epoch in lines}
