"""An ensemble whose members are of several runs: a probe's models beside those of a search, or another backbone's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sed_model.config.sed_config import load_config
from sed_model.core.errors import CheckpointError
from sed_model.model.checkpoint import CONFIG_FILE, read_lineage
from sed_model.predict.ensemble import Joining
from sed_model.run_folder.delivered import read_delivered
from trainables.labelling.candidates import EnsembleJob
from trainables.labelling.delivered_members import member_of, probe_trials
from trainables.labelling.members import Choice, Member
from trainables.labelling.run_members import RunMembers, members_of, with_others

NOT_CHOSEN: Mapping[str, Any] = {
    "select": "teachers",
    "score": None,
    "mean_correlation": None,
    "steps": [],
    "left_out": {},
}
"""Of members that no score of theirs has chosen."""


def with_other_runs(choice: Choice, job: EnsembleJob) -> Choice:
    """The members of a run, and with them those of the runs of --also; weighted as `predict --also` weighs them.

    Where its own are left out, those of the others alone, for the parts of the run: its students learn from them.

    Raises:
        CheckpointError: a run has no models, or those have heard what they would have to label for, or other data.
    """
    if not job.also:
        return choice
    others = [_members_of(run) for run in job.also]
    own_members: tuple[Member, ...] = ()
    if job.leaves_own_out:
        both = with_others(others[0], others[1:])
    else:
        own = RunMembers(choice.folders, Joining(tuple(one.weight for one in choice.members)), job.run_dir.name)
        both, own_members = with_others(own, others, job.share), choice.members
    weights = iter(both.joining.weights or [1 / len(both.folders)] * len(both.folders))
    members = [replace(one, weight=next(weights)) for one in own_members]
    for run, other in zip(job.also, others, strict=True):
        joining = [replace(_named(run, folder), weight=next(weights)) for folder in other.folders]
        if problem := next(_problems(choice, job.run_dir, joining, other.folders), None):
            raise CheckpointError(f"{'--teachers' if job.leaves_own_out else '--also'} {run}: {problem}")
        members += joining
    also = [{"run": run.name, "source": other.source} for run, other in zip(job.also, others, strict=True)]
    if job.leaves_own_out:
        return Choice(tuple(members), {**NOT_CHOSEN, "also": also}, both.folders, choice.parts())
    return Choice(tuple(members), {**choice.facts, "also": also, "share": job.share}, both.folders)


def _members_of(run: Path) -> RunMembers:
    """What predicts for a run; of a probe also what has heard no labelled soundscape."""
    found, delivered = members_of(run), read_delivered(run)
    finalists = [] if delivered is None else [one for one in delivered.finalists if one.is_delivered]
    trials = [run / folder for folder in probe_trials(run, finalists)]
    return replace(found, folders=(*found.folders, *trials))


def _named(run: Path, folder: Path) -> Member:
    member = member_of(run, folder.relative_to(run).as_posix(), None, 0.0)
    return replace(member, trial_id=f"{run.name}_{member.trial_id}", run=run.name)


def _problems(choice: Choice, run: Path, joining: Sequence[Member], folders: Sequence[Path]) -> Iterator[str]:
    """Why models of another run do not go with those of `run`."""
    theirs = {read_lineage(folder).data_fingerprint for folder in folders}
    if theirs != {read_lineage(choice.folders[0]).data_fingerprint}:
        yield f"was made with other data than {run.name}; make it again with the same folder."
    own_s, *others_s = (load_config(one / CONFIG_FILE).data.target_s for one in (choice.folders[0], *folders))
    if strange := [target_s for target_s in others_s if target_s != own_s]:
        yield f"its data.target_s={strange[0]:g} is not the {own_s:g} of {run.name}; search again with that."
    parts = {one.part: one.validation["split_seed"] for one in choice.members if one.part is not None}
    unheard = {one.part for one in joining}
    missing = [seed for part, seed in parts.items() if part not in unheard]
    if missing and None not in unheard:
        yield (
            f"was trained on other parts of the labelled soundscapes than {run.name}, so its models have heard what "
            f"they would label for; make it again with --set data.split_seed={missing[0]}."
        )
    if not parts and None not in unheard:
        yield (
            f"was trained on labelled soundscapes, all of which validate who learns from {run.name}; give a run whose "
            "trials they validate (--finalists 0), or a probe."
        )
