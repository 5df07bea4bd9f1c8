"""Which models of a run may join an ensemble: those with a score that fit together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sed_model.config.sed_config import load_config
from sed_model.core.errors import CheckpointError, ConfigError
from sed_model.core.texts import nearest
from sed_model.model.checkpoint import CONFIG_FILE, Lineage, read_lineage
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import best_trials
from sed_model.run_folder.predictions import OutOfFold, read_predictions

MAX_CANDIDATES = 50
"""The best so many trials are what a greedy selection chooses from."""
FIT_LINEAGE = ("classes", "data_fingerprint")
FIT_KEYS = ("config.front_end.sample_rate_hz", "config.data.target_s")
"""In these, members have to be alike: a file is decoded once, and windows mean the same."""
OTHER_SCORES = {
    "softmax": "its best epoch is of {stage}, trained with cross-entropy: a softmax, whose probabilities share 1 among "
    "the classes, does not mix with the sigmoids of others; train later stages longer, or name softmax models alone",
    "sigmoid": "its best epoch is of {stage}: a sigmoid does not mix with softmax models",
}


@dataclass(frozen=True)
class EnsembleJob:
    """What to label with what. `soundscapes` None: the unlabelled ones of the data folder.

    `select` chooses up to `top_k` members from the leaderboard, or from the trials named in `members`; `method` joins
    their predictions. `overrides` replaces rules of the members' configuration (plan.OVERRIDABLE).
    `gpus_per_worker` None: a quarter where there are GPUs. `recursive`: files in folders below `soundscapes`, too.
    `also`: other runs, whose models join; `share` is what they count together (None: each run counts alike).
    `leaves_own_out`: these alone label, for students of the run, whose own models only say which parts there are.
    """

    run_dir: Path
    data_dir: Path
    out: Path
    soundscapes: Path | None = None
    top_k: int = 5
    method: str = "mean"
    workers: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    select: str = "top"
    members: tuple[str, ...] = ()
    allow_validation_soundscapes: bool = False
    fail_on_bad_audio: bool = False
    gpus_per_worker: float | None = None
    recursive: bool = False
    also: tuple[Path, ...] = ()
    share: float | None = None
    leaves_own_out: bool = False


@dataclass(frozen=True)
class Candidate:
    """A trial that fits the others; `predictions` are those of its validation windows, where they are the same ones."""

    row: Mapping[str, Any]
    folder: Path
    lineage: Lineage
    predictions: OutOfFold | None

    @property
    def trial_id(self) -> str:
        return str(self.row["trial_id"])


@dataclass(frozen=True)
class Found:
    """The trials to choose from, the best first, and why others are none of them."""

    candidates: tuple[Candidate, ...]
    left_out: Mapping[str, str]


def find_candidates(job: EnsembleJob) -> Found:
    """The trials that fit the best one. Those that do not are left out with the reason, unless the user named them.

    Softmax models, whose best epoch is of a cross-entropy stage, are members where no other trial can be one.

    Raises:
        ConfigError: a named trial is none of the run's, or has no score.
        CheckpointError: no trial has a model, or a named one does not fit.
    """
    run = RunFolder(job.run_dir)
    rows = best_trials(run.read_trials(), len(run.read_trials()))
    if not rows:
        raise CheckpointError(f"{run.path}: no trial with a model; run a search first.")
    if job.members:
        rows = _named(rows, job.members)
    most = len(rows) if job.members else MAX_CANDIDATES if job.select == "greedy" else job.top_k
    found = _fitting(run, rows, most, "sigmoid", job.select == "greedy")
    if not found.candidates:
        found = _fitting(run, rows, most, "softmax", job.select == "greedy")
    if found.left_out and (job.members or not found.candidates):
        raise CheckpointError("\n".join(f"{name}: {reason}" for name, reason in found.left_out.items()))
    return found


def _fitting(run: RunFolder, rows: Sequence[Mapping[str, Any]], most: int, scores: str, is_greedy: bool) -> Found:
    """The first `most` trials with models of one kind that fit the first of them."""
    candidates: list[Candidate] = []
    left_out: dict[str, str] = {}
    for row in rows:
        if len(candidates) == most:
            break
        folder = run.path / "trials" / row["trial_id"]
        try:
            lineage = read_lineage(folder)
            if lineage.scores != scores:
                raise CheckpointError(OTHER_SCORES[lineage.scores].format(stage=lineage.stage))
            candidates.append(_candidate(row, folder, lineage, candidates[0] if candidates else None, is_greedy))
        except CheckpointError as error:
            left_out[row["trial_id"]] = str(error)
    return Found(tuple(candidates), left_out)


def _named(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    by_id = {row["trial_id"]: row for row in rows}
    unknown = [name for name in names if name not in by_id]
    if unknown:
        raise ConfigError(
            "\n".join(f"--members {name}: is no trial with a score{nearest(name, by_id)}" for name in unknown)
        )
    return [row for row in rows if row["trial_id"] in names]


def _candidate(
    row: Mapping[str, Any], folder: Path, lineage: Lineage, first: Candidate | None, needs_predictions: bool
) -> Candidate:
    """The trial, compared with the first one.

    Raises:
        CheckpointError: it does not fit.
    """
    problems = list(_misfits(row, lineage, first)) if first else []
    predictions = None
    try:
        predictions = read_predictions(folder)
    except CheckpointError as error:
        if needs_predictions:
            problems.append(f"a greedy selection needs its validation predictions: {error}")
    if first and predictions and (first.predictions is None or predictions.windows != first.predictions.windows):
        predictions = None
        if needs_predictions:
            problems.append(f"it was validated on other windows than {first.trial_id}, so they cannot be compared")
    if problems:
        raise CheckpointError("; ".join(problems))
    return Candidate(row, folder, lineage, predictions)


def _misfits(row: Mapping[str, Any], lineage: Lineage, first: Candidate) -> Iterator[str]:
    for name in FIT_LINEAGE:
        if getattr(lineage, name) != getattr(first.lineage, name):
            yield f"its {name} differ from those of {first.trial_id}"
    if not _validated_alike(lineage, first.lineage):
        unknown = "what an older version did not record"
        yield (
            f"it was validated on {lineage.split or unknown}, {first.trial_id} on {first.lineage.split or unknown}: "
            "their scores do not compare"
        )
    for name in FIT_KEYS:
        if row[name] != first.row[name]:
            yield (
                f"its {name.removeprefix('config.')}={row[name]} differs from {first.row[name]} of {first.trial_id}; "
                "an ensemble needs one: fix the key in the search"
            )


def misfit(folder: Path, first: Path) -> str:
    """Why a model of one search does not go with another of it, as their folders say; or nothing."""
    lineage = read_lineage(folder, with_weights=False)
    if lineage.scores != read_lineage(first, with_weights=False).scores:
        return OTHER_SCORES[lineage.scores].format(stage=lineage.stage)
    ours, theirs = (load_config(one / CONFIG_FILE).flat() for one in (folder, first))
    for name in (name.removeprefix("config.") for name in FIT_KEYS):
        if ours[name] != theirs[name]:
            return f"its {name}={ours[name]} differs from {theirs[name]}; an ensemble needs one: fix it in the search"
    return ""


def _validated_alike(one: Lineage, other: Lineage) -> bool:
    """Whether two models of the same data were validated on the same files; older versions did not record folds."""
    if one.split is None or other.split is None:
        return one.validation == other.validation and (one.validation == "soundscapes" or one.split is other.split)
    return one.split.digest == other.split.digest
