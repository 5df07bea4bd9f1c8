"""What the student command does: a search a round, as long as none is proven worse than its teacher."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from sed_model.core import cli
from sed_model.core.errors import ConfigError, DataError
from sed_model.core.texts import shown
from sed_model.run_folder.delivered import LEAST_CHANCE, Lead
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.window_metrics import METRICS
from trainables.on_ray.cluster import joined_address, ray_session
from trainables.searching.checks import check_place
from trainables.searching.cross_line import check_teachers, label_for_student
from trainables.searching.next_steps import can_teach
from trainables.searching.options import SearchOptions
from trainables.searching.round_scores import lead_of, lead_text, metric_of_run, models_of, score_of
from trainables.searching.run import run_search
from trainables.trials.teacher import find_teacher


@dataclass(frozen=True)
class StudentOptions:
    """The options of the student command, as its --help explains them; `command` is what the user typed.

    Attributes:
        teachers: runs whose models label instead of those of the round before.
        name: of the rounds' run folders, with a number behind it; None: that of the run with `-student`.
    """

    command: str
    run: Path
    rounds: int = 2
    teachers: tuple[Path, ...] = ()
    name: str | None = None
    data: Path | None = None
    space: str = "pseudo.yaml"
    num_trials: int = 1
    finalists: int | None = None
    top_k: int = 3
    max_concurrent: int | None = None
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    workers_per_trial: int | None = None
    address: str | None = None
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Round:
    """A round that is done: its run folder, its score by its metric, and its lead over its teacher."""

    run: Path
    metric: str
    score: float
    lead: Lead

    @property
    def score_text(self) -> str:
        return f"{METRICS[self.metric].title} {self.score:.4f}"

    @property
    def is_kept(self) -> bool:
        """Whether it is not proven worse than its teacher."""
        return self.lead.p_better >= LEAST_CHANCE


def run_rounds(options: StudentOptions) -> None:
    """Train round after round. Rounds that are done are kept; one that was broken off is gone on with.

    The last round is what is kept, unless it is proven worse than the one before: a few labelled files cannot tell two
    rounds apart, and more rounds have heard more.

    Raises:
        UserError: the run has no model or no pseudo-labels, or an option is refused.
    """
    teacher = options.run
    check_place(teacher.parent, options.name and f"{options.name}-{options.rounds}")
    if options.teachers:
        check_teachers(teacher, options.teachers, options.rounds)
    else:
        find_teacher(teacher)
    kept, number = 0, 0
    with ray_session(joined_address(options.address)):
        for number in range(1, options.rounds + 1):
            done = run_round(number, teacher, options)
            if not done.is_kept:
                break
            kept, teacher = number, done.run
            if number < options.rounds and not can_teach(RunFolder(teacher)):
                print("no window was sure enough to be a pseudo-label: no further round", flush=True)
                break
    print(f"\nkept            round {kept} of {number}\nmodels          {models_of(RunFolder(teacher))}")
    data_dir = Path(RunFolder(teacher).read_search()["data"]["folder"])
    name, scapes = shlex.quote(str(teacher)), cli.soundscapes_to_predict(data_dir)
    cli.print_next(
        f"python -m analysis.report --run {name}",
        f"python -m trainables.predict --run {name} --tune-post --out post.json",
        f"python -m trainables.predict --run {name} --soundscapes {scapes} --post post.json --out submission.csv",
        f"python -m trainables.export --run {name} --kaggle kaggle --post post.json",
    )


def run_round(number: int, teacher: Path, options: StudentOptions) -> Round:
    """Train the round, new or gone on with, and say what it is worth against its teacher."""
    labellers = f", labels are by {' and '.join(one.name for one in options.teachers)}" if options.teachers else ""
    before = metric_of_run(teacher)
    known = f"{METRICS[before].title} {score_of(teacher):.4f}"
    print(f"\nround {number}: the teacher is {teacher.name} ({known}){labellers}", flush=True)
    try:
        student = train_round(number, teacher, options)
    except KeyboardInterrupt:  # with the hint of the round's search, which would go on with that round alone
        raise KeyboardInterrupt from None
    metric = metric_of_run(student)
    done = Round(student, metric, score_of(student), lead_of(student, teacher))
    print(f"round {number}: {done.score_text}, {lead_text(done.lead)}", flush=True)
    if metric != before:
        print(f"both are compared by {METRICS[metric].title}, the metric of the round's search space", flush=True)
    if not done.is_kept:
        print("the round is proven worse than its teacher: it is left out, and no further one follows", flush=True)
    return done


def train_round(number: int, teacher: Path, options: StudentOptions) -> Path:
    """Run folder of the round's search, new or gone on with; its ensemble has labelled the soundscapes."""
    run = RunFolder(round_folder(options, number))
    search = round_search(run, teacher, options)
    if run.search_file.is_file():
        check_same_settings(run, options.overrides)
        check_same_teachers(run, options.teachers)
        print(f"{run.path.name} is there: it goes on with the settings and trials that it was begun with", flush=True)
        search = replace(search, resume=True, num_trials=None, space=None, teacher=None, teachers=(), overrides=())
    elif options.teachers:
        label_for_student(run, teacher, search)
    run_search(search)
    return run.path


def check_same_settings(run: RunFolder, overrides: Sequence[str]) -> None:
    """A round that is gone on with keeps its settings.

    Raises:
        ConfigError: others are set.
        DataError: what was set is damaged.
    """
    record = run.read_search()
    words = shlex.split(str(record.get("command", "")))  # earlier releases recorded the settings there alone
    began = record.get("set", [text for word, text in pairwise(words) if word == "--set"])
    if not (isinstance(began, list) and all(isinstance(word, str) for word in began)):
        raise DataError(
            f"{run.search_file}: set is {shown(began, 60)}, no list of KEY=VALUE; restore the file, or remove that run "
            "to train the round anew."
        )
    if overrides and sorted(overrides) != sorted(began):
        raise ConfigError(
            f"--set {' '.join(overrides)}: {run.path.name} was begun with {' '.join(began) or 'nothing set'}, and goes "
            "on with that; leave --set out, or remove that run to train the round anew."
        )


def check_same_teachers(run: RunFolder, teachers: Sequence[Path]) -> None:
    """A round that is gone on with keeps the labels that it was begun with.

    Raises:
        ConfigError: other runs, or none, are to label.
        DataError: the record of them is damaged.
    """
    began = run.teachers()
    if sorted(map(str, teachers)) != sorted(began):
        told = " ".join(map(str, teachers)) or "(none)"
        raise ConfigError(
            f"--teachers {told}: {run.path.name} was begun with the labels of "
            f"{' '.join(began) or 'the run that it starts from'}, and goes on with these; give the same --teachers, or "
            "another --name."
        )


def round_search(run: RunFolder, teacher: Path, options: StudentOptions) -> SearchOptions:
    """The search of one round; `teacher` is the run that it learns from."""
    return SearchOptions(
        command=options.command,
        space=options.space,
        data=options.data,
        out=run.path.parent,
        name=run.path.name,
        teacher=teacher,
        teachers=options.teachers,
        num_trials=options.num_trials,
        overrides=options.overrides,
        max_concurrent=options.max_concurrent,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        workers_per_trial=options.workers_per_trial,
        address=options.address,
        top_k=options.top_k,
        finalists=options.finalists,
        is_last=False,
    )


def round_folder(options: StudentOptions, number: int) -> Path:
    """Run folder of a round, beside the run."""
    name = round_name(options.run, number) if options.name is None else f"{options.name}-{number}"
    return options.run.parent / name


def round_name(run: Path, round_number: int) -> str:
    """Name of the run folder of a round."""
    return f"{run.name}-student-{round_number}"
