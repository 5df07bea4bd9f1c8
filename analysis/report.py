"""One HTML file that shows a run: who won, whether that is luck, what mattered, what it cost, how it sounds.

python -m analysis.report --run runs/NAME [--run runs/OTHER] [--out report.html]
"""

import argparse
import json
import shlex
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import optuna

from analysis.command import command_parser
from analysis.command import run as run_command
from analysis.compare import comparison_chapter, unique_names
from analysis.page import Chapter, Section, render
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
from analysis.tables import RunFolderError, read_run

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
)


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
        sections = [section(facts) for section in SECTIONS]
    return Chapter(facts.anchor("run"), name, [summary, *sections, commands_section(facts)])


def commands_section(facts: RunFacts) -> Section:
    """What to type to get the same again, and to go on."""
    run, folder = facts.run, shlex.quote(str(facts.run.path))
    ranked = facts.ranking.dropna(subset="rank")
    commands = []
    if isinstance(run.search.get("command"), str):
        commands.append(("The search, as it was started:", run.search["command"]))
    if len(ranked):
        trial = facts.run.path / "trials" / str(ranked.iloc[0]["trial_id"])
        data = run.search.get("data")
        data_dir = shlex.quote(str(data.get("folder"))) if isinstance(data, dict) and data.get("folder") else "DIR"
        config = shlex.quote(str(trial / "config.json"))
        commands.append(
            (
                "The best configuration in full:",
                f"python -m trainables.train --config {config} --stage all --data {data_dir} --out runs/final",
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
    return Section(facts.anchor("commands"), "The same again", [text for text in sentences if text], commands=commands)


def _made(facts: RunFacts) -> list[str]:
    created = facts.run.search.get("created")
    return [f"The search was started {created}."] if created else []


def write_report(file: Path, text: str) -> None:
    """Write the page in one step: a reader never finds half of it."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}.", suffix=".partial", delete=False
    ) as partial:
        partial.write(text)
    Path(partial.name).chmod(0o644)
    Path(partial.name).replace(file)


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "analysis.report",
        "Write one self-contained HTML file about a run, or about several and how they compare.",
        "  python -m analysis.report --run runs/arch\n"
        "  python -m analysis.report --run runs/arch --run runs/pooling --out both.html",
    )
    parser.add_argument(
        "--run", type=Path, required=True, action="append", metavar="DIR", help="run folder; repeat it to compare runs"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the HTML file (default: report.html in the first run folder)"
    )
    parser.add_argument("--json", action="store_true", help="say where the file is as one JSON object, for scripts")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report; 0 done, 1 the file cannot be written, 2 wrong arguments or a bad run folder."""
    options = build_parser().parse_args(arguments)
    file: Path = options.out or options.run[0] / "report.html"
    if not file.parent.is_dir() and options.out is not None:
        print(f"--out {file}: there is no folder {file.parent}; make it first.", file=sys.stderr)
        return 2
    try:
        text = report(options.run)
    except RunFolderError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        write_report(file, text)
    except OSError as error:
        print(f"--out {file}: cannot be written ({error.strerror}); choose another place.", file=sys.stderr)
        return 1
    size_bytes = len(text.encode())
    if options.json:
        print(json.dumps({"report": str(file), "size_bytes": size_bytes, "runs": [str(run) for run in options.run]}))
    else:
        print(f"{file} ({size_bytes / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    run_command(main)
