"""Random kills: of a command, of Ray's processes, and of the trials that it runs, until the command is done."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import psutil
from _command import Command, is_ray_agent, title
from _run_checks import ended, started

GONE_WITHIN_S = 60.0
"""Of the processes that a killed driver leaves behind, but for Ray's agents."""
AGENTS_GONE_WITHIN_S = 120.0
"""Of those: Ray has them try for a minute to tell what has befallen them."""
SILENT_S = 180.0
"""A command that says nothing for so long hangs."""
MOST_SESSIONS = 40
EARLY = 0.2
"""Share of the drivers' kills that strike while the command still starts, not once it works."""
START_UP_S = 15.0
VICTIMS: dict[str, Callable[[str], bool]] = {
    "trial": lambda name: name.startswith("ray::ImplicitFunc"),
    "training": lambda name: name.startswith("ray::ImplicitFunc"),
    "worker": lambda name: name.startswith("ray::") and "Agent" not in name and "ImplicitFunc" not in name,
    "raylet": lambda name: "raylet/raylet" in name.partition(" ")[0],
    "gcs": lambda name: name.partition(" ")[0].endswith("gcs_server"),
    "agent": lambda name: name.startswith("ray::DashboardAgent"),
}
"""Kind of kill -> which processes it strikes, by their titles; `driver` is the command itself."""


@dataclass(frozen=True)
class Kill:
    """One that is drawn: of what `kind`, how long after the one before, and whether the command may still start."""

    kind: str
    gap_s: float
    early: bool


def draw_kills(rng: np.random.Generator, n: int, gap_s: float, weights: Mapping[str, float]) -> list[Kill]:
    """`n` kills, `gap_s` apart at most, of kinds by their weights."""
    chances = np.array(list(weights.values())) / sum(weights.values())
    kinds = rng.choice(list(weights), size=n, p=chances)
    early = rng.random(n) < EARLY
    gaps_s = rng.uniform(0, np.where(early & (kinds == "driver"), START_UP_S, gap_s))
    return [Kill(str(kind), float(gap), bool(soon)) for kind, gap, soon in zip(kinds, gaps_s, early, strict=True)]


@dataclass
class Dead:
    """A command that has ended, and how long after it the last process did that it had started."""

    command: Command
    since_s: float
    gone_s: float | None = None
    """Without Ray's agents."""


@dataclass
class Storm:
    """A command that is killed, and started again until it is done.

    Args:
        cluster: a process whose children may be struck, too.
    """

    kills: list[Kill]
    rng: np.random.Generator
    cluster: psutil.Process | None = None
    start_s: float = field(default_factory=time.monotonic)
    outputs: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    gone_s: list[float] = field(default_factory=list)
    """Seconds from the end of each driver to that of the last process that it had started, but for Ray's agents."""
    agents_gone_s: list[float] = field(default_factory=list)
    """The same of Ray's agents, where they outlived the others."""
    dying: list[Dead] = field(default_factory=list)
    struck_in: int = -1
    """The last session of which a finalist's training was killed."""

    def rage(self, start: Callable[[int], Command], ready: str, look: Callable[[], list[str]]) -> None:
        """Until the command ends with status 0.

        Args:
            start: starts session n of the command.
            ready: what it prints once there is something to disturb.
            look: says what is wrong, after each session.
        """
        status = -1
        while status != 0:
            command = start(len(self.outputs))
            self.disturb(command, ready)
            status = self.wait_for_end(command)
            self.dying.append(Dead(command, time.monotonic()))
            self.outputs.append(command.output)
            self.counts[f"ended with {status}"] += 1
            print(f"{time.strftime('%H:%M:%S')} ended with {status}", file=sys.stderr, flush=True)
            self.problems += look()
            if "Traceback" in command.errors:
                self.problems.append(f"session {len(self.outputs)} shows a traceback: {command.errors[-1500:]}")
            if len(self.outputs) > MOST_SESSIONS:
                self.problems.append(
                    f"not done after {MOST_SESSIONS} sessions: {command.output[-300:]}{command.errors}"
                )
                break
        while self.dying:
            self.bury()
            time.sleep(0.1)

    def disturb(self, command: Command, ready: str) -> None:
        """One kill after the other, until there are none left or the command ends."""
        n_struck = -1
        while command.runs and self.kills:
            kill = self.kills.pop(0)
            if not (kill.early and kill.kind == "driver"):
                command.wait_until(lambda: ready in command.output, SILENT_S, 0.05)
            command.wait_until(self.bury, kill.gap_s, 0.02)
            if kill.kind in ("trial", "worker"):
                # A trial whose process dies is tried again once: not the same one, nor the next, which may have it now.
                names = list(dict.fromkeys(started(command.output)))
                running = [place for place, name in enumerate(names) if name not in ended(command.output)]
                if not running or running[0] <= n_struck:
                    self.counts["missed"] += 1
                    continue
                n_struck = len(names)
            if kill.kind == "training":
                # One that dies is tried again once, and another may have been struck before: one a session is safe.
                if self.struck_in == len(self.outputs):
                    self.counts["missed"] += 1
                    continue
                self.struck_in = len(self.outputs)
            struck = command.process.poll() is None and self.strike(kill.kind, command)
            self.counts[f"killed {kill.kind}" if struck else "missed"] += 1
            if struck and kill.kind in ("raylet", "gcs", "agent"):
                return  # the command cannot go on for long

    def strike(self, kind: str, command: Command) -> bool:
        """Kill a process of the kind, if there is one."""
        if kind == "driver":
            self.tell("driver")
            command.signal(signal.SIGKILL)
            return True
        processes = [*command.started(), *(self.cluster.children(recursive=True) if self.cluster else ())]
        victims = [process for process in processes if VICTIMS[kind](title(process))]
        if victims:
            victim = victims[self.rng.integers(len(victims))]
            self.tell(f"{kind}: {title(victim)[:60]}")
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        return bool(victims)

    def tell(self, victim: str) -> None:
        print(
            f"{time.strftime('%H:%M:%S')} session {len(self.outputs):02d}: killed {victim}", file=sys.stderr, flush=True
        )

    def wait_for_end(self, command: Command) -> int:
        """The command's status. One that hangs is killed, which is a problem."""
        size, since_s = -1, time.monotonic()
        while command.runs:
            self.bury()
            if command.log.stat().st_size != size:
                size, since_s = command.log.stat().st_size, time.monotonic()
            if time.monotonic() - since_s > SILENT_S:
                self.problems.append(f"session {len(self.outputs) + 1} hangs after: {command.output[-300:]}")
                return command.signal(signal.SIGKILL)
            time.sleep(0.1)
        return command.process.wait()

    def bury(self) -> None:
        """Note which drivers have left nothing. The next session does not wait for it, as people do not."""
        for dead in list(self.dying):
            left, age_s = dead.command.started(), round(time.monotonic() - dead.since_s, 1)
            others = [process for process in left if not is_ray_agent(process)]
            if dead.gone_s is None and (not others or age_s > GONE_WITHIN_S):
                dead.gone_s = age_s
                self.gone_s.append(age_s)
                self.end_late(others, age_s)
            if dead.gone_s is None or (left and age_s < AGENTS_GONE_WITHIN_S):
                continue
            self.dying.remove(dead)
            if age_s > dead.gone_s:
                self.agents_gone_s.append(age_s)
            self.end_late(left, age_s)

    def end_late(self, processes: list[psutil.Process], age_s: float) -> None:
        """Those that should have ended by themselves."""
        for process in processes:
            self.problems.append(f"outlives its driver by {age_s:.0f} s: {title(process)[:80]}")
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
