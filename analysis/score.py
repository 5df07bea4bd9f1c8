"""Score a submission against labels, or detected events against annotations: the metrics that papers report.

python -m analysis.score --predictions submission.csv --truth labels.csv [--out FILE.json]
python -m analysis.score --events events --truth annotations [--out FILE.json]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sed_model.core import cli

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

DESCRIPTION = """Score a submission (row_id and a column of scores for each class) against labels of its windows:
macro AUC, cmAP, cmAP5, padded cmAP and top-1 accuracy, AUC and average precision of each class, and all of it by
site, with 95 % intervals over resampled files. The labels have one of the competitions' forms: row_id and a column
of 0 and 1 for each class; filename, start, end, primary_label; or row_id, seconds, birds.

Or score detected events against true ones: event-based F1 with collars, and segment-based F1. Both are files or
folders of Raven's selection tables, Audacity's label tracks, or CSV tables (filename, start, end, label), as predict
--events writes them; a folder with an events.csv gives that alone."""
EXAMPLES = """  python -m analysis.score --predictions submission.csv --truth DIR/test_soundscapes_labels.csv
  python -m analysis.score --predictions submission.csv --truth labels.csv --sites '^([^_]+)_' --out scores.json
  python -m analysis.score --events events --truth annotations --onset-collar-s 0.5 --out scores.csv"""
RULES = ("onset_collar_s", "offset_collar_s", "offset_share", "segment_s")


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("analysis.score", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--predictions", type=cli.path, metavar="CSV", help="the submission")
    events_help = "detected events: tables (.txt, .csv, .tsv), or folders of them with all folders below"
    what.add_argument("--events", type=cli.path, nargs="+", metavar="PATH", help=events_help)
    truth_help = "labels of the submission's windows, or tables of the true events"
    add("--truth", type=cli.path, nargs="+", required=True, metavar="PATH", help=truth_help)
    add(
        "--sites",
        type=pattern,
        metavar="PATTERN",
        help="regular expression whose first group is the site in a file's name (default: H02 of H02_20230420_074000)",
    )
    add("--seed", type=cli.seed, default=0, metavar="N", help="draws the resamples of the intervals (0)")
    add("--out", type=cli.path, metavar="FILE", help="write everything to a .json or .csv file")
    group = parser.add_argument_group("events")
    add = group.add_argument
    add("--onset-collar-s", type=cli.nonnegative_float, metavar="S", help="so far an onset may be off (0.2)")
    add("--offset-collar-s", type=cli.nonnegative_float, metavar="S", help="so far an offset may be off (0.2), or")
    share_help = "this share of the event's length, where that is more (0.2)"
    add("--offset-share", type=cli.nonnegative_float, metavar="X", help=share_help)
    add("--segment-s", type=cli.positive_float, metavar="S", help="length of a segment (1)")
    add("--label-column", metavar="NAME", help="column of the classes, where several may be meant")
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


@dataclass(frozen=True)
class Scored:
    """What was scored.

    Attributes:
        names: of the metrics of all windows or events, as in `analysis.paper_metrics.METRICS`.
        class_names: of those of a class; the first one sorts them.
        site_counts, class_counts: columns that say how much there is, and their headings.
        class_metrics: all of a class, also those that are not printed.
        tables: metrics, sites, classes.
        head: what a .json file begins with.
    """

    names: Mapping[str, str]
    class_names: Mapping[str, str]
    site_counts: Mapping[str, str]
    class_counts: Mapping[str, str]
    class_metrics: Sequence[str]
    tables: Mapping[str, pd.DataFrame]
    head: dict[str, Any]
    size: str


def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.predictions:
        for name in (*RULES, "label_column"):
            if getattr(options, name) is not None:
                parser.error(f"--{name.replace('_', '-')} is about events: give --events instead of --predictions")
        if len(options.truth) > 1:
            parser.error("--truth takes one table of labels beside --predictions")
    from rich.console import Console

    from analysis.score_tables import as_csv, as_json
    from sed_model.core.errors import ConfigError
    from sed_model.core.files import write_text
    from sed_model.core.paths import check_output

    out: Path | None = options.out
    if out is not None:
        if out.suffix.lower() not in (".json", ".csv"):
            raise ConfigError(f"--out {out}: name a .json or a .csv file.")
        check_output(out, "--out")
    scored = score_events(options) if options.events else score_windows(options)
    # Without a terminal to measure, rich would cut the tables at 80 columns.
    print_scores(scored, Console(width=None if sys.stdout.isatty() else 160))
    if out is not None:
        is_json = out.suffix.lower() == ".json"
        write_text(
            out,
            as_json(scored.head, scored.tables)
            if is_json
            else as_csv(scored.tables, tuple(scored.names), scored.class_metrics),
        )
        print(out)


def score_windows(options: argparse.Namespace) -> Scored:
    from analysis.paper_metrics import METRICS, Bootstrap, class_metrics, metric_table, resample, site_metrics
    from sed_model.core.texts import counted
    from sed_model.data.scored_rows import read_scored_rows

    rows = read_scored_rows(options.predictions, options.truth[0], *([options.sites] if options.sites else []))
    _check_sites(options.sites, rows.sites, rows.windows.files)
    for note in rows.notes:
        cli.say(f"data: {note}")
    bootstrap = Bootstrap(options.seed)
    resampled = resample(rows.windows, bootstrap)
    tables = {
        "metrics": metric_table(rows.windows, resampled),
        "sites": site_metrics(rows.windows, rows.sites, bootstrap),
        "classes": class_metrics(rows.windows, resampled),
    }
    n_windows, n_files = len(rows.sites), len(set(rows.windows.files))
    head = {"predictions": str(options.predictions), "truth": str(options.truth[0]), "seed": options.seed}
    counts = {"n_windows": "windows", "n_files": "files"}
    return Scored(
        names=METRICS,
        class_names={"ap": "AP", "auc": "AUC"},
        site_counts=counts,
        class_counts=counts,
        class_metrics=("auc", "ap"),
        tables=tables,
        head=head | {"n_windows": n_windows, "n_files": n_files, "notes": list(rows.notes)},
        size=f"{counted(n_windows, 'window')} of {counted(n_files, 'file')}, {len(rows.windows.classes)} classes",
    )


def score_events(options: argparse.Namespace) -> Scored:
    from analysis.event_metrics import (
        CLASS_METRICS,
        METRICS,
        EventRules,
        class_metrics,
        count_events,
        metric_table,
        site_metrics,
    )
    from analysis.paper_metrics import Bootstrap
    from sed_model.core.texts import counted, printable
    from sed_model.data.scored_events import read_scored_events

    given = {name: getattr(options, name) for name in RULES if getattr(options, name) is not None}
    read = read_scored_events(
        options.events, options.truth, options.label_column, *([options.sites] if options.sites else [])
    )
    _check_sites(options.sites, read.sites, read.files)
    for note in read.notes:
        cli.say(f"data: {note}")
    if read.left_out:
        cli.say(f"left out:\n{printable(read.left_out.report())}")
    rules, bootstrap = EventRules(**given), Bootstrap(options.seed)
    counts = count_events(read.truth, read.detected, read.files, read.classes, rules)
    tables = {
        "metrics": metric_table(counts, bootstrap),
        "sites": site_metrics(counts, read.sites, bootstrap),
        "classes": class_metrics(counts, bootstrap),
    }
    head = {"events": [str(path) for path in options.events], "truth": [str(path) for path in options.truth]}
    numbers = {"n_events": len(read.truth), "n_detections": len(read.detected), "n_files": len(read.files)}
    size = f"{counted(len(read.truth), 'event')} and {counted(len(read.detected), 'detection')} of "
    return Scored(
        names=METRICS,
        class_names={"event_f1": "event F1", "event_precision": "precision", "event_recall": "recall"},
        site_counts={"n_files": "files"},
        class_counts={"n_events": "events", "n_detections": "detections", "n_right": "right"},
        class_metrics=CLASS_METRICS,
        tables=tables,
        head=head
        | {"seed": options.seed, "rules": vars(rules)}
        | numbers
        | {"notes": list(read.notes), "left_out": read.left_out.report().splitlines()},
        size=size + f"{counted(len(read.files), 'file')}, {len(read.classes)} classes",
    )


def _check_sites(sites: re.Pattern[str] | None, found: Sequence[str], files: Sequence[str]) -> None:
    """
    Raises:
        DataError: the user's pattern is in no name.
    """
    from sed_model.core.errors import DataError

    if sites and not any(found):
        raise DataError(f"--sites {sites.pattern}: is in no file's name, such as {files[0]}.")


def print_scores(scored: Scored, console: Console) -> None:
    """Print the metrics, the sites and the worst classes."""
    from analysis.score_tables import print_classes, print_metrics, print_sites

    print_metrics(scored.tables["metrics"], scored.names, scored.size, console)
    values = scored.tables["metrics"].set_index("metric")["value"]
    if "padded_cmap" in values and values.isna()["padded_cmap"]:
        console.print("padded cmAP is of scores within 0 and 1 only, which these are not", highlight=False)
    print_sites(scored.tables["sites"], scored.names, scored.site_counts, console)
    print_classes(scored.tables["classes"], scored.class_names, scored.class_counts, console)
    measure = next(iter(scored.class_names))
    if absent := int(scored.tables["classes"][measure].isna().sum()):
        what = f"in no window, and have no {scored.class_names[measure]}"
        console.print(f"classes that are {what}: {absent}", highlight=False)


if __name__ == "__main__":
    cli.run(main)
