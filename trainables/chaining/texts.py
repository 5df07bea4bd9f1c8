"""What a chain tells: its plan before the steps, and a line for each of them at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sed_model.core.texts import counted
from trainables.chaining.budget import END_SHARE, FINALISTS_SHARE, STUDENTS_SHARE, Plan, Wanted
from trainables.chaining.ledger import FINALISTS, FIRST, KAGGLE, LABELS, POST, SEARCH, Record
from trainables.chaining.options import ChainOptions
from trainables.searching.finalists import N_PARTS

Row = tuple[str, str, str, str]
STUDENTS = "students"
HEADS: Row = ("step", "time", "what", "writes")


def span(seconds: float) -> str:
    """45 s, 12 min, 2 h 05 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def plan_lines(options: ChainOptions, wanted: Wanted, record: Record, plan: Plan | None) -> list[str]:
    """The steps: in which time, what, and what they write. Without a `plan` nothing is measured yet."""
    search, finalists, students, end = shares(options.budget_s) if plan is None else estimates(plan, record)
    n_finalists, n_rounds = (wanted.n_finalists, wanted.n_rounds) if plan is None else (plan.n_finalists, plan.n_rounds)
    n_trials, most = (wanted.n_trials, "up to ") if plan is None else (plan.n_trials, "")
    run, folder = options.run, options.folder
    n_parts = N_PARTS if wanted.n_finalists else 1
    trainings = f"{N_PARTS} trainings of {wanted.finalist_epochs} epochs each"
    rounds = f"{most}{counted(n_rounds, 'round')} of {n_parts} x {wanted.student_epochs} epochs"
    rows: list[Row] = [
        (FIRST, "tells what fits", "as many as run at a time, each to its end", str(run)),
        (SEARCH, search, f"{most}{n_trials} trials in all, of {wanted.trial_epochs} epochs", str(run)),
        (FINALISTS, finalists, f"{most}{n_finalists} best and the default, {trainings}", str(run / "delivered.json")),
        (LABELS, end, "pseudo-labels of the unlabelled soundscapes", str(run / "ensemble")),
        (STUDENTS, students, f"{rounds}, until one gains less than its error", f"{run}-student-1, .."),
        (POST, end, "tuned where labelled soundscapes prove a gain", str(folder / "post.json")),
        (KAGGLE, end, "models, graphs, code and a notebook", str(folder / "kaggle")),
    ]
    return table([HEADS, *(_marked(row, record, n_finalists, n_rounds) for row in rows)])


def _marked(row: Row, record: Record, n_finalists: int, n_rounds: int) -> Row:
    """The row, with what is done already, and what will not be."""
    name, _, what, writes = row
    step = record.steps.get(name)
    if step and step.ended_s is not None:
        return name, f"done, {span(step.took_s)}", what, writes
    if name == STUDENTS and record.kept_round is not None:
        return name, "done", what, writes
    missing = {FINALISTS: not n_finalists, STUDENTS: not n_rounds}
    return (name, "none", "-", "-") if missing.get(name) else row


def shares(budget_s: float) -> tuple[str, str, str, str]:
    """The times of the search, the finalists, the students and all the rest before anything is measured."""
    usable_s = (1 - END_SHARE) * budget_s
    return (
        f"from {span((1 - FINALISTS_SHARE - STUDENTS_SHARE) * usable_s)}",
        f"up to {span(FINALISTS_SHARE * usable_s)}",
        f"up to {span(STUDENTS_SHARE * usable_s)}",
        f"part of {span(END_SHARE * budget_s)}",
    )


def estimates(plan: Plan, record: Record) -> tuple[str, str, str, str]:
    """The same times by what the first trials took."""
    began_s = record.steps[FIRST].ended_s or 0.0
    is_over = plan.n_trials <= record.n_first_trials
    return (
        "none" if is_over else f"up to {span(plan.search_until_s - began_s)}",
        f"about {span(plan.finalists_s)}",
        f"about {span(plan.n_rounds * plan.round_s)}",
        f"part of {span(plan.end_s)}",
    )


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns under one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def summary_lines(record: Record, budget_s: float) -> Iterator[str]:
    """A line for each step, what was cut, and the time in all."""
    rows = [("step", "score", "time", "")]
    rows += [(name, step.done.score or "-", span(step.took_s), step.done.said) for name, step in record.steps.items()]
    yield from table(rows)
    named = any(step.done.score and step.done.score[0].isalpha() for step in record.steps.values())
    metric = "macro AUC, where no other metric is named," if named else "macro AUC"
    yield f"scores: {metric} on what validates, never on test data; each model scores only what it has not heard"
    for what in record.cut.values():
        yield f"cut: {what}"
    yield f"in all {span(record.spent_s)} of {span(budget_s)}"
