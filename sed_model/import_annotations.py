"""Annotations that other programs wrote -> labels of soundscapes.

python -m sed_model.import_annotations --annotations DIR --data DIR [--complete]
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sed_model.core import cli

if TYPE_CHECKING:
    from sed_model.data.annotations import ImportedLabels

DESCRIPTION = """Annotations -> train_soundscapes_labels.csv, by which a data folder's soundscapes validate and train,
and train_soundscapes_events.csv, the times of the events, by which frames can train (loss.strong_weight).
Reads Raven's selection tables, Audacity's label tracks, and CSV tables of starts and ends (filename, start, end, label)
or minutes (filename, minute, label). A table is about the soundscape that it names, or that it is named after
(S1.txt, S1.Table.1.selections.txt). Labels are those of train.csv, or names in taxonomy.csv. What cannot be used is
left out, counted and listed."""
EXAMPLES = """  python -m sed_model.import_annotations --annotations annotations --data DIR
  python -m sed_model.import_annotations --annotations annotations --data DIR --complete
  python -m sed_model.import_annotations --annotations table.csv --data DIR --label-column Species --out labels.csv"""
LABELS = "train_soundscapes_labels.csv"


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("sed_model.import_annotations", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add(
        "--annotations",
        type=cli.path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="tables (.txt, .csv, .tsv), or folders of them with all folders below",
    )
    add("--data", type=cli.path, required=True, metavar="DIR", help="the data folder that holds the soundscapes")
    add(
        "--out",
        type=cli.path,
        metavar="FILE",
        help=f"table of labels to write (default: {LABELS} of the data folder); the events go beside it",
    )
    add(
        "--complete",
        action="store_true",
        help="the files are annotated completely: windows without an event hold no call (default: they have no label)",
    )
    add("--target-s", type=cli.positive_float, default=5.0, metavar="S", help="length of a window, data.target_s (5)")
    add(
        "--min-overlap-s",
        type=cli.positive_float,
        default=0.1,
        metavar="S",
        help="an event labels the windows that hold this much of it (0.1)",
    )
    add("--label-column", metavar="NAME", help="column of the classes, where several may be meant")
    add("--first-minute", type=int, choices=(0, 1), help="number of the first minute in tables of minutes")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    cli.say(f"reading {', '.join(map(str, options.annotations))}")
    from sed_model.core.files import write_text
    from sed_model.data.annotation_formats import ReadingRules
    from sed_model.data.annotations import WindowRules, import_annotations

    out = _place(options.data, options.out)
    rules = WindowRules(options.target_s, options.min_overlap_s, options.complete)
    reading = ReadingRules(options.label_column, options.first_minute)
    imported = import_annotations(options.annotations, options.data, reading, rules)
    write_text(out, imported.labels.to_csv(index=False))
    if len(imported.timed):
        write_text(events_beside(out), imported.timed.to_csv(index=False))
    print_import(imported, out, rules.target_s)
    if options.out is None:
        data = shlex.quote(str(options.data))
        target = "" if rules.target_s == 5 else f" --set data.target_s={rules.target_s:g}"
        cli.print_next(f"python -m trainables.search --space arch.yaml --data {data}{target} --dry-run")


def _place(data: Path, out: Path | None) -> Path:
    """Where the labels go.

    Raises:
        ConfigError: they cannot, or the data folder has labels or events already and no other place is given.
    """
    from sed_model.core.errors import ConfigError
    from sed_model.core.paths import check_output, is_there
    from sed_model.data.layouts import EVENT_TABLE, LABEL_TABLES

    there = [name for name in (*LABEL_TABLES, EVENT_TABLE) if is_there(data / name)]
    if out is None and there:
        raise ConfigError(f"{data / there[0]}: is there already; write to another --out FILE, or move it away.")
    place = data / LABELS if out is None else out
    check_output(place, "--data" if out is None else "--out")
    return place


def events_beside(labels: Path) -> Path:
    """Where the events of a table of labels go: train_soundscapes_events.csv, or other_events.csv for other.csv."""
    return labels.with_name(f"{labels.stem.removesuffix('_labels')}_events.csv")


def print_import(imported: ImportedLabels, out: Path, target_s: float) -> None:
    """What was read, what was left out and why, and what the labels cover."""
    from sed_model.core.texts import counted

    for note in imported.notes:
        cli.say(f"data: {note}")
    if imported.left_out:
        cli.say(f"left out:\n{imported.left_out.report()}")
    formats = ", ".join(counted(n, name) for name, n in imported.formats.items())
    n_classes = len({event.label for event in imported.events})
    sounding_s = sum(event.end_s - event.start_s for event in imported.events)
    labels = imported.labels.drop(columns="row_id").to_numpy()
    n_empty = int((labels.sum(axis=1) == 0).sum())
    cli.say(f"annotations  {formats}, of {counted(imported.n_soundscapes, 'soundscape')}; times are in seconds")
    cli.say(
        f"events       {len(imported.events):,} of {n_classes} classes, {sounding_s:,.1f} s in all; "
        f"{imported.n_joined:,} more were part of another (they overlap or touch)"
    )
    cli.say(
        f"labels       {out}: {counted(len(labels), 'window')} of {target_s:g} s, {n_empty:,} of them without a call"
    )
    if len(imported.timed):
        cli.say(f"times        {events_beside(out)}: {counted(len(imported.timed), 'event')}")


if __name__ == "__main__":
    cli.run(main)
