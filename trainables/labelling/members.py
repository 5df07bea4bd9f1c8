"""Which trials are the members of an ensemble: those that fit together, the best of them or a greedy choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import CheckpointError, ConfigError, some
from sed_model.core.texts import nearest
from sed_model.data.recordings import DataFolder
from sed_model.model.checkpoint import Lineage, read_lineage
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import best_trials
from sed_model.run_folder.metrics import macro_auc
from sed_model.run_folder.predictions import OutOfFold, read_predictions
from sed_model.scores import combine, selection

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
    their predictions. `overrides` replaces rules of the members' configuration (ensemble_plan.OVERRIDABLE).
    `gpus_per_worker` None: a quarter where there are GPUs. `recursive`: files in folders below `soundscapes`, too.
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


@dataclass(frozen=True)
class Member:
    """A trial in the ensemble.

    `macro_auc` is its own score; `score_after` that of the ensemble once it has joined; `correlation` the mean rank
    correlation with the other members: all on the validation windows. `validation` says what those were.
    """

    trial_id: str
    weight: float
    times_chosen: int
    macro_auc: float
    score_after: float | None
    correlation: float | None
    stage: str
    weights_sha256: str
    validation: Mapping[str, Any]


@dataclass(frozen=True)
class Choice:
    """The members and how they came to be; `facts` go into members.json."""

    members: tuple[Member, ...]
    facts: Mapping[str, Any]


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


def _validated_alike(one: Lineage, other: Lineage) -> bool:
    """Whether two models of the same data were validated on the same files; older versions did not record folds."""
    if one.split is None or other.split is None:
        return one.validation == other.validation and (one.validation == "soundscapes" or one.split is other.split)
    return one.split.digest == other.split.digest


def choose_members(job: EnsembleJob, found: Found, config: SedConfig, data: DataFolder) -> Choice:
    """The members among the candidates, by `job.select`; `config` has the exponent of the power mean."""
    candidates = found.candidates
    join = joining(job.method, config)
    compared = [candidate.predictions for candidate in candidates if candidate.predictions is not None]
    steps = [selection.Step(number, float("nan")) for number in range(len(candidates))]
    facts: dict[str, Any] = {"select": job.select, "score": None, "mean_correlation": None}
    correlations = np.full((len(candidates), len(candidates)), np.nan)
    if len(compared) == len(candidates):
        targets = compared[0].targets
        by_model = np.stack([one.probabilities for one in compared])
        if job.select == "greedy":
            steps = selection.greedy(targets, by_model, join, job.top_k)
            groups = _groups(compared[0], data)
            facts["cross_validated"] = cross_validation(job, targets, by_model, groups, join)
            facts["note"] = "score is that of the validation windows that the members were chosen by: too good"
        else:
            steps = selection.in_order(targets, by_model, join)
        facts["score"] = steps[-1].score
        chosen = list(dict.fromkeys(step.model for step in steps))
        correlations[np.ix_(chosen, chosen)] = selection.rank_correlations(by_model[chosen])
    members = _members(candidates, steps, correlations)
    known = [member.correlation for member in members if member.correlation is not None]
    facts["mean_correlation"] = float(np.mean(known)) if known else None
    facts["steps"] = [{"trial_id": candidates[step.model].trial_id, "score": _known(step.score)} for step in steps]
    facts["left_out"] = dict(found.left_out)
    return Choice(members, facts)


def joining(method: str, config: SedConfig) -> selection.Join:
    """(probabilities, weights) -> their combination."""
    return lambda by_model, weights: combine.combine(by_model, method, weights, config.pseudo.mean_exponent)


def cross_validation(
    job: EnsembleJob, targets: np.ndarray, by_model: np.ndarray, groups: Sequence[str], join: selection.Join
) -> dict[str, float | None]:
    """What a greedy choice, the best model and the `top_k` best gain on windows that did not choose them."""
    ways: dict[str, selection.Choose] = {
        "greedy": lambda truth, models: selection.greedy(truth, models, join, job.top_k),
        "best": partial(_best, 1),
        "top": partial(_best, job.top_k),
    }
    return {name: selection.cross_validated(targets, by_model, groups, join, choose) for name, choose in ways.items()}


def _best(k: int, targets: np.ndarray, by_model: np.ndarray) -> list[selection.Step]:
    scores = [macro_auc(targets, rows) for rows in by_model]
    order = sorted(range(len(scores)), key=lambda model: -scores[model])
    return [selection.Step(model, scores[model]) for model in order[:k]]


def _groups(predictions: OutOfFold, data: DataFolder) -> list[str]:
    """Of each window its recordist, or its soundscape."""
    authors = dict(zip(data.recordings["path"], data.recordings["author"], strict=True))
    return [str(authors.get(filename, filename)) for filename in predictions.files]


def _members(
    candidates: Sequence[Candidate], steps: Sequence[selection.Step], correlations: np.ndarray
) -> tuple[Member, ...]:
    times = selection.times_chosen(steps, len(candidates))
    joined: dict[int, float] = {}
    for step in steps:
        joined.setdefault(step.model, step.score)
    members = []
    for model, score_after in joined.items():
        candidate = candidates[model]
        others = [correlations[model, other] for other in joined if other != model]
        known = [value for value in others if not np.isnan(value)]
        members.append(
            Member(
                candidate.trial_id,
                float(times[model] / times.sum()),
                int(times[model]),
                candidate.row["macro_auc"],
                _known(score_after),
                float(np.mean(known)) if known else None,
                candidate.lineage.stage,
                candidate.lineage.weights_sha256,
                validation_of(candidate),
            )
        )
    return tuple(members)


def validation_of(candidate: Candidate) -> dict[str, Any]:
    """What the trial was validated on, as in its lineage; of an older version's model the kind alone is known."""
    split = candidate.lineage.split
    return {"kind": candidate.lineage.validation} if split is None else split.model_dump()


def table_lines(choice: Choice) -> list[str]:
    """What to print of the choice: a line for each member, and what the scores are worth."""
    lines = [f"{'member':<12} {'weight':>6} {'own':>7} {'ensemble':>8} {'correlation':>11}"]
    lines += [
        f"{member.trial_id:<12} {member.weight:>6.3f} {member.macro_auc:>7.4f} {_number(member.score_after):>8} "
        f"{_number(member.correlation):>11}"
        for member in choice.members
    ]
    if estimates := choice.facts.get("cross_validated"):
        lines.append(
            f"macro AUC {choice.facts['score']:.4f} on the windows that chose the members; on windows that did not: "
            + ", ".join(f"{name} {_number(value)}" for name, value in estimates.items())
        )
    alike: dict[str, list[str]] = {}
    for name, reason in choice.facts["left_out"].items():
        alike.setdefault(reason, []).append(name)
    for reason, names in alike.items():
        count = f" ({len(names)} trials)" if len(names) > 1 else ""
        lines.append(f"left out: {some(names)}{count}: {reason}")
    return lines


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
