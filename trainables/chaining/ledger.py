"""chain.json: which steps of a chain are done, what they came to, and how long it has run, over all its starts."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from sed_model.core.errors import ConfigError, DataError, DiskFullError
from sed_model.core.files import read_file, write_text
from sed_model.core.paths import is_file
from sed_model.core.texts import shown
from sed_model.run_folder.delivered import Lead
from trainables.chaining.budget import Costs, Count, Seconds, Wanted

CHAIN_FILE = "chain.json"
FIRST, SEARCH, FINALISTS, LABELS, STUDENT, POST, KAGGLE = (
    "first trials", "search", "finalists", "labels", "student ", "post-processing", "kaggle"
)  # fmt: skip
"""The steps; a round of students has its number behind it."""
WRITE_EVERY_S = 10.0
"""What a kill forgets of the time that the chain has run."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Done(_Part):
    """What a step came to, for people; a round of students has its `lead` over its teacher, too."""

    score: str = ""
    said: str = ""
    lead: Lead | None = None


class Step(_Part):
    """When a step began and ended, on the chain's clock, which stands while the chain does not run."""

    began_s: Seconds
    ended_s: Seconds | None = None
    done: Done = Done()

    @property
    def took_s(self) -> float:
        return 0.0 if self.ended_s is None else self.ended_s - self.began_s


class Record(_Part):
    """The file. `cut` says by step what the budget had no time for; `kept_round` 0 is the search."""

    format: Literal[1] = 1
    settings: dict[str, JsonValue]
    spent_s: Seconds = 0.0
    wanted: Wanted | None = None
    costs: Costs | None = None
    n_first_trials: Count = 0
    steps: dict[str, Step] = Field(default_factory=dict)
    cut: dict[str, str] = Field(default_factory=dict)
    kept_round: Count | None = None


class Ledger:
    """The books of a chain in its folder. Every change is written at once."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """
        Raises:
            ConfigError: the chain was begun with other settings.
            DataError: its file is damaged.
        """
        self.path = folder / CHAIN_FILE
        self.is_new = not is_file(self.path)
        self.record = Record(settings=dict(settings)) if self.is_new else read_record(self.path)
        check_same_settings(folder, self.record.settings, settings)
        self._earlier_s, self._since_s = self.record.spent_s, time.monotonic()
        self._lock = threading.Lock()

    @property
    def spent_s(self) -> float:
        """For how long the chain has run, over all its starts."""
        return self._earlier_s + time.monotonic() - self._since_s

    def has(self, name: str) -> bool:
        """Whether the step is done."""
        step = self.record.steps.get(name)
        return step is not None and step.ended_s is not None

    def write(self, **changes: Any) -> None:
        with self._lock:
            self.record = self.record.model_copy(update=changes | {"spent_s": round(self.spent_s, 1)})
            write_text(self.path, self.record.model_dump_json(indent=2) + "\n")

    def do(self, name: str, work: Callable[[], Done]) -> Step:
        """Do a step that is not done yet; one that was broken off began when it first began."""
        if not self.has(name):
            step = self.record.steps.get(name, Step(began_s=round(self.spent_s, 1)))
            self.write(steps=self.record.steps | {name: step})
            done = work()
            ended = step.model_copy(update={"ended_s": round(self.spent_s, 1), "done": done})
            self.write(steps=self.record.steps | {name: ended})
        return self.record.steps[name]

    def cut(self, name: str, what: str) -> None:
        """The budget has no time for `what` of a step."""
        print(f"cut: {what}", flush=True)
        self.write(cut=self.record.cut | {name: what})

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """For the length of the block the time that has passed is written down every few seconds."""
        stop = threading.Event()

        def count() -> None:
            while not stop.wait(WRITE_EVERY_S):
                with contextlib.suppress(DiskFullError, OSError):  # the steps find out, and say so
                    self.write()

        self.write()
        thread = threading.Thread(target=count, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            with contextlib.suppress(DiskFullError, OSError):
                self.write()


def read_record(path: Path) -> Record:
    """
    Raises:
        DataError: it is no file, or damaged.
    """
    try:
        return Record.model_validate_json(read_file(path))
    except (ValidationError, OSError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else error
        raise DataError(
            f"{path}: is damaged ({shown(reason)}); restore it, or begin a chain of another --name."
        ) from None


def check_same_settings(folder: Path, began: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """
    Raises:
        ConfigError: every setting that differs, a line each.
    """
    lines = [
        f"--{name} {_told(value)}: {folder.name} was begun with {_told(began.get(name))}, and goes on with that; give "
        "the same, or another --name for another chain."
        for name, value in given.items()
        if began.get(name) != value
    ]
    if lines:
        raise ConfigError("\n".join(lines))


def _told(value: object) -> str:
    """A setting, for people."""
    if isinstance(value, list):
        return shown(" ".join(map(str, value))) or "(nothing set)"
    return "(not given)" if value is None else shown(value)
