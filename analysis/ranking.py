"""Which trial won, by how much, whether that is luck: a table in the terminal, or JSON for scripts.

python -m analysis.ranking --run runs/NAME [--top 10] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sed_model.core import cli

if TYPE_CHECKING:  # they take a second to import, which --help can do without
    import pandas as pd
    from rich.console import Console

    from analysis.tables import Run

MAX_CELL = 60
"""Characters of a setting in the table."""


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser(
        "analysis.ranking",
        "Rank the trials of a run folder and say how certain the lead is.",
        "  python -m analysis.ranking --run runs/arch --top 5\n"
        "  python -m analysis.ranking --run runs/arch --json | jq .trials[0]",
    )
    add = parser.add_argument
    add("--run", type=cli.run_as_typed, required=True, metavar="DIR", help="run folder, such as runs/NAME")
    add("--top", type=cli.positive_int, default=10, metavar="N", help="how many trials to show (default: 10)")
    add("--json", action="store_true", help="one JSON object instead of a table")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    from rich.console import Console

    from analysis.ranks import leader_spread, rank_trials
    from analysis.tables import read_run

    run = read_run(options.run)
    ranking, spread = rank_trials(run), leader_spread(run, options.top)
    if options.json:
        print(as_json(ranking, spread, run, options.top))
    else:
        # Without a terminal to measure, rich would cut the table at 80 columns.
        print_ranking(ranking, spread, run, options.top, Console(width=None if sys.stdout.isatty() else 160))


def as_json(ranking: pd.DataFrame, spread: pd.DataFrame | None, run: Run, top: int) -> str:
    """The ranking and its spread as one JSON object; absent values are null."""
    from sed_model.run_folder.run_tables import STATUSES

    counts = run.trials["status"].value_counts()
    document = {
        "run": str(run.path),
        "n_trials": {status: int(counts.get(status, 0)) for status in STATUSES},
        "trials": _records(ranking.head(top)),
        "spread": _records(spread) if spread is not None else [],
    }
    return json.dumps(document, indent=2)


def print_ranking(ranking: pd.DataFrame, spread: pd.DataFrame | None, run: Run, top: int, console: Console) -> None:
    """Print the best `top` trials, whether the lead is certain, and why trials failed."""
    from rich.markup import escape
    from rich.table import Table

    from analysis.parameters import as_text, varied_parameters
    from analysis.ranks import verdict
    from sed_model.core.texts import shown
    from sed_model.run_folder.run_tables import STATUSES

    counts = run.trials["status"].value_counts()
    tally = ", ".join(f"{counts[status]} {status}" for status in STATUSES if status in counts) or "no trials yet"
    table = Table(title=escape(shown(f"{run.path}: {tally}")))
    refits = ["refits"] if "refit_mean" in ranking else []
    for name in ("rank", "trial", "status", "macro AUC", "95 %", *refits, "gap", "epochs", "stage", "minutes"):
        table.add_column(name, justify="left" if name in ("trial", "status", "stage") else "right", no_wrap=True)
    table.add_column("settings", overflow="fold")
    intervals = {} if spread is None else spread.set_index("trial_id")[["low", "high"]].T.to_dict("list")
    names = [parameter.name for parameter in varied_parameters(run)]
    for row in ranking[ranking["rank"].notna()].head(top).to_dict("records"):
        interval = intervals.get(row["trial_id"])
        settings = ((name, as_text(row[name])) for name in names)
        table.add_row(
            str(row["rank"]),
            escape(row["trial_id"]),
            row["status"],
            f"{row['macro_auc']:.4f}",
            f"{interval[0]:.3f}-{interval[1]:.3f}" if interval else "-",
            *([refit_text(row)] if refits else []),
            f"{row['gap']:.4f}",
            as_text(row["epochs"]) or "-",
            escape(shown(as_text(row["stage"]) or "-", MAX_CELL)),
            "-" if math.isnan(row["duration_s"]) else f"{row['duration_s'] / 60:.1f}",
            escape(" ".join(shown(f"{name}={value}", MAX_CELL) for name, value in settings if value is not None)),
        )
    console.print(table)
    console.print(verdict(spread), highlight=False, markup=False)
    for row in ranking[ranking["status"] == "failed"].to_dict("records"):
        reason = shown(as_text(row["error"]) or "no reason recorded")
        console.print(f"failed: {row['trial_id']}: {reason}", markup=False)


def refit_text(row: Mapping[Hashable, Any]) -> str:
    """Mean and standard deviation of a finalist's scores, and their number."""
    if math.isnan(row["refit_mean"]):
        return "-"
    spread = "" if math.isnan(row["refit_sd"]) else f" ± {row['refit_sd']:.4f}"
    return f"{row['refit_mean']:.4f}{spread} ({row['n_refits']})"


def _records(table: pd.DataFrame) -> list[dict[str, object]]:
    records: list[dict[str, object]] = json.loads(table.to_json(orient="records", double_precision=10))
    return records


if __name__ == "__main__":
    cli.run(main)
