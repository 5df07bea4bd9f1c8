"""Which windows of unlabelled soundscapes to label next, on a page to hear and tick them.

python -m analysis.suggest --run runs/NAME [--count 40] [--out DIR]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sed_model.core import cli
from sed_model.core.errors import ConfigError
from sed_model.core.paths import check_folder, is_there

DESCRIPTION = """Which windows of unlabelled soundscapes to label next: those that the members of the run's ensemble
differ about most, of classes with few labels first, from as many files and sites as there are. Reads the scores that
the ensemble has left in the run folder; no model runs.

Writes label.html, to hear the windows and tick their classes, without a network; its button downloads the ticks as
a table of labelled soundscapes (row_id and a column a class). Beside it windows.csv, and of each soundscape
<stem>.labels.txt (Audacity) and <stem>.selections.txt (Raven) with the same windows."""
EXAMPLES = """  python -m analysis.suggest --run runs/NAME
  python -m analysis.suggest --run runs/NAME --count 100 --out to_label"""


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("analysis.suggest", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--run", type=cli.run_as_typed, required=True, metavar="DIR", help="run folder with an ensemble")
    add("--count", type=cli.positive_int, default=40, metavar="N", help="windows to suggest (40)")
    add("--out", type=Path, metavar="DIR", help="a new folder to write to (default: RUN/suggested)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    out: Path = options.out or options.run / "suggested"
    check_folder(out, "--out")
    if is_there(out):
        raise ConfigError(f"--out {out}: is there already, perhaps with labels; give a new folder, or remove it.")
    cli.say(f"reading {options.run}")
    from analysis.suggested_files import suggest  # imports pandas and torch, which --help can do without

    lines = suggest(options.run, options.count, out)
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    cli.run(main)
