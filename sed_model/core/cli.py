"""What all commands share: exit statuses, messages for users, and arguments that several of them have. No Ray."""

from __future__ import annotations

import argparse
import difflib
import io
import math
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from sed_model.core.errors import DiskFullError, TrainingError, UserError
from sed_model.core.paths import PLACE_ERRORS, expanded, is_folder
from sed_model.core.texts import printable

EXIT_FAILURE = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
STATUSES = "exit status: 0 done; 1 the input is right, but it cannot go on; 2 wrong input; 130 interrupted"


def run(command: Callable[[Sequence[str] | None], None]) -> NoReturn:
    """Run a command's `main` and leave with 0 (done), 1 (it cannot go on), 2 (wrong input) or 130 (interrupted)."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path need not be UTF-8
    try:
        command(None)
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        raise SystemExit(exit_status(error)) from None
    except OSError as error:
        if error.errno not in PLACE_ERRORS:
            raise
        print(
            f"error: {printable(str(error.filename))}: {error.strerror}; give a place that you may use.",
            file=sys.stderr,
        )
        raise SystemExit(EXIT_USER_ERROR) from None
    except KeyboardInterrupt as interrupt:
        hint = str(interrupt) or "start the same command again to go on"
        print(f"\ninterrupted; {hint}", file=sys.stderr)
        if first := activation():
            print(f"(first {first})", file=sys.stderr)
        raise SystemExit(EXIT_INTERRUPTED) from None
    raise SystemExit(0)


def exit_status(error: UserError) -> int:
    """2 where the user's input is wrong; 1 where it was right, and training or the disk cannot go on."""
    return EXIT_FAILURE if isinstance(error, TrainingError | DiskFullError) else EXIT_USER_ERROR


def print_next(*commands: str) -> None:
    """What to type next, so that it works in the shell that this command was called from."""
    lines = ([first] if (first := activation()) else []) + list(commands)
    print("\nnext:\n" + "\n".join(f"  {line}" for line in lines), flush=True)


def activation() -> str:
    """What makes `python` this environment's in the user's shell; nothing where it is (make does without)."""
    activate = Path(sys.prefix, "bin", "activate")
    python = shutil.which("python")
    if not activate.is_file() or (python and Path(python).parent == activate.parent):
        return ""
    return f"source {shlex.quote(str(activate))}"


def typed(module: str, words: Sequence[str]) -> str:
    """A command as the user typed it."""
    return shlex.join(["python", "-m", module, *words])


def frozen(options: Mapping[str, Any]) -> dict[str, Any]:
    """Parsed options, lists as tuples: the fields of a command's frozen dataclass."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


def _as_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One message, without the page of usage that would push it out of sight; a misspelt option is told."""
        unknown = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        known = re.findall(r"--[\w-]+", self.format_usage())
        near = difflib.get_close_matches(unknown[1], known, n=1, cutoff=0.75) if unknown else []
        hint = f" (did you mean {near[0]}?)" if near else ""
        print(f"error: {message}{hint}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(EXIT_USER_ERROR)


def parser(module: str, description: str, examples: str) -> argparse.ArgumentParser:
    """An argument parser whose help ends with examples and the exit statuses."""
    result = _Parser(
        prog=f"python -m {module}",
        description=description,
        epilog=f"examples:\n{examples}\n\n{STATUSES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("--version", action="version", version=f"sed-search {version('sed-search')}")
    return result


def add_set(arguments: argparse._ActionsContainer) -> None:
    arguments.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="fix a configuration key, e.g. model.pool_type=gem; may be repeated (keys: search_spaces/base.yaml)",
    )


def add_models(parser: argparse.ArgumentParser) -> None:
    """Which trained models: those of a run, or some folders."""
    models = parser.add_mutually_exclusive_group(required=True)
    models.add_argument(
        "--run",
        type=run_folder,
        metavar="DIR",
        help="run folder: the mean of its search's finalists, else its ensemble, else its best trials",
    )
    models.add_argument("--model", type=path, action="append", metavar="DIR", help="folder of a model; may be repeated")
    help_text = "the K best trials of --run, whatever it delivers (5)"
    parser.add_argument("--top-k", type=positive_int, metavar="K", help=help_text)
    parser.add_argument(
        "--single", action="store_true", help="one model of the best finalist of --run, for little time"
    )


def check_models(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Ends the command where what `add_models` read does not fit together."""
    if options.model and (options.top_k or options.single):
        parser.error("--top-k and --single choose among the models of --run; repeat --model for several models")
    if options.top_k and options.single:
        parser.error("--single takes a model of the best finalist, --top-k the best trials; leave one of them out")


def add_also(parser: argparse._ActionsContainer) -> None:
    """Other runs, and what they count."""
    parser.add_argument(
        "--also",
        type=run_folder,
        action="append",
        default=[],
        metavar="DIR",
        help="another run whose models join those of --run, a probe's or another backbone's; the runs count alike",
    )
    parser.add_argument(
        "--share",
        type=share,
        metavar="X",
        help="what the runs of --also count together, above 0 and below 1 (default: each run alike)",
    )


def chosen_models(options: argparse.Namespace) -> str:
    """What `add_models` read, as words of another command."""
    words = ["--run", options.run] if options.run else [w for model in options.model or () for w in ("--model", model)]
    words += [w for run in getattr(options, "also", ()) for w in ("--also", run)]
    words += ["--share", options.share] if getattr(options, "share", None) else []
    words += ["--top-k", options.top_k] if options.top_k else []
    words += ["--single"] if options.single else []
    return shlex.join(map(str, words))


def soundscapes_to_predict(data_dir: Path) -> str:
    """The soundscapes to predict that lie in a data folder, as a word of another command; DIR where there are none."""
    folder = data_dir / "test_soundscapes"
    return shlex.quote(str(folder)) if is_folder(folder) else "DIR"


def path(text: str) -> Path:
    """Argument type: a path, with ~ expanded, absolute (workers have another working directory)."""
    return expanded(text)


def run_folder(text: str) -> Path:
    """Argument type: a run by its path, or by its name in runs/ where there is no such path; absolute."""
    return expanded(run_as_typed(text))


def run_as_typed(text: str) -> Path:
    """Argument type: as `run_folder`, but for people to read: relative where it is given so."""
    named = Path("runs", text)
    return named if not is_folder(expanded(text)) and is_folder(named) else Path(text).expanduser()


def positive_int(text: str) -> int:
    """Argument type: a whole number from 1."""
    return _whole_number(text, least=1)


def names(text: str) -> tuple[str, ...]:
    """Argument type: a,b,c, each once."""
    given = [part.strip() for part in text.split(",")]
    if not all(given) or len(set(given)) < len(given):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of different names a,b,c")
    return tuple(given)


def whole_number(text: str) -> int:
    """Argument type: 0, 1, 2, .."""
    return _whole_number(text, least=0)


def whole_numbers(text: str) -> list[int]:
    """Argument type: 0,1,2."""
    return [_whole_number(part, least=0) for part in text.split(",")]


def positive_float(text: str) -> float:
    """Argument type: a finite number above 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number above 0")
    return value


def share(text: str) -> float:
    """Argument type: a number above 0 and below 1."""
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and below 1")
    return value


def nonnegative_float(text: str) -> float:
    """Argument type: a finite number from 0."""
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number from 0")
    return value


def workers(text: str) -> int | None:
    """Argument type: a whole number from 0, or None for `auto`."""
    return None if text == "auto" else _whole_number(text, least=0)


def seed(text: str) -> int:
    """Argument type: a whole number from 0 below 2^31."""
    value = _whole_number(text, least=0)
    if value >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not below 2^31")
    return value


def duration_s(text: str) -> float:
    """Argument type: 90, 90s, 30m or 2h, in seconds."""
    unit_s = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    value = _number(text if unit_s is None else text[:-1]) * (unit_s or 1)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration above 0; write 90s, 30m or 2h")
    return value


def _whole_number(text: str, least: int) -> int:
    if not text.strip().isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
    return int(text)


def _number(text: str) -> float:
    """The number, or nan, which no range holds."""
    try:
        return float(text)
    except ValueError:
        return math.nan
