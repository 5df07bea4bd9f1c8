"""Which trial won, by how much, whether that is luck: a table in the terminal.

python -m analysis.ranking --run runs/NAME [--top 10] [--json]
"""

import argparse
import sys
from collections.abc import Sequence

from analysis.command import command_parser, run_folder
from analysis.command import run as run_command


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "analysis.ranking",
        "Rank the trials of a run folder and say how certain the lead is.",
        "  python -m analysis.ranking --run runs/arch --top 5\n"
        "  python -m analysis.ranking --run runs/arch --json | jq .trials[0]",
    )
    parser.add_argument("--run", type=run_folder, required=True, metavar="DIR", help="run folder, such as runs/NAME")
    parser.add_argument("--top", type=_positive, default=10, metavar="N", help="how many trials to show (default: 10)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the ranking; 0 done, 2 a wrong argument or a run folder that breaks the contract."""
    options = build_parser().parse_args(arguments)
    from rich.console import Console  # these import pandas and scipy, which --help can do without

    from analysis.ranking_text import as_json, print_ranking
    from analysis.ranks import leader_spread, rank_trials
    from analysis.tables import RunFolderError, read_run

    try:
        run = read_run(options.run)
        ranking, spread = rank_trials(run), leader_spread(run, options.top)
    except RunFolderError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(as_json(ranking, spread, run, options.top))
    else:
        # Without a terminal to measure, rich would cut the table at 80 columns.
        print_ranking(ranking, spread, run, options.top, Console(width=None if sys.stdout.isatty() else 160))
    return 0


if __name__ == "__main__":
    run_command(main)
