"""The members of an ensemble where a search delivers finalists: their models of all parts.

Each has not heard one part of the labelled soundscapes, and those of a part make labels of their own: a student that
this part validates learns from them, and so from nothing that has heard what validates it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sed_model.config.sed_config import load_config
from sed_model.core.errors import CheckpointError
from sed_model.model.checkpoint import CONFIG_FILE, Lineage, read_lineage
from sed_model.run_folder.delivered import Finalist, read_delivered
from sed_model.run_folder.folder import RunFolder, is_probe
from trainables.labelling.candidates import FIT_KEYS, OTHER_SCORES, EnsembleJob
from trainables.labelling.members import Choice, Member, validation_of


def delivered_members(job: EnsembleJob) -> Choice | None:
    """The models of the `top_k` best delivered finalists; None where there are none, or trials are asked for.

    Raises:
        CheckpointError: delivered.json or a model is damaged, or no finalist can be a member.
    """
    delivered = None if job.members or job.select != "top" else read_delivered(job.run_dir)
    if delivered is None:
        return None
    chosen: list[Finalist] = []
    left_out: dict[str, str] = {}
    for one in delivered.finalists:
        if not one.is_delivered:
            left_out[one.trial_id] = one.misfit or "it is rather worse than the default"
        elif problem := _misfit(job.run_dir, one, chosen[0] if chosen else None):
            left_out[one.trial_id] = problem
        elif len(chosen) < job.top_k:
            chosen.append(one)
    if not chosen:
        raise CheckpointError("\n".join(f"{name}: {reason}" for name, reason in left_out.items()))
    folders = [model.folder for one in chosen for model in one.members]
    known = {model.folder: model.weights_sha256 for one in chosen for model in one.members}
    folders += probe_trials(job.run_dir, chosen)
    members = tuple(member_of(job.run_dir, folder, known.get(folder), 1 / len(folders)) for folder in folders)
    facts: dict[str, Any] = {"select": "delivered", "score": delivered.macro_auc, "mean_correlation": None}
    facts |= {"steps": [], "left_out": left_out}
    return Choice(members, facts, tuple(job.run_dir / folder for folder in folders))


def probe_trials(run: Path, finalists: Sequence[Finalist]) -> list[str]:
    """Of a probe also the trials: no labelled soundscape has trained them, and they label for whom all validate."""
    return [f"trials/{one.trial_id}" for one in finalists] if is_probe(RunFolder(run)) else []


def _misfit(run: Path, one: Finalist, first: Finalist | None) -> str:
    """Why a finalist does not go with the first one, or nothing."""
    lineage, keys = _facts(run, one)
    if lineage.scores == "softmax":
        return OTHER_SCORES["softmax"].format(stage=lineage.stage)
    if first is None:
        return ""
    differing = [name for name, value in _facts(run, first)[1].items() if keys[name] != value]
    return f"its {differing[0]}={keys[differing[0]]} differs from that of {first.trial_id}" if differing else ""


def _facts(run: Path, one: Finalist) -> tuple[Lineage, dict[str, Any]]:
    folder = run / one.members[0].folder
    flat = load_config(folder / CONFIG_FILE).flat()
    names = [name.removeprefix("config.") for name in FIT_KEYS]
    return read_lineage(folder, with_weights=False), {name: flat[name] for name in names}


def member_of(run: Path, folder: str, sha256: str | None, weight: float) -> Member:
    """A model in a folder of the run, which has that checksum, where one is known.

    Raises:
        CheckpointError: it has another one, or is none.
    """
    lineage = read_lineage(run / folder)
    if sha256 not in (None, lineage.weights_sha256):
        raise CheckpointError(f"{folder}: is not the model that delivered.json names; resume the search.")
    return Member(
        trial_id=folder.removeprefix("trials/").replace("/", "_"),
        weight=weight,
        times_chosen=1,
        macro_auc=lineage.metrics["macro_auc"],
        score_after=None,
        correlation=None,
        stage=lineage.stage,
        weights_sha256=lineage.weights_sha256,
        validation=validation_of(lineage),
    )
