"""What all commands share: exit statuses, messages for users, and arguments that several of them have."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from sed_model.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def run(command: Callable[[Sequence[str] | None], None]) -> NoReturn:
    """Run a command's `main` and leave with 0 (done), 2 (the user's input is wrong) or 130 (interrupted)."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        command(None)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(EXIT_USER_ERROR) from None
    except KeyboardInterrupt as interrupt:
        hint = str(interrupt) or "start the same command again to go on"
        print(f"\ninterrupted; {hint}", file=sys.stderr)
        raise SystemExit(EXIT_INTERRUPTED) from None
    raise SystemExit(0)


def _as_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def parser(module: str, description: str, examples: str) -> argparse.ArgumentParser:
    """An argument parser whose help ends with examples."""
    result = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("--version", action="version", version=f"sed-search {version('sed-search')}")
    return result


def add_set(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="fix a configuration key, e.g. model.pool_type=gem; may be repeated (keys: search_spaces/base.yaml)",
    )


def folder(text: str) -> Path:
    """Argument type: a path, with ~ expanded, absolute (workers have another working directory)."""
    return Path(text).expanduser().absolute()


def positive_int(text: str) -> int:
    """Argument type: a whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value


def positive_float(text: str) -> float:
    """Argument type: a finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number above 0")
    return value


def share(text: str) -> float:
    """Argument type: a finite number from 0 (GPUs a trial)."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number from 0")
    return value


def duration_s(text: str) -> float:
    """Argument type: 90, 90s, 30m or 2h, in seconds."""
    unit_s = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    try:
        return positive_float(text if unit_s is None else text[:-1]) * (unit_s or 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 90s, 30m or 2h") from None
