"""`python -m trainables.runs list|show|prune`: which runs there are, what they found, and what of them can go."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sed_model.core import cli
from sed_model.core.errors import DataError
from sed_model.core.paths import expanded, is_file
from sed_model.core.texts import printable
from sed_model.run_folder.folder import RunFolder, newest_runs
from sed_model.run_folder.leaderboard import best_trials
from sed_model.run_folder.window_metrics import score_text
from trainables.keeping.run_contents import COLUMNS, RunSummary, is_busy, removable, remove, size_of, summarise

DESCRIPTION = """Look at the run folders of searches, and make room on the disk.

A run is `complete` once all its trials have ended, `running` while a command writes to it (one of another machine:
until it has written nothing for 10 minutes), else `interrupted`: a search that was stopped, killed, or ran out of its
budget; --resume goes on with it.
`prune` lists what can be remade or only serves to resume, and removes it with --yes: the training states of trials,
Ray Tune's own folder, and predictions of the ensemble. Models, tables, labels and the study are never removed."""
EXAMPLES = """  python -m trainables.runs list
  python -m trainables.runs show arch-20261122-101500 --json
  python -m trainables.runs prune                 (says what and how much)
  python -m trainables.runs prune first --yes     (removes it)"""
MAX_REASON = 300
"""Characters of an error or another text of a run that are shown."""
PARTS = ("trials", "ensemble", "tune")
"""Folders of a run whose sizes are told apart."""


def find_run(out: Path, name: str) -> RunFolder:
    """A run by its name in `out`, or by its path.

    Raises:
        DataError: there is no such run; lists those that there are.
    """
    for path in (out / name, expanded(name)):
        if is_file(path / "search.yaml"):
            return RunFolder(path.absolute())
    known = ", ".join(path.name for path in newest_runs(out)) or "none"
    raise DataError(f"{name}: no such run in {out} (there: {known}); give a name, a path, or another --out.")


def main(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    {"list": list_runs, "show": show_run, "prune": prune_runs}[options.command](options)


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("trainables.runs", DESCRIPTION, EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|show|prune")
    listing = commands.add_parser("list", help="all runs: status, trials, best score, size")
    show = commands.add_parser("show", help="one run: its best trials, failures, and where its bytes are")
    show.add_argument("name", metavar="NAME", help="name of the run, or its path")
    prune = commands.add_parser("prune", help="make room: says what can go, removes it with --yes")
    prune.add_argument("names", metavar="NAME", nargs="*", help="names or paths of runs (all that do not run)")
    prune.add_argument("--yes", action="store_true", help="remove it")
    for command in (listing, show, prune):
        command.add_argument(
            "--out",
            type=cli.path,
            default=Path("runs").absolute(),
            metavar="DIR",
            help="where run folders are (runs)",
        )
        command.add_argument("--json", action="store_true", help="one JSON object, for scripts")
    return parser


def list_runs(options: argparse.Namespace) -> None:
    runs = [summarise(RunFolder(path)) for path in newest_runs(options.out)]
    closed = closed_folders(options.out)
    if options.json:
        print_json({"runs": [asdict(run) for run in runs], "unreadable": closed})
        return
    if closed:
        print(f"folders that cannot be read: {printable(', '.join(closed))}")
    if not runs:
        print(f"no run in {options.out}")
        return
    table = Table(title=escape(f"runs in {options.out}"), title_justify="left")
    for column in ("name", "status", "trials", "failed", "best score", "best trial", "size", "started"):
        table.add_column(column, justify="right" if column in ("trials", "failed", "size") else "left", no_wrap=True)
    for run in runs:
        trials = "-" if run.n_ended is None else f"{run.n_ended} of {run.n_trials}"
        table.add_row(
            *(
                escape(printable(run.name)),
                run.status,
                trials,
                text_of(run.n_failed),
                best_text(run),
            ),
            *(text_of(run.best_trial), size_text(run.size_bytes), escape(text_of(run.started))),
        )
    console().print(table)
    for run in runs:
        if run.problem:
            print(f"damaged: {run.problem}")


def closed_folders(out: Path) -> list[str]:
    """Folders in `out` that may be runs, for what can be seen."""
    if not out.is_dir():
        return []
    return sorted(path.name for path in out.iterdir() if path.is_dir() and not os.access(path, os.R_OK | os.X_OK))


def show_run(options: argparse.Namespace) -> None:
    run = find_run(options.out, options.name)
    summary = summarise(run)
    if summary.problem:
        raise DataError(summary.problem)
    trials = run.read_trials(COLUMNS)
    best = best_trials(trials, 5)
    failures = {row["trial_id"]: row["error"] for row in trials if row["status"] == "failed"}
    sizes = {part: size_of(run.path / part) for part in PARTS if (run.path / part).is_dir()}
    can_go = sum(item.size_bytes for item in removable(run))
    if options.json:
        tree = {**asdict(summary), "best": best, "failures": failures, "sizes": sizes, "removable_bytes": can_go}
        print_json(tree)
        return
    ended = f"{summary.status}: {summary.n_ended} of {summary.n_trials} trials have ended"
    print(f"{printable(summary.path)}\nstatus      {ended}")
    print(f"space       {text_of(summary.space)}, started {text_of(summary.started)}, data {text_of(summary.data)}")
    parts = ", ".join(f"{part} {size_text(size)}" for part, size in sizes.items())
    print(f"size        {size_text(summary.size_bytes)} ({parts}); prune can free {size_text(can_go)}")
    for place, row in enumerate(best, start=1):
        minutes = "-" if row["duration_s"] is None else f"{row['duration_s'] / 60:.1f} min"
        epochs = f"{text_of(row['epochs'])} epochs"
        score = score_text(summary.metric, row[summary.metric])
        print(f"{place:>4}  {row['trial_id']}  {score}  {row['status']}, {epochs}, {minutes}")
    for name, error in failures.items():
        reason = next(iter((error or "").splitlines()), "") or "no reason recorded"
        print(f"failed  {name}: {printable(reason):.{MAX_REASON}}")


def prune_runs(options: argparse.Namespace) -> None:
    """Runs that were named have to be idle (an ensemble follows a search); without names, busy ones are passed over."""
    runs = [find_run(options.out, name) for name in options.names] or list(map(RunFolder, newest_runs(options.out)))
    busy = [run for run in runs if is_busy(run)]
    if busy and options.names:
        names = ", ".join(run.path.name for run in busy)
        raise DataError(f"{names}: may still run (a command writes there); stop it, or wait.")
    items = [item for run in runs if run not in busy for item in removable(run)]
    size_bytes = sum(item.size_bytes for item in items)
    if options.yes:
        remove(items)
    if options.json:
        passed_over = [run.path.name for run in busy]
        tree = {"removed": options.yes, "size_bytes": size_bytes, "passed_over": passed_over}
        print_json({**tree, "items": [asdict(item) for item in items]})
        return
    for run in busy:
        print(f"{run.path.name}: a command writes to it; passed over")
    for item in items:
        print(f"{item.run}: {item.what}, {size_text(item.size_bytes)}; lost: {item.effect}")
    if not items:
        print("nothing to remove")
    else:
        total = size_text(size_bytes)
        print(f"removed {total}" if options.yes else f"{total} can go; the same command with --yes removes it")


def console() -> Console:
    """Without a terminal to measure, rich would cut the table at 80 columns."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=160)


def print_json(tree: Mapping[str, Any]) -> None:
    print(json.dumps(tree, indent=2, ensure_ascii=False))


def size_text(size_bytes: float) -> str:
    """In decimal units, as disks are sold."""
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} GB"


def best_text(run: RunSummary) -> str:
    return "-" if run.best_score is None else score_text(run.metric, run.best_score)


def text_of(value: object) -> str:
    return "-" if value is None else printable(str(value))[:MAX_REASON]


if __name__ == "__main__":
    cli.run(main)
