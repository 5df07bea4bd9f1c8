"""Which models of a run predict: what it delivers, its ensemble, or the best of its leaderboard. Needs no Ray."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sed_model.core.errors import CheckpointError, some
from sed_model.core.paths import is_file, is_folder
from sed_model.model.checkpoint import read_lineage
from sed_model.predict.ensemble import Joining, joining_problem
from sed_model.run_folder.delivered import DELIVERED_FILE, Member, read_delivered
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import best_trials
from trainables.labelling.candidates import misfit

DEFAULT_TOP_K = 5
TRIAL_NAME = re.compile(r"trial_\d{4,}", re.ASCII)


@dataclass(frozen=True)
class RunMembers:
    """Folders of models, how they are joined, and where that is written."""

    folders: tuple[Path, ...]
    joining: Joining
    source: str

    @property
    def names(self) -> list[str]:
        """Of the models: `trial_0003`, or `trial_0003_part_1` of a finalist's."""
        return [f"{one.parent.name}_{one.name}" if one.name.startswith("part_") else one.name for one in self.folders]


def members_of(run_dir: Path, top_k: int | None = None, single: bool = False) -> RunMembers:
    """What the search of a run delivers: its finalists, of which `single` takes one model.

    Without finalists the members of RUN/ensemble/members.json; the `top_k` best trials where these are not there
    either, or top_k is given.

    Raises:
        CheckpointError: there is no model, delivered.json or members.json is damaged, or a member has been trained anew
            since; or `single` is asked of a run without finalists.
    """
    run = RunFolder(run_dir)
    delivered = None if top_k else read_delivered(run.path)
    if delivered is not None:
        return _delivered(run.path, (delivered.single,) if single else delivered.members)
    if single:
        raise CheckpointError(f"{run.path}: --single takes a model of a finalist, and there is none; give --top-k 1.")
    members_file = run.ensemble / "members.json"
    if top_k is None and os.path.lexists(members_file):
        return _read_members(members_file, run.path / "trials")
    trials = run.read_trials()
    ranked = [run.path / "trials" / row["trial_id"] for row in best_trials(trials, len(trials))]
    if not ranked:
        why = "" if is_folder(run.path) else " (there is no such folder)"
        raise CheckpointError(f"{run.path}: no trial with a model{why}; give the folder of a search, or --model DIR.")
    return _best_alike(ranked, top_k or DEFAULT_TOP_K)


def with_others(first: RunMembers, others: Sequence[RunMembers], share: float | None = None) -> RunMembers:
    """The models of several runs together: each run's mean counts alike, however many models it has.

    Args:
        share: what the others count together, above 0 and below 1; they count alike among themselves.

    Raises:
        CheckpointError: the models of a run are joined otherwise than by a mean.
    """
    runs = [first, *others]
    if not others:
        return first
    if odd := [one.source for one in runs if one.joining.method != "mean"]:
        raise CheckpointError(f"--also joins means, but {odd[0]} says otherwise; give --top-k, or leave --also out.")
    of_others = len(others) / len(runs) if share is None else share
    weights: list[float] = []
    for one, of_run in zip(runs, [1 - of_others, *[of_others / len(others)] * len(others)], strict=True):
        own = one.joining.weights or (1.0,) * len(one.folders)
        weights += [of_run * weight / sum(own) for weight in own]
    folders = tuple(folder for one in runs for folder in one.folders)
    numbers = tuple(number for number, one in enumerate(runs) for _ in one.folders)
    return RunMembers(folders, Joining(tuple(weights), runs=numbers), "; ".join(one.source for one in runs))


def _delivered(run: Path, members: Sequence[Member]) -> RunMembers:
    for member in members:
        if read_lineage(run / member.folder, with_weights=False).weights_sha256 != member.weights_sha256:
            raise CheckpointError(
                f"{member.folder}: is not the model that {DELIVERED_FILE} names (its weights_sha256 differs); resume "
                "the search, or give --top-k."
            )
    source = f"{DELIVERED_FILE}: " + ("one model of the best finalist" if len(members) == 1 else "the finalists' mean")
    return RunMembers(tuple(run / member.folder for member in members), Joining(), source)


def _best_alike(ranked: Sequence[Path], top_k: int) -> RunMembers:
    """The first `top_k` models that go with the best of them, which is no softmax where there are others."""
    sigmoids = (one for one in ranked if read_lineage(one, with_weights=False).scores == "sigmoid")
    first = next(sigmoids, ranked[0])
    folders: list[Path] = []
    left_out: dict[str, str] = {}
    for folder in ranked:
        if len(folders) == top_k:
            break
        if reason := misfit(folder, first):
            left_out[folder.name] = reason
        else:
            folders.append(folder)
    source = f"the {len(folders)} best of the leaderboard"
    if left_out:
        source += f" ({len(left_out)} left out: {some(list(left_out))}; {next(iter(left_out.values()))})"
    return RunMembers(tuple(folders), Joining(), source)


def _read_members(path: Path, trials: Path) -> RunMembers:
    try:
        if not is_file(path):
            raise ValueError("it is no file")
        tree = json.loads(path.read_text(encoding="utf-8"))
        method, every, exponent = tree["method"], tree["members"], tree.get("mean_exponent", Joining.mean_exponent)
        rows = [row for row in every if not row.get("run")]
        names, weights = [row["trial_id"] for row in rows], [row.get("weight", 1.0) for row in rows]
        joining = Joining(tuple(float(weight) for weight in weights), method, float(exponent))
        problem = _problem(names, [*weights, exponent]) or joining_problem(joining, len(names))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise CheckpointError(f"{path}: cannot be used ({problem}); run trainables.ensemble again, or give --top-k.")
    for row in rows:
        wanted = row.get("weights_sha256")
        if wanted and read_lineage(trials / row["trial_id"]).weights_sha256 != wanted:
            raise CheckpointError(
                f"{row['trial_id']}: is not the model that {path} names (its weights_sha256 differs); run "
                "trainables.ensemble again, or give --top-k."
            )
    source = "ensemble/members.json"
    if len(every) > len(rows):
        source += f" ({len(every) - len(rows)} models of other runs are left out; --also takes them)"
    return RunMembers(tuple(trials / name for name in names), joining, source)


def _problem(names: list[Any], numbers: list[Any]) -> str:
    """What is wrong with names and numbers of members, or nothing. Names are plain: none leads out of the run."""
    if not names:
        return "it has no members"
    if odd := [name for name in names if not isinstance(name, str) or not TRIAL_NAME.fullmatch(name)]:
        return f"trial_id {odd[0]!r:.80} is no name of a trial"
    if not all(isinstance(number, int | float) for number in numbers):
        return "weights and mean_exponent have to be finite numbers"
    return "a trial is there twice" if len(set(names)) < len(names) else ""
