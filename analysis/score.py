"""Score a submission against labels: the metrics that papers report, by class and by site.

python -m analysis.score --predictions submission.csv --truth labels.csv [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sed_model.core import cli

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

DESCRIPTION = """Score a submission (row_id and a column of scores for each class) against labels of its windows:
macro AUC, cmAP, cmAP5, padded cmAP and top-1 accuracy, AUC and average precision of each class, and all of it by
site, with 95 % intervals over resampled files. The labels have one of the competitions' forms: row_id and a column
of 0 and 1 for each class; filename, start, end, primary_label; or row_id, seconds, birds."""
EXAMPLES = """  python -m analysis.score --predictions submission.csv --truth DIR/test_soundscapes_labels.csv
  python -m analysis.score --predictions submission.csv --truth labels.csv --sites '^([^_]+)_' --out scores.json"""
N_CLASSES = 20
"""So many of the worst classes are printed; a file has all."""


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("analysis.score", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--predictions", type=cli.path, required=True, metavar="CSV", help="the submission")
    add("--truth", type=cli.path, required=True, metavar="CSV", help="labels of its windows")
    add(
        "--sites",
        type=pattern,
        metavar="PATTERN",
        help="regular expression whose first group is the site in a file's name (default: H02 of H02_20230420_074000)",
    )
    add("--seed", type=cli.seed, default=0, metavar="N", help="draws the resamples of the intervals (0)")
    add("--out", type=cli.path, metavar="FILE", help="write everything to a .json or .csv file")
    return parser


def pattern(text: str) -> re.Pattern[str]:
    """Argument type: a regular expression with one group."""
    try:
        found = re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    if found.groups != 1:
        raise argparse.ArgumentTypeError(f"{text!r} has {found.groups} groups; put the site in one, as in '^([^_]+)_'")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    from rich.console import Console

    from analysis.paper_metrics import Bootstrap, class_metrics, metric_table, resample, site_metrics
    from sed_model.core.errors import ConfigError, DataError
    from sed_model.core.files import write_text
    from sed_model.core.paths import check_output
    from sed_model.core.texts import counted
    from sed_model.data.scored_rows import read_scored_rows

    out: Path | None = options.out
    if out is not None:
        if out.suffix.lower() not in (".json", ".csv"):
            raise ConfigError(f"--out {out}: name a .json or a .csv file.")
        check_output(out, "--out")
    rows = read_scored_rows(options.predictions, options.truth, *([options.sites] if options.sites else []))
    if options.sites and not any(rows.sites):
        raise DataError(f"--sites {options.sites.pattern}: is in no file's name, such as {rows.windows.files[0]}.")
    bootstrap = Bootstrap(options.seed)
    resampled = resample(rows.windows, bootstrap)
    tables = {
        "metrics": metric_table(rows.windows, resampled),
        "sites": site_metrics(rows.windows, rows.sites, bootstrap),
        "classes": class_metrics(rows.windows, resampled),
    }
    for note in rows.notes:
        cli.say(f"data: {note}")
    n_windows, n_files = len(rows.sites), len(set(rows.windows.files))
    size = f"{counted(n_windows, 'window')} of {counted(n_files, 'file')}, {len(rows.windows.classes)} classes"
    # Without a terminal to measure, rich would cut the tables at 80 columns.
    print_scores(tables, size, Console(width=None if sys.stdout.isatty() else 160))
    if out is not None:
        head = {"predictions": str(options.predictions), "truth": str(options.truth), "seed": options.seed}
        counts = {"n_windows": n_windows, "n_files": n_files, "notes": list(rows.notes)}
        write_text(out, as_json(head | counts, tables) if out.suffix.lower() == ".json" else as_csv(tables))
        print(out)


def print_scores(tables: dict[str, pd.DataFrame], size: str, console: Console) -> None:
    """Print the metrics, the sites and the worst classes."""
    from rich.markup import escape
    from rich.table import Table

    from analysis.paper_metrics import METRICS
    from sed_model.core.texts import shown

    metrics = Table("metric", "value", "95 %", "classes", title=size)
    for row in tables["metrics"].to_dict("records"):
        classes = "-" if row["n_classes"] != row["n_classes"] else f"{row['n_classes']:.0f}"
        metrics.add_row(METRICS[str(row["metric"])], _value(row["value"]), _interval(row["low"], row["high"]), classes)
    console.print(metrics)
    if tables["metrics"].set_index("metric")["value"].isna()["padded_cmap"]:
        console.print("padded cmAP is of scores within 0 and 1 only, which these are not", highlight=False)
    sites = Table("site", "windows", "files", *METRICS.values(), title="sites")
    for row in tables["sites"].to_dict("records"):
        sites.add_row(
            escape(shown(row["site"])),
            str(row["n_windows"]),
            str(row["n_files"]),
            *(f"{_value(row[name])} ({_interval(row[f'{name}_low'], row[f'{name}_high'])})" for name in METRICS),
        )
    if len(tables["sites"]):
        console.print(sites)
    else:
        console.print("no site: no file's name tells one (--sites PATTERN)", highlight=False)
    worst = tables["classes"].dropna(subset="ap").head(N_CLASSES)
    classes_title = "classes, the worst first" if len(worst) < N_CLASSES else f"the {N_CLASSES} worst classes"
    classes_table = Table("class", "windows", "files", "AP", "95 %", "AUC", "95 %", title=classes_title)
    for row in worst.to_dict("records"):
        intervals = {name: _interval(row[f"{name}_low"], row[f"{name}_high"]) for name in ("ap", "auc")}
        counts = str(row["n_windows"]), str(row["n_files"])
        scores = _value(row["ap"]), intervals["ap"], _value(row["auc"]), intervals["auc"]
        classes_table.add_row(escape(shown(row["label"])), *counts, *scores)
    console.print(classes_table)
    if absent := int(tables["classes"]["ap"].isna().sum()):
        console.print(f"classes that are in no window, and have no AP: {absent}", highlight=False)


def _value(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"


def _interval(low: float, high: float) -> str:
    return "-" if low != low else f"{low:.3f}-{high:.3f}"


def as_json(head: dict[str, Any], tables: dict[str, pd.DataFrame]) -> str:
    """Everything as one JSON object; what is not defined is null."""
    records = {name: json.loads(table.to_json(orient="records", double_precision=10)) for name, table in tables.items()}
    return json.dumps(head | records, indent=2)


def as_csv(tables: dict[str, pd.DataFrame]) -> str:
    """Everything in one table: level (all, site or class), name, metric, value, low, high."""
    import pandas as pd

    from analysis.paper_metrics import METRICS

    parts = [tables["metrics"].assign(level="all", name="")]
    for level, table, name, metrics in (
        ("site", tables["sites"], "site", tuple(METRICS)),
        ("class", tables["classes"], "label", ("auc", "ap")),
    ):
        for metric in metrics if len(table) else ():
            columns = {metric: "value", f"{metric}_low": "low", f"{metric}_high": "high", name: "name"}
            parts.append(table[list(columns)].rename(columns=columns).assign(level=level, metric=metric))
    return pd.concat(parts)[["level", "name", "metric", "value", "low", "high"]].to_csv(index=False)


if __name__ == "__main__":
    cli.run(main)
