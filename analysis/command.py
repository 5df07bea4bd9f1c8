"""What the commands of the analysis share: their help ends with examples and exit statuses, and they know a version."""

import argparse
import io
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from analysis.files import is_folder

STATUSES = "exit status: 0 done; 1 a file cannot be written; 2 wrong arguments or a bad run folder; 130 interrupted"


def command_parser(module: str, description: str, examples: str) -> argparse.ArgumentParser:
    """An argument parser; `examples` are lines of commands."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog=f"examples:\n{examples}\n\n{STATUSES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sed-search {version('sed-search')}")
    return parser


def run_folder(text: str) -> Path:
    """Argument type: a run by its path, or by its name in runs/ where there is no such path."""
    named = Path("runs", text)
    return named if not is_folder(Path(text)) and is_folder(named) else Path(text)


def run(main: Callable[[], int]) -> NoReturn:
    """Run a command's `main` and leave with its status, or with 130 after Ctrl-C."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path need not be UTF-8
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
