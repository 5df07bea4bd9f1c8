"""Which trials are the members of an ensemble: those that fit together, the best of them or a greedy choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import some
from sed_model.data.recordings import DataFolder
from sed_model.model.checkpoint import Lineage
from sed_model.run_folder.metrics import macro_auc
from sed_model.run_folder.predictions import OutOfFold
from sed_model.scores import combine, selection
from trainables.labelling.candidates import Candidate, EnsembleJob, Found


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
    run: str = ""
    """Name of the other run that it is of; empty: of the run that labels."""

    @property
    def part(self) -> str | None:
        """Digest of the part of the labelled soundscapes that it has not heard; None: it has heard none of them."""
        return self.validation["digest"] if self.validation.get("soundscape_folds") else None


@dataclass(frozen=True)
class Choice:
    """The members, the folders of their models, and how they came to be; `facts` go into members.json."""

    members: tuple[Member, ...]
    facts: Mapping[str, Any]
    folders: tuple[Path, ...]
    taught_parts: Mapping[int, str] | None = None
    """Of a run whose own models are no members: its parts and their digests. None: its models are members."""

    def parts(self) -> dict[int, str]:
        """The run's parts of the labelled soundscapes and their digests; none where it has heard none of these."""
        if self.taught_parts is not None:
            return dict(self.taught_parts)
        return {one.validation["fold"]: one.part for one in self.members if one.part is not None and not one.run}

    def label_sets(self) -> dict[int, tuple[bool, ...]]:
        """The run's parts of the labelled soundscapes -> which members label for whom it validates.

        Of each run the models of this part, and where it has none of those, what has heard no labelled soundscape.
        Empty: no model of the run has heard any.
        """
        return {part: self._not_heard(digest) for part, digest in sorted(self.parts().items())}

    def whole(self) -> tuple[bool, ...] | None:
        """Who labels for whom all labelled soundscapes validate: what has heard none, where the run has such models.

        Where its own are left out, what has heard none of the others.

        None: all of the members.
        """
        heard_none = tuple(one.part is None for one in self.members)
        has_own = any(one.part is None for one in self.members if self.taught_parts is not None or not one.run)
        return heard_none if has_own and not all(heard_none) else None

    def _not_heard(self, part: str) -> tuple[bool, ...]:
        of_part = {one.run for one in self.members if one.part == part}
        return tuple(one.part == (part if one.run in of_part else None) for one in self.members)


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
    return Choice(members, facts, tuple(job.run_dir / "trials" / member.trial_id for member in members))


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
                validation_of(candidate.lineage),
            )
        )
    return tuple(members)


def validation_of(lineage: Lineage) -> dict[str, Any]:
    """What a model was validated on, as in its lineage; of an older version's model the kind alone is known."""
    return {"kind": lineage.validation} if lineage.split is None else lineage.split.model_dump()


def table_lines(choice: Choice) -> list[str]:
    """What to print of the choice: a line for each member, and what the scores are worth."""
    width = max(12, *(len(member.trial_id) for member in choice.members))
    lines = [f"{'member':<{width}} {'weight':>6} {'own':>7} {'ensemble':>8} {'correlation':>11}"]
    lines += [
        f"{member.trial_id:<{width}} {member.weight:>6.3f} {member.macro_auc:>7.4f} {_number(member.score_after):>8} "
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
