"""What a search delivers: its finalists, trained on parts of the labelled soundscapes, and the mean of all of them.

A few labelled files cannot tell good configurations apart, so the best by them is no better than others, and their mean
is better than each. And labelled soundscapes are worth more in training than in choosing: each finalist is trained once
for each part of them, which validates while the others train, so that all files still score it (cross-fitting). What is
good with soundscapes in training is not what is good without, so that trials train with them, too (`in_parts`). Where
fewer trials than wanted beat the default, finalists train again with other seeds instead: models of a good
configuration are worth more in a mean than those of a worse one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle, islice
from statistics import fmean
from typing import Any

import numpy as np

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import ConfigError
from sed_model.core.texts import counted
from sed_model.data.recordings import DataFolder
from sed_model.data.soundscape_parts import LEAST_FILES
from sed_model.data.splits import validation_kind
from sed_model.model.checkpoint import read_lineage
from sed_model.run_folder.delivered import Delivered, Finalist, Lead, Member, verdict, write_delivered
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import finalists
from sed_model.run_folder.out_of_fold import rounds_of, score
from sed_model.run_folder.predictions import OutOfFold
from sed_model.run_folder.run_tables import trial_id
from sed_model.run_folder.window_metrics import MACRO_AUC, metric_of
from sed_model.scores.leads import files_to_prove, lead_over, provable_lead, resampled_scores, standard_error
from trainables.labelling.candidates import misfit
from trainables.searching.refit import Refit
from trainables.spaces.search_space import SearchSpace
from trainables.spaces.settings import DEFAULT, SearchSettings
from trainables.trials.trial import SearchJob

N_PARTS = 4
MAX_SEED = 2**31
MAX_EPOCHS = 1_000
"""Limits of the keys."""
AS_GOOD = 0.5
"""A finalist that is better than the default in fewer of the resamples would rather cost the mean than help it."""
AVERAGED_EPOCHS = 3
"""No epoch is chosen by the few files of a part: finalists keep the mean of their last epochs, and none stops early."""


IN_PARTS = (
    f"trials train as their finalists will: as long, ended by ASHA alone, no epoch chosen, and with {N_PARTS - 1} of "
    f"{N_PARTS} parts of the labelled soundscapes; the other part scores them"
)


def n_labelled(data: DataFolder) -> int:
    return 0 if data.soundscape_labels is None else data.soundscape_labels["path"].nunique()


def trains_finalists(space: SearchSpace, data: DataFolder) -> bool:
    """Whether labelled soundscapes validate the search, enough of them for parts, and a stage can learn from them."""
    return space.search.finalists > 0 and not why_no_finalists(space, data)


def why_no_finalists(space: SearchSpace, data: DataFolder) -> str:
    """What keeps finalists from training on parts of the labelled soundscapes, and the repair; or nothing."""
    if space.search.refit_folds:
        return "--refit-folds trains the best on these folds instead; leave one of the two out"
    if data.soundscape_labels is None:
        return f"{data.root} has no labelled soundscapes, and finalists train on parts of them; leave it out"
    if validation_kind(data, space.base.data) != "soundscapes":
        return "data.validation=folds lets recordings validate, no soundscapes; leave one of the two out"
    if n_labelled(data) < LEAST_FILES:
        return (
            f"{data.root} has {counted(n_labelled(data), 'labelled soundscape')}, and parts of them take "
            f"{LEAST_FILES}; leave it out, or label more"
        )
    if all(space.base.stages[stage].loss == "ce" for stage in space.search.stages):
        return "no stage can learn from soundscapes, for all losses are ce; leave it out, or add a stage with bce"
    return ""


def check_finalists(given: int | None, space: SearchSpace, data: DataFolder) -> None:
    """
    Raises:
        ConfigError: --finalists was given, and none will be trained.
    """
    if given and (reason := why_no_finalists(space, data)):
        raise ConfigError(f"--finalists {given}: would change nothing: {reason}.")


def tell_finalists(space: SearchSpace, data: DataFolder, n_validating: int) -> None:
    """Print what labelled soundscapes can prove, of which so many validate trials, and what follows the trials."""
    follow = trains_finalists(space, data)  # on parts that validate each other, whatever the trials do
    if space.search.score == MACRO_AUC:  # of others it was not measured
        print(f"data: {what_can_be_proven(n_labelled(data) if follow else n_validating)}", flush=True)
    if follow:
        if space.base.data.soundscape_folds:
            print(IN_PARTS, flush=True)
        print(finalists_line(space.search), flush=True)


def what_can_be_proven(n_files: int) -> str:
    """What the validation can tell, before a search: nobody should read a ranking by hundredths as one."""
    return (
        f"{counted(n_files, 'labelled soundscape')} can prove leads from about {provable_lead(n_files):.3f} on; one of "
        f"0.02 takes about {files_to_prove(0.02)} of them"
    )


def finalists_line(search: SearchSettings) -> str:
    """What follows the trials, before a search."""
    n_trained = min(search.finalists + 1, search.num_trials)
    best = f"the default and the {search.finalists} best of those that beat it"
    who = f"{best} (where fewer do, with further seeds) train" if search.num_trials > 1 else "the trial trains"
    is_longer = search.stages != ("pseudo",) and search.finalist_epochs_scale != 1
    length = f", of {search.finalist_epochs_scale:g} times the epochs where these train," if is_longer else ""
    return (
        f"finalists: {who} again, with {N_PARTS - 1} of {N_PARTS} parts of the labelled soundscapes: up to "
        f"{n_trained * N_PARTS} trainings more{length} (--finalists 0: none)"
    )


def in_parts(space: SearchSpace, data: DataFolder) -> SearchSpace:
    """The space whose trials train as finalists do, if it asks for that and finalists will train.

    What ranks trials is then what ranks finalists, and the model of a trial that ends is its finalist's of part 0.
    Students have such a base already.
    """
    base = base_in_parts(space)
    if base == space.base or not trains_finalists(space, data):
        return space
    return replace(space, base=base, search=space.search.model_copy(update={"finalist_epochs_scale": 1.0}))


def base_in_parts(space: SearchSpace) -> SedConfig:
    """The base of a space whose trials train as finalists do, where it asks for that; else its own."""
    search, base = space.search, space.base
    if not search.trials_in_parts or not search.finalists or search.refit_folds or base.data.soundscape_folds:
        return base
    part = {"data.fold": base.data.fold % N_PARTS}
    return base.with_overrides(changes_for(base, search.stages, search.finalist_epochs_scale) | part)


def plan_parts(trials: Sequence[dict[str, Any]], job: SearchJob) -> list[Refit]:
    """The trainings of the finalists, on all parts with the same seeds.

    `search.finalists` and one are trained, as many times as there are trials at most: the default, the best of those
    that beat it, and in the places that are left all of these in turn again, with other seeds.
    """
    wanted = job.space.search.finalists
    by_score = finalists(trials, len(trials))
    default = next((row for row in by_score if row["drawn_by"] == DEFAULT), None)
    if default is None:
        rows = by_score[:wanted]
    else:
        metric = metric_of(trials)
        rows = [*[row for row in by_score if row[metric] > default[metric]][:wanted], default]
    n_trained = min(wanted + 1, len(by_score))
    plans = []
    for place, row in enumerate(islice(cycle(rows), n_trained if default else len(rows))):
        values = job.space.point_of(row)
        config = job.config(values)
        changes = changes_for(config, job.stages, job.space.search.finalist_epochs_scale)
        first = place // len(rows) * N_PARTS
        numbers = range(first, first + N_PARTS)
        plans += [Refit(row["number"], values, one, changes | of_part(config, one), True) for one in numbers]
    return plans


def of_part(config: SedConfig, number: int) -> dict[str, int]:
    """What is a training's own: of all trainings with a number, whatever the finalist.

    Those with N_PARTS and more are of the parts in turn again. Each has a seed of its own: models that differ more have
    a better mean.
    """
    return {"data.fold": number % N_PARTS, "seed": (config.seed + number) % MAX_SEED}


def changes_for(config: SedConfig, stages: Sequence[str], epochs_scale: float) -> dict[str, int]:
    """How a finalist's trainings differ from its trial's, on whatever part."""
    return {
        "data.soundscape_folds": N_PARTS,
        "optim.average_epochs": config.optim.average_epochs or AVERAGED_EPOCHS,
        "optim.early_stopping_epochs": 0,
        **longer(config, stages, epochs_scale),
    }


def longer(config: SedConfig, stages: Sequence[str], scale: float) -> dict[str, int]:
    """The epochs of a finalist's stages that labelled soundscapes train: with these in, they overfit later.

    Students go on from models that have learned from them, and stay as long as they are.
    """
    names = [name for name in stages if name != "pseudo" and config.stages[name].loss != "ce"]
    return {
        f"stages.{name}.epochs": min(MAX_EPOCHS, max(1, round(config.stages[name].epochs * scale))) for name in names
    }


@dataclass(frozen=True)
class CrossFitted:
    """A finalist with a model for each part, or several."""

    number: int
    is_default: bool
    metric: str
    members: tuple[Member, ...]
    rounds: tuple[OutOfFold, ...]
    """Of each N_PARTS models: all parts, each by the model that has not heard it, in the order of file and time."""

    @cached_property
    def score(self) -> float:
        """Of one model a part, in the mean: several together have a better one, which says nothing of the settings."""
        return self.by(self.metric)

    def by(self, metric: str) -> float:
        return fmean(score(one, metric) for one in self.rounds)

    @cached_property
    def resampled(self) -> np.ndarray:
        """The same on draws of the files, which are those of all finalists."""
        first = self.rounds[0]
        said = [one.probabilities for one in self.rounds]
        return resampled_scores(first.targets, said, first.files, first.parts, metric=self.metric).mean(axis=0)


def read_cross_fitted(run: RunFolder) -> list[CrossFitted]:
    """The finalists of which all parts are trained; those with a part that failed are left out."""
    trained: dict[int, set[int]] = {}
    for row in run.read_refits():
        if row["in_parts"] and not row["error"]:
            trained.setdefault(row["number"], set()).add(row["fold"])
    trials = run.read_trials()
    defaults, metric = {row["number"] for row in trials if row["drawn_by"] == DEFAULT}, metric_of(trials)
    found = {number: whole_rounds(parts) for number, parts in sorted(trained.items())}
    return [
        CrossFitted(number, number in defaults, metric, *_read_models(run, number, parts))
        for number, parts in found.items()
        if parts
    ]


def whole_rounds(trained: Set[int]) -> list[int]:
    """Of the trainings of a finalist those whose N_PARTS are all there: a mean has as many models of each part."""
    firsts = range(0, max(trained) + 1, N_PARTS)
    return [
        one for first in firsts for one in range(first, first + N_PARTS) if trained >= {*range(first, first + N_PARTS)}
    ]


def _read_models(
    run: RunFolder, number: int, trainings: Sequence[int]
) -> tuple[tuple[Member, ...], tuple[OutOfFold, ...]]:
    folders = [run.refit(number, True, training) for training in trainings]
    members = tuple(
        Member(folder=folder.relative_to(run.path).as_posix(), weights_sha256=read_lineage(folder).weights_sha256)
        for folder in folders
    )
    return members, tuple(rounds_of(run.path, members, N_PARTS))


def deliver_mean(run: RunFolder) -> Delivered | None:
    """Score the finalists by their out-of-fold predictions, and write delivered.json and the columns of trials.parquet.

    The mean is of all finalists but those that are rather worse than the default, or whose models do not go together.
    """
    found = read_cross_fitted(run)
    if not found:
        return None
    default = next((place for place, one in enumerate(found) if one.is_default), None)
    first, metric = found[0].rounds[0], found[0].metric
    leads = [_lead(found, place, default) for place in range(len(found))]
    kept = [place for place, lead in enumerate(leads) if lead is None or lead.p_better >= AS_GOOD]
    misfits = _misfits(run, {place: found[place] for place in kept})
    kept = [place for place in kept if place not in misfits]
    mean = np.mean([one.probabilities for place in kept for one in found[place].rounds], axis=0)
    (of_mean,) = resampled_scores(first.targets, [mean], first.files, first.parts, metric=metric)
    said = replace(first, probabilities=mean)
    score_of_mean = score(said, metric)
    rows = [
        Finalist(
            trial_id=trial_id(one.number),
            macro_auc=one.by(MACRO_AUC),
            score=one.score,
            se=standard_error(one.resampled),
            is_default=one.is_default,
            lead=leads[place],
            is_delivered=place in kept,
            misfit=misfits.get(place, ""),
            members=one.members,
        )
        for place, one in enumerate(found)
    ]
    delivered = Delivered(
        n_parts=N_PARTS,
        n_files=len(set(first.files)),
        finalists=tuple(sorted(rows, key=lambda row: -row.score)),
        metric=metric,
        macro_auc=score(said),
        score=score_of_mean,
        se=standard_error(of_mean),
        lead=lead_over(score_of_mean - found[default].score, of_mean, found[default].resampled)
        if default is not None and kept != [default]
        else None,
    )
    write_delivered(run.path, delivered)
    _write_scores(run, delivered)
    return delivered


def _misfits(run: RunFolder, found: Mapping[int, CrossFitted]) -> dict[int, str]:
    """Which finalists do not go with the best one, and why; a softmax comes behind all sigmoids."""
    folders = {place: run.path / one.members[0].folder for place, one in found.items()}
    softmax = {place: read_lineage(folder).scores == "softmax" for place, folder in folders.items()}
    first = min(found, key=lambda place: (softmax[place], -found[place].score))
    problems = {place: misfit(folder, folders[first]) for place, folder in folders.items()}
    return {place: problem for place, problem in problems.items() if problem}


def _lead(found: Sequence[CrossFitted], place: int, default: int | None) -> Lead | None:
    if default is None or place == default:
        return None
    own, other = found[place], found[default]
    return lead_over(own.score - other.score, own.resampled, other.resampled)


def _write_scores(run: RunFolder, delivered: Delivered) -> None:
    """The leaderboard ranks finalists by their out-of-fold scores, but for pruned ones.

    Whoever takes the models of trials takes them in that order, and what is in the folder of a pruned trial is half
    trained: its own score ranks it. What its parts are worth stands in delivered.json.
    """
    scores = {one.trial_id: one for one in delivered.finalists}
    trials = run.read_trials()
    for row in trials:
        one = scores.get(row["trial_id"])
        if one and row["status"] != "complete":
            print(f"{row['trial_id']} is half trained, but for its parts: its own score ranks it", flush=True)
            one = None
        row |= {
            "refit_mean": one.score if one else None,
            "refit_sd": one.se if one else None,
            "n_refits": len(one.members) if one else None,
        }
    run.write_tables(trials, run.read_curves())
    run.write_leaderboard()


def delivered_text(delivered: Delivered) -> list[str]:
    """Lines for people: how sure the finalists are, and what is delivered."""
    scores = "scores" if delivered.metric == MACRO_AUC else delivered.title
    lines = [
        f"finalists, trained on {delivered.n_parts} parts of the {delivered.n_files} labelled soundscapes "
        f"({scores} of what each has not heard):"
    ]
    for one in delivered.finalists:
        told = "the default" if one.is_default else lead_text(one.lead)
        left_out = "" if one.is_delivered else f"; left out: {one.misfit}" if one.misfit else "; rather worse, left out"
        lines.append(f"  {one.trial_id}  {one.score:.4f} ± {one.se:.4f}  {told}{left_out}")
    if len(delivered.finalists) > 1:
        lines.append(f"  mean of all  {delivered.score:.4f} ± {delivered.se:.4f}  {lead_text(delivered.lead)}")
    return [*lines, verdict(delivered)]


def lead_text(lead: Lead | None) -> str:
    if lead is None:
        return ""
    return (
        f"{lead.mean:+.4f} ± {lead.se:.4f} over the default, better with a chance of {lead.p_better:.0%}, "
        f"rather {lead.shrunken:+.4f}"
    )
