"""Where the parts of chaos.py work, and how they tell what came of it."""

from __future__ import annotations

import atexit
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _command import Command
from _storm import Storm

SPACE = """
base:
  front_end: {sample_rate_hz: 8000, n_fft: 512, hop_length: 200, n_mels: 48, f_min_hz: 50, f_max_hz: 4000}
  model: {backbone: mobilenetv3_small_050, pretrained: false}
  augment: {wave: {prob: 0.0}}
  data: {window_s: 5}
  optim: {batch_size: 16, min_steps_per_epoch: 1}
  stages: {pretrain_ce: {epochs: 3}, train_bce: {epochs: 3}}
  pseudo: {keep_class: 0.05, keep_window: 0.05, max_share: 50.0}
search: {stages: [pretrain_ce, train_bce], scheduler: {asha: {grace_period: 2, reduction_factor: 2}}}
space:
  stages.pretrain_ce.lr: {loguniform: [1.0e-4, 1.0e-2]}
  model.pool_type:       {choice: [avg, max, gem]}
"""


@dataclass(frozen=True)
class Place:
    """Where all parts work: data, space, logs, runs."""

    base: Path
    n_trials: int
    n_kills: int
    cache: str = "cache"

    @property
    def reference(self) -> Path:
        """The run that nothing disturbed."""
        return self.base / "soak" / "run"

    def command(self, module: str, part: str, session: int, *words: object) -> Command:
        environment = {"SED_CACHE_DIR": str(self.base / self.cache), "TMPDIR": str(self.base / "tmp")}
        (self.base / part).mkdir(exist_ok=True)
        log = self.base / part / f"session_{session:02d}.log"
        command = Command(module, *words, log=log, environment=environment)
        atexit.register(command.end)
        return command

    def search(self, part: str, n_trials: int, *options: object) -> Callable[[int], Command]:
        """Starts session n of the search of a part."""
        place = ("--out", self.base / part, "--name", "run", "--no-pseudo-labels", *options)
        new = ("--space", self.base / "tiny.yaml", "--data", self.base / "data", "--num-trials", n_trials)

        def start(session: int) -> Command:
            begun = (self.base / part / "run" / "search.yaml").is_file()
            words = ("--resume", *place) if begun else (*new, *place)
            return self.command("trainables.search", part, session, *words)

        return start


def report(name: str, problems: list[str], **counts: Any) -> bool:
    """Print the part's JSON line, and what does not hold; whether all does."""
    for problem in problems:
        print(f"{name}: {problem}", file=sys.stderr, flush=True)
    print(json.dumps({"name": name, **counts, "problems": len(problems), "holds": not problems}), flush=True)
    return not problems


def storm_counts(storm: Storm) -> dict[str, Any]:
    return {
        "duration_s": round(time.monotonic() - storm.start_s),
        "sessions": len(storm.outputs),
        **dict(sorted(storm.counts.items())),
        "gone_s": max(storm.gone_s, default=0),
        "agents_gone_s": max(storm.agents_gone_s, default=0),
    }
