"""The page of a report: the chapters of a run, or of several with a comparison before them."""

import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path

import optuna

from analysis.compare import comparison_chapter, unique_names
from analysis.luck import luck_section
from analysis.page import Chapter, Section, render, said
from analysis.sections_alike import alike_section
from analysis.sections_models import (
    calibration_section,
    classes_section,
    confusion_section,
    pseudo_label_section,
    windows_section,
)
from analysis.sections_search import (
    RunFacts,
    cost_section,
    curves_section,
    gather,
    history_section,
    importance_section,
    pareto_section,
    ranking_section,
    slices_section,
    together_section,
)
from analysis.summary import summarise
from analysis.tables import read_run

SECTIONS = (
    ranking_section,
    history_section,
    curves_section,
    importance_section,
    slices_section,
    together_section,
    pareto_section,
    cost_section,
    classes_section,
    calibration_section,
    confusion_section,
    pseudo_label_section,
    windows_section,
    alike_section,
)
"""Each makes a part of the page, or None where the run has nothing to show of it."""


def report(paths: Sequence[Path]) -> str:
    """The report of one run, or of several with a comparison before them.

    Raises:
        RunFolderError: a folder breaks the contract.
    """
    names = unique_names([path.resolve().name for path in paths])
    facts = {name: gather(read_run(path)) for name, path in zip(names, paths, strict=True)}
    chapters = [run_chapter(name, entry) for name, entry in facts.items()]
    if len(facts) == 1:
        entry = next(iter(facts.values()))
        return render(f"Run {names[0]}", _made(entry), chapters)
    title = " and ".join(names) if len(names) == 2 else f"{len(names)} runs"
    return render(f"Comparison of {title}", [], [comparison_chapter(facts), *chapters])


def run_chapter(name: str, facts: RunFacts) -> Chapter:
    """All sections about one run."""
    summary = Section(facts.anchor("summary"), "Summary", summarise(facts.run, facts.spread, facts.importance))
    with warnings.catch_warnings():
        # Optuna calls some of its pictures experimental.
        warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
        made = [section(facts) for section in SECTIONS]
    sections = [section for section in made if section is not None]
    return Chapter(facts.anchor("run"), name, [luck_section(facts), summary, *sections, commands_section(facts)])


def commands_section(facts: RunFacts) -> Section:
    """What to type to get the same again, and to go on."""
    run, folder = facts.run, shlex.quote(str(facts.run.path))
    ranked = facts.ranking.dropna(subset="rank")
    commands = []
    if isinstance(run.search.get("command"), str):
        commands.append(("How this run was started:", run.search["command"]))
    if len(ranked):
        trial = facts.run.path / "trials" / str(ranked.iloc[0]["trial_id"])
        data = run.search.get("data")
        data_dir = shlex.quote(str(data.get("folder"))) if isinstance(data, dict) and data.get("folder") else "DIR"
        config = shlex.quote(str(trial / "config.json"))
        if not run.search.get("teacher"):  # a student is what its pseudo-labels and its teacher's weights made of it
            commands.append(
                (
                    "The best configuration in full (five times the epochs):",
                    f"python -m trainables.train --config {config} --stage all --data {data_dir} --out runs/final "
                    "--epochs-scale 5",
                )
            )
        commands.append(
            (
                "Predictions with the best models:",
                f"python -m trainables.predict --run {folder} --soundscapes DIR --out submission.csv",
            )
        )
    commands.append(("The ranking in the terminal:", f"python -m analysis.ranking --run {folder}"))
    commands.append(("This page:", f"python -m analysis.report --run {folder}"))
    versions = run.search.get("versions")
    known = ", ".join(f"{name} {version}" for name, version in versions.items()) if isinstance(versions, dict) else ""
    sentences = [f"Seed {run.search['seed']}." if "seed" in run.search else "", f"Versions: {known}." if known else ""]
    data = run.search.get("data")
    if isinstance(data, dict) and data.get("fingerprint"):
        sentences.append(f"Data: {data.get('folder')}, fingerprint {data['fingerprint']}.")
    return Section(facts.anchor("commands"), "The same again", said(*sentences), commands=commands)


def _made(facts: RunFacts) -> list[str]:
    created = facts.run.search.get("created")
    return [f"The search was started {created}."] if created else []
