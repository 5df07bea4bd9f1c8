"""What was found where and when, and how sure that is, on one page.

python -m analysis.found --decisions DIR [--soundscapes DIR] [--out found.html]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sed_model.core import cli
from sed_model.core.paths import check_output

DESCRIPTION = """A page about what `trainables.predict --decisions DIR` found: each class with its counts, how many of
these are expected to be wrong, and how right such thresholds were on labelled files that had no part in them; by site,
and by hour of the day. Reads the tables in DIR; with --soundscapes the surest windows of each class can be seen and
heard, too."""
EXAMPLES = """  python -m analysis.found --decisions found
  python -m analysis.found --decisions found --soundscapes DIR
  python -m analysis.found --decisions found --soundscapes DIR --out survey.html"""


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser("analysis.found", DESCRIPTION, EXAMPLES)
    parser.add_argument("--decisions", type=Path, required=True, metavar="DIR", help="folder that predict has written")
    sounds = "the soundscapes that predict was given: the page plays the surest windows"
    parser.add_argument("--soundscapes", type=cli.path, metavar="DIR", help=sounds)
    parser.add_argument("--out", type=Path, metavar="FILE", help="the HTML file (default: found.html in DIR)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    file: Path = options.out or options.decisions / "found.html"
    check_output(file, "--out")
    from analysis.found_page import found_page  # imports pandas and plotly, which --help can do without
    from sed_model.core.files import write_text

    write_text(file, found_page(options.decisions, options.soundscapes))
    print(f"{file} ({file.stat().st_size / 1e6:.1f} MB)", flush=True)


if __name__ == "__main__":
    cli.run(main)
