"""What a chain is asked to do: the options of the chain command, and which of them a chain keeps to its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.searching.options import SearchOptions

DEMO_NAME = "demo"
DEFAULT_HOURS, DEFAULT_ROUNDS, DEFAULT_SPACE = 3.0, 3, "arch.yaml"


@dataclass(frozen=True)
class ChainOptions:
    """A field an option, as `python -m trainables.chain --help` explains it; None: the space's, or as many as fit.

    Attributes:
        command: what the user typed; it goes on with the chain.
        overrides, student_overrides: `key=value` of each --set, and --student-set.
    """

    command: str
    data: Path | None = None
    space: str = DEFAULT_SPACE
    out: Path = Path("runs")
    name: str | None = None
    teacher: Path | None = None
    plan: bool = False
    hours: float = DEFAULT_HOURS
    num_trials: int | None = None
    finalists: int | None = None
    rounds: int = DEFAULT_ROUNDS
    seed: int | None = None
    overrides: tuple[str, ...] = ()
    student_overrides: tuple[str, ...] = ()
    max_concurrent: int | None = None
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    workers_per_trial: int | None = None
    address: str | None = None

    @property
    def budget_s(self) -> float:
        return self.hours * 3600

    @property
    def run(self) -> Path:
        """The run folder of the search. Its name has to be the same each time: the same command goes on."""
        data = self.data or self.teacher
        return self.out / (self.name or (DEMO_NAME if data is None else data.name))

    @property
    def folder(self) -> Path:
        """Where the chain keeps its books, the post-processing and the Kaggle folder."""
        return self.run.with_name(f"{self.run.name}-chain")

    def settings(self) -> dict[str, Any]:
        """What may not change while a chain goes on, by option; machines may, as when a search is resumed."""
        return {
            "data": None if self.data is None else str(self.data),
            "space": self.space,
            "teacher": None if self.teacher is None else str(self.teacher),
            "hours": self.hours,
            "num-trials": self.num_trials,
            "finalists": self.finalists,
            "rounds": self.rounds,
            "seed": self.seed,
            "set": sorted(self.overrides),
            "student-set": sorted(self.student_overrides),
        }

    def search(self, resume: bool) -> SearchOptions:
        """The search, new or gone on with."""
        new: dict[str, Any] = {
            "space": self.space,
            "teacher": self.teacher,
            "num_trials": self.num_trials,
            "finalists": self.finalists,
            "seed": self.seed,
            "overrides": self.overrides,
        }
        return SearchOptions(
            command=self.command,
            data=self.data,
            out=self.out,
            name=self.run.name,
            resume=resume,
            dry_run=self.plan,
            is_last=False,
            **self.machine(),
            **({} if resume else new),
        )

    def machine(self) -> dict[str, Any]:
        """What trials get, and where they run, of the search and of the students."""
        names = ("max_concurrent", "cpus_per_trial", "gpus_per_trial", "workers_per_trial", "address")
        return {name: getattr(self, name) for name in names}
