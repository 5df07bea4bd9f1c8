"""The steps of a chain in the run folder of its search: first trials, search, finalists, pseudo-labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.config.stages import plan_stages
from sed_model.core.errors import DataError, UserError
from sed_model.core.texts import counted
from sed_model.data.splits import unlabelled_soundscapes
from sed_model.run_folder.delivered import read_delivered
from sed_model.run_folder.leaderboard import best_trials
from sed_model.run_folder.window_metrics import metric_of, score_text
from trainables.chaining.budget import Costs, Plan, Wanted, most_that_fit, plan_steps
from trainables.chaining.ledger import FINALISTS, FIRST, LABELS, SEARCH, Done, Ledger
from trainables.chaining.options import ChainOptions
from trainables.chaining.student_steps import student_epochs
from trainables.chaining.texts import plan_lines, span
from trainables.on_ray.cluster import ClusterInfo
from trainables.searching.finalists import changes_for, plan_parts, trains_finalists, why_no_finalists
from trainables.searching.options import SearchOptions
from trainables.searching.resources import at_a_time
from trainables.searching.run import driving, label_unlabelled, rank_trials, refit_finalists
from trainables.searching.setup import Prepared
from trainables.searching.tune_run import search
from trainables.spaces.load import with_settings
from trainables.spaces.rungs import ideal_saving, rung_epochs


@dataclass(frozen=True)
class Searching:
    """A search whose input is right, on a Ray that it fits, as a part of a chain."""

    chain: ChainOptions
    options: SearchOptions
    prepared: Prepared
    cluster: ClusterInfo
    ledger: Ledger
    wanted: Wanted

    def ended(self) -> list[dict[str, Any]]:
        """The rows of the trials that have ended."""
        return [row for row in self.prepared.run.read_trials() if row["status"] != "running"]

    def with_settings(self, **updates: int) -> Prepared:
        """The search with another number of trials, or of finalists."""
        space = with_settings(self.prepared.space, updates)
        return replace(self.prepared, space=space, job=replace(self.prepared.job, space=space))


def search_steps(at: Searching) -> None:
    """The steps that are not done yet. After the first trials the plan is made again, by what they took."""
    with driving(at.prepared, at.cluster, at.options) as prepared:
        at = replace(at, prepared=prepared)
        is_new = not at.ledger.has(FIRST)
        at.ledger.do(FIRST, partial(first_trials, at))
        plan = plan_of(at.ledger, at.chain.budget_s)
        if is_new:
            tell_measured(at, plan)
        at.ledger.do(SEARCH, partial(other_trials, at, plan))
        at.ledger.do(FINALISTS, partial(finalists, at, plan))
        at.ledger.do(LABELS, partial(labels, at))


def plan_of(ledger: Ledger, budget_s: float) -> Plan:
    """What fits, by what the first trials took. It stays the same however often a chain is gone on with.

    Raises:
        DataError: chain.json lacks what they took.
    """
    record = ledger.record
    first = record.steps.get(FIRST)
    if record.wanted is None or record.costs is None or first is None or first.ended_s is None:
        raise DataError(f"{ledger.path}: lacks what the first trials took; begin a chain of another --name.")
    return plan_steps(budget_s, record.wanted, record.costs, record.n_first_trials, first.ended_s)


def tell_measured(at: Searching, plan: Plan) -> None:
    record = at.ledger.record
    if record.costs is not None:
        print(
            f"\nmeasured: {counted(record.n_first_trials, 'trial')}, {record.costs.epoch_s:.2g} s an epoch, "
            f"{record.costs.at_a_time} at a time. The plan again, by that:",
            flush=True,
        )
        print("\n".join(plan_lines(at.chain, at.wanted, record, plan)) + "\n", flush=True)


def first_trials(at: Searching) -> Done:
    """As many trials as run at a time, the default among them, which is never stopped: what an epoch takes."""
    if not at.ended():
        n_known = len(at.prepared.run.read_curves())  # of trials that were broken off; the budget counts them
        search(at.prepared, at.cluster, replace(at.options, epoch_budget=n_known + 1))
    rows = at.ended()
    costs = Costs(
        epoch_s=seconds_an_epoch(rows),
        at_a_time=at_a_time(at.prepared.job, at.cluster, at.options.max_concurrent, at.wanted.n_trials),
    )
    at.ledger.write(wanted=at.wanted, costs=costs, n_first_trials=len(rows))
    return Done(said=f"{counted(len(rows), 'trial')}, {costs.epoch_s:.2g} s an epoch")


def seconds_an_epoch(rows: Sequence[Mapping[str, Any]]) -> float:
    timed = [(row["duration_s"], row["epochs"]) for row in rows if row["duration_s"] and row["epochs"]]
    return sum(took_s for took_s, _ in timed) / max(1, sum(epochs for _, epochs in timed))


def other_trials(at: Searching, plan: Plan) -> Done:
    """The trials that fit; none is begun that might not end in the search's share of the time."""
    run, left_s = at.prepared.run, plan.search_until_s - at.ledger.spent_s
    trial_s = seconds_an_epoch(at.ended()) * at.wanted.trial_epochs
    if len(at.ended()) < plan.n_trials and left_s > trial_s:
        search(
            at.with_settings(num_trials=plan.n_trials), at.cluster, replace(at.options, time_budget=left_s - trial_s)
        )
    n_ended = len(at.ended())
    if n_ended < at.wanted.n_trials:
        at.ledger.cut(SEARCH, f"{at.wanted.n_trials - n_ended} of {counted(at.wanted.n_trials, 'trial')}")
    rank_trials(at.prepared, at.ledger.spent_s)
    best = best_trials(run.read_trials(), 1)[0]
    metric = metric_of([best])
    return Done(
        score=score_text(metric, best[metric]), said=f"{counted(n_ended, 'trial')}, the best is {best['trial_id']}"
    )


def finalists(at: Searching, plan: Plan) -> Done:
    """As many of the best as fit into the time that is left, by what their own epochs took in the search."""
    if not at.wanted.n_finalists:
        return Done(said=f"none: {why_no_finalists(at.prepared.space, at.prepared.data) or '--finalists 0'}")
    began_s = at.ledger.record.steps[FINALISTS].began_s
    left_s = at.chain.budget_s - plan.end_s - plan.n_rounds * plan.round_s - began_s
    n = most_that_fit(left_s, at.wanted.n_finalists, partial(finalists_s, at))
    if n < at.wanted.n_finalists:
        at.ledger.cut(
            FINALISTS,
            f"{at.wanted.n_finalists - n} of {counted(at.wanted.n_finalists, 'finalist')}: "
            f"{n + 1} would take {span(finalists_s(at, n + 1))}, and {span(max(0, left_s))} are left",
        )
    if not n:
        return Done(said="none: no time")
    refit_finalists(at.with_settings(finalists=n), at.cluster, at.options)
    delivered = read_delivered(at.prepared.run.path)
    if delivered is None:
        return Done(said="none: a training of each has failed")
    n_models, n_trained = counted(len(delivered.members), "model"), counted(len(delivered.finalists), "finalist")
    score = f"{score_text(delivered.metric, delivered.score)} ± {delivered.se:.4f}"
    return Done(score=score, said=f"the mean of {n_models} of {n_trained}")


def finalists_s(at: Searching, n: int) -> float:
    """How long the trainings of so many finalists take, by what an epoch of their trials took."""
    job, rows = at.with_settings(finalists=n).job, {row["number"]: row for row in at.ended()}
    plans = plan_parts(list(rows.values()), job)
    times_s = []
    for one in plans:
        config = job.config(one.values).with_overrides(one.changes)
        n_epochs = plan_stages(config, job.stages, job.epochs_scale)[-1].last_epoch
        times_s.append(n_epochs * seconds_an_epoch([rows[one.number]]))
    at_a_time = at.ledger.record.costs.at_a_time if at.ledger.record.costs else 1
    return max(sum(times_s) / at_a_time, max(times_s))


def labels(at: Searching) -> Done:
    """Pseudo-labels by what the search delivers."""
    if not unlabelled_soundscapes(at.prepared.data):
        return Done(said="none: no unlabelled soundscapes")
    label_unlabelled(at.prepared, None)
    try:
        n_labels = len(read_pseudo_labels(at.prepared.run.ensemble))
    except UserError as error:
        return Done(said=f"none that can teach: {error}")
    return Done(said=counted(n_labels, "pseudo-label"))


def wanted_of(chain: ChainOptions, prepared: Prepared) -> Wanted:
    """What the chain would do with all the time in the world.

    Raises:
        ConfigError: a setting of --student-set is refused, or would change nothing.
    """
    space, job = prepared.space, prepared.job
    settings = space.search
    plans = plan_stages(space.base, job.stages, job.epochs_scale)
    n_epochs = plans[-1].last_epoch
    asha = settings.scheduler
    saving = 0.0 if asha is None else ideal_saving(rung_epochs(asha, plans), n_epochs, asha.reduction_factor)
    longer = space.base.with_overrides(changes_for(space.base, job.stages, settings.finalist_epochs_scale))
    teaches = bool(unlabelled_soundscapes(prepared.data))
    return Wanted(
        n_trials=settings.num_trials,
        n_finalists=min(settings.finalists, settings.num_trials) if trains_finalists(space, prepared.data) else 0,
        n_rounds=chain.rounds if teaches else 0,
        trial_epochs=n_epochs,
        mean_trial_epochs=(1 - saving) * n_epochs,
        finalist_epochs=plan_stages(longer, job.stages, job.epochs_scale)[-1].last_epoch,
        student_epochs=student_epochs(chain),
    )
