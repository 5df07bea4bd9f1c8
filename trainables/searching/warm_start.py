"""Warm start: what an earlier search found out, told to the study of a new one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from sed_model.config.earlier import EARLIER, renewed
from sed_model.config.tree import flattened
from sed_model.core.errors import DataError
from sed_model.run_folder.folder import RunFolder
from trainables.searching.asha import rung_reports
from trainables.searching.searcher import WARM_START
from trainables.spaces.search_space import SearchSpace

SCORED_BY = ("data.target_s", "inference.frame_share", "inference.silence_rms")
"""Keys that decide what a score means: the windows of validation, and how one is scored."""
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


def earlier_trials(space: SearchSpace, folder: Path, fingerprint: str) -> list[FrozenTrial]:
    """The trials of the run in `folder` that lie in `space`, for Optuna; pruned ones with their curve.

    A trial's place in the space is where its whole configuration lies, so that a parameter that the earlier search did
    not draw counts with the value that it had. Trials outside the space and failed ones are left out, and counted.

    Raises:
        DataError: `folder` is no run folder, its data is not that of `fingerprint`, or its search had other stages,
            other numbers of epochs, another metric or another way to score windows: its scores do not compare.
    """
    run = RunFolder(folder)
    check_comparable(space, run, fingerprint)
    score = space.search.score
    rows = [row for row in run.read_trials() if row["status"] in STATES and row.get(score) is not None]
    reports = rung_reports(run.read_curves(), {row["number"] for row in rows}, space.search.metric)
    trials = [_frozen(space, row, reports, folder.name) for row in rows]
    found = [trial for trial in trials if trial is not None]
    print(f"warm start: {len(found)} of {len(rows)} scored trials of {folder.name} lie in the space", flush=True)
    return found


def check_comparable(space: SearchSpace, run: RunFolder, fingerprint: str) -> None:
    record = run.read_search()
    if record["data"]["fingerprint"] != fingerprint:
        raise DataError(
            f"--warm-start {run.path}: was searched on other data ({record['data']['folder']}): its scores do not "
            "compare; leave it out, or give --data as it was."
        )
    ours, theirs = _comparable(space.as_dict()), _comparable(record)
    told = [name for name in ours if ours[name] not in (theirs.get(name), "drawn")]  # trials have their own value
    problems = [f"{name} was {theirs.get(name)}, is {ours[name]}" for name in told]
    if problems:
        raise DataError(
            f"--warm-start {run.path}: its scores do not compare: {'; '.join(problems)}; set these as they were, or "
            "leave it out."
        )


def _comparable(tree: Mapping[str, Any]) -> dict[str, Any]:
    """What two searches must have in common for their scores to compare."""
    base, search, drawn = (_section(tree, name) for name in ("base", "search", "space"))
    stages, names = _section(base, "stages"), search.get("stages", [])
    if not (search and stages and isinstance(names, list)):
        raise DataError("--warm-start: its search.yaml lacks search or base.stages; restore the file, or leave it out.")
    shared = {f"search.{name}": search.get(name) for name in ("metric", "stages", "epochs_scale")}
    epochs = {str(name): stage.get("epochs") for name, stage in stages.items() if isinstance(stage, dict)}
    values = dict(flattened(base))
    scored = {name: "drawn" if name in drawn else values.get(name) for name in SCORED_BY}
    return shared | scored | {f"stages.{name}.epochs": epochs.get(str(name)) for name in names}


def _section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of what a file holds, which may be damaged."""
    found = tree.get(name)
    return found if isinstance(found, dict) else {}


def _frozen(
    space: SearchSpace, row: Mapping[str, Any], reports: Sequence[tuple[int, int, float]], source: str
) -> FrozenTrial | None:
    """The trial as Optuna stores it; None where it lies outside the space, or lacks an objective."""
    curve = {epoch: value for number, epoch, value in reports if number == row["number"]}
    last = curve.get(max(curve, default=0))
    score = last
    if space.search.metric == space.search.score:
        own = row[space.search.score]  # a row of earlier releases may hold a higher one, of cross-entropy
        score = own if last is None else min(own, last)
    values: list[Any] = [score] if space.search.cost is None else [score, row.get(space.search.cost)]
    try:
        point = space.point_of({**_renewed(row), **row})
    except KeyError:
        return None  # written by a release that did not have the key
    known = {parameter.key: parameter.distribution for parameter in space.parameters}
    if not all(known[name].contains(value) for name, value in point.items()) or not all(map(_is_number, values)):
        return None
    trial = FixedTrial(point)
    space.suggest(trial)
    complete = row["status"] == "complete"
    return optuna.trial.create_trial(
        state=STATES[row["status"]],
        params=trial.params,
        distributions=trial.distributions,
        values=values if complete else None,
        intermediate_values=curve if space.search.cost is None else None,
        user_attrs={WARM_START: source},
    )


def _renewed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Today's columns for those of earlier releases' keys."""
    tree: dict[str, dict[str, Any]] = {}
    for name in EARLIER:
        section, _, key = name.rpartition(".")
        if f"config.{name}" in row:
            tree.setdefault(section, {})[key] = row[f"config.{name}"]
    found = renewed({"augment": {"mix": tree.get("augment.mix", {})}, "pseudo": tree.get("pseudo", {})})
    return {f"config.{name}": value for name, value in flattened(found) if name not in EARLIER}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
