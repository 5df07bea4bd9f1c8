"""The demo data set, written to a folder.

python -m sed_model.demo_data --out DIR
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sed_model.core.errors import UserError
from sed_model.core.paths import check_folder
from sed_model.data.demo import DemoSettings, write_demo_data


def build_parser() -> argparse.ArgumentParser:
    defaults = DemoSettings()
    parser = argparse.ArgumentParser(
        prog="python -m sed_model.demo_data",
        description="Write the demo data set: a small synthetic BirdCLEF, the same bytes for the same seed.",
        epilog="examples:\n  python -m sed_model.demo_data --out demo_data\n\nexit status: 0 done; 2 wrong input",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="the same seed gives the same bytes")
    for name in ("recordings_per_class", "soundscapes", "labelled", "test_soundscapes"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(defaults, name))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = vars(build_parser().parse_args(arguments))
    try:
        check_folder(options["out"], "--out")
        out = write_demo_data(**options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"demo data: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
