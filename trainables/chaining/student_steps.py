"""Rounds of students as steps of a chain: until one gains less than its error, or the time left is too short."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sed_model.config.stages import plan_stages
from sed_model.run_folder.delivered import LEAST_CHANCE
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.window_metrics import score_text
from trainables.chaining.budget import Plan
from trainables.chaining.ledger import LABELS, STUDENT, Done, Ledger
from trainables.chaining.options import ChainOptions
from trainables.chaining.texts import span
from trainables.searching.next_steps import can_teach
from trainables.searching.round_scores import lead_text
from trainables.searching.rounds import StudentOptions, round_name, run_round
from trainables.spaces.load import load_space
from trainables.spaces.overrides import Use, absolute_paths, check_used, parse_overrides


def student_steps(chain: ChainOptions, ledger: Ledger, plan: Plan) -> None:
    """The rounds that are not done yet; `kept_round` of the ledger is then the one that is delivered.

    A round is kept unless it is proven worse than its teacher, as by `trainables.student`; a further one follows where
    it gained at least the error of its lead.
    """
    kept = 0
    for number in range(1, chain.rounds + 1):
        name = f"{STUDENT}{number}"
        teacher = run_of_round(chain, kept)
        if not ledger.has(name) and why_no_round(chain, ledger, plan, number, teacher):
            break
        lead = ledger.do(name, partial(one_round, chain, number, teacher)).done.lead
        kept = number if lead is None or lead.p_better >= LEAST_CHANCE else kept
        if lead is None or lead.mean < lead.se:
            break
    ledger.write(kept_round=kept)


def run_of_round(chain: ChainOptions, number: int) -> Path:
    """The run folder of a round; 0 is the search."""
    run = chain.run
    return run.with_name(round_name(run, number)) if number else run


def why_no_round(chain: ChainOptions, ledger: Ledger, plan: Plan, number: int, teacher: Path) -> str:
    """Why the round cannot be, which is told; or nothing."""
    if not can_teach(RunFolder(teacher)):
        reason = f"no students: {teacher.name} has no pseudo-labels that could teach"
        print(reason, flush=True)
        return reason
    needs_s, left_s = round_s(ledger, plan, number), chain.budget_s - plan.end_s - ledger.spent_s
    if ledger.has(f"{STUDENT}{number}") or needs_s <= left_s:
        return ""
    reason = f"student {number}: a round takes about {span(needs_s)}, and {span(max(0, left_s))} are left"
    ledger.cut(f"{STUDENT}{number}", reason)
    return reason


def round_s(ledger: Ledger, plan: Plan, number: int) -> float:
    """What a round takes: as long as the one before, or by the epochs of the first trials, and its labels."""
    before = ledger.record.steps.get(f"{STUDENT}{number - 1}")
    labels = ledger.record.steps.get(LABELS)
    return before.took_s if before else plan.round_s + (labels.took_s if labels else 0.0)


def one_round(chain: ChainOptions, number: int, teacher: Path) -> Done:
    done = run_round(number, teacher, student_options(chain))
    told = "kept" if done.is_kept else "left out"
    return Done(score=score_text(done.metric, done.score), said=f"{told}; {lead_text(done.lead)}", lead=done.lead)


def student_options(chain: ChainOptions) -> StudentOptions:
    return StudentOptions(
        command=chain.command,
        run=chain.run,
        rounds=chain.rounds,
        finalists=chain.finalists,
        overrides=chain.student_overrides,
        **chain.machine(),
    )


def student_epochs(chain: ChainOptions) -> int:
    """Of one training of a student; its settings are checked hours before they are used."""
    overrides = absolute_paths(parse_overrides(chain.student_overrides))
    options = student_options(chain)
    space = load_space(options.space, overrides)
    searched = tuple(parameter.key for parameter in space.parameters)
    check_used(overrides, space.base, Use("student", space.search.stages, searched))
    return plan_stages(space.base, ("pseudo",), space.search.epochs_scale)[-1].last_epoch
