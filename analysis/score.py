"""Score a submission against labels, or detected events against annotations: the metrics that papers report.

python -m analysis.score --predictions submission.csv --truth labels.csv [--out FILE.json]
python -m analysis.score --events events --truth annotations [--out FILE.json]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sed_model.core import cli

if TYPE_CHECKING:
    from analysis.score_tables import Scored

DESCRIPTION = """Score a submission (row_id and a column of scores for each class) against labels of its windows:
macro AUC, cmAP, cmAP5, padded cmAP and top-1 accuracy, AUC and average precision of each class, and all of it by
site, with 95 % intervals over resampled files. The labels have one of the competitions' forms: row_id and a column
of 0 and 1 for each class; filename, start, end, primary_label; or row_id, seconds, birds.

Or score detected events against true ones: event-based F1 with collars, and segment-based F1. Both are files or
folders of Raven's selection tables, Audacity's label tracks, or CSV tables (filename, start, end, label), as predict
--events writes them; a folder with an events.csv gives that alone."""
EXAMPLES = """  python -m analysis.score --predictions submission.csv --truth DIR/test_soundscapes_labels.csv
  python -m analysis.score --predictions submission.csv --truth labels.csv --sites '^([^_]+)_' --out scores.json
  python -m analysis.score --events events --truth annotations --onset-collar-s 0.5 --out scores.csv
  python -m analysis.score --events events --truth raven_tables --data DIR"""
OF_EVENTS = ("label_column", "frame_scores", "data")
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
    names_help = "data folder whose taxonomy.csv has the names: classes may be named by scientific or common name, too"
    add("--data", type=cli.path, metavar="DIR", help=names_help)
    scores_help = "frame scores, of predict --event-scores: their PSDS, too"
    add("--frame-scores", type=cli.path, metavar="DIR", help=scores_help)
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
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.predictions:
        for name in (*RULES, *OF_EVENTS):
            if getattr(options, name) is not None:
                parser.error(f"--{name.replace('_', '-')} is about events: give --events instead of --predictions")
        if len(options.truth) > 1:
            parser.error("--truth takes one table of labels beside --predictions")
    from rich.console import Console

    from analysis.score_tables import as_csv, as_json, print_scores
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
        write_text(out, as_json(scored) if out.suffix.lower() == ".json" else as_csv(scored))
        print(out)


def score_windows(options: argparse.Namespace) -> Scored:
    from analysis.paper_metrics import Bootstrap
    from analysis.score_windows import score

    return score(options.predictions, options.truth[0], options.sites, Bootstrap(options.seed))


def score_events(options: argparse.Namespace) -> Scored:
    from analysis.event_metrics import EventRules
    from analysis.paper_metrics import Bootstrap
    from analysis.score_events import EventJob, score

    given = {name: getattr(options, name) for name in RULES if getattr(options, name) is not None}
    job = EventJob(
        tuple(options.events),
        tuple(options.truth),
        EventRules(**given),
        options.label_column,
        options.sites,
        options.frame_scores,
        options.data,
    )
    return score(job, Bootstrap(options.seed))


if __name__ == "__main__":
    cli.run(main)
