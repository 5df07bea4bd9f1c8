"""What all commands share: argument types, messages, exit statuses."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from sed_model.core import cli
from sed_model.core.errors import DataError, DiskFullError, TrainingError


@pytest.fixture(autouse=True)
def own_sigterm() -> Iterator[None]:
    """cli.run takes SIGTERM over; the test process takes it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("30 m", 1800)])
def test_durations(text: str, seconds: float) -> None:
    assert cli.duration_s(text) == seconds


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *((cli.duration_s, text) for text in ("", "m", "soon", "0", "-1h", "nan", "inf", "1d")),
        *((cli.positive_int, text) for text in ("", "0", "-1", "1.0", "1e3", "two")),
        *((cli.positive_float, text) for text in ("", "0", "-1", "nan", "inf")),
        *((cli.nonnegative_float, text) for text in ("-0.5", "nan", "half")),
        *((cli.seed, text) for text in ("-1", "2147483648", "0.5")),
        *((cli.workers, text) for text in ("-1", "1.5", "AUTO")),
        *((cli.names, text) for text in ("", "a,,b", "a,a")),
        (cli.whole_numbers, ""),
    ],
)
def test_arguments_out_of_range(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="^" + repr(text)):
        parse(text)


def test_digits_without_end_are_refused_as_argparse_wants_it() -> None:
    with pytest.raises(ValueError, match="digits"):
        cli.positive_int("9" * 5000)


def test_arguments_in_range() -> None:
    assert cli.positive_int("3") == 3
    assert cli.positive_float("0.2") == 0.2
    assert cli.nonnegative_float("0") == 0
    assert cli.seed("2147483647") == 2**31 - 1
    assert cli.whole_numbers("0,2") == [0, 2]
    assert cli.workers("auto") is None
    assert cli.workers("0") == 0


def test_folders_are_absolute_and_know_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert cli.path("~/data") == tmp_path / "data"
    assert cli.path("runs") == tmp_path / "runs"


@pytest.mark.parametrize(
    ("text", "folder"),
    [("first", "runs/first"), ("runs/first/", "runs/first"), ("second", "second"), ("third", "third")],
)
def test_a_run_is_named_by_its_path_or_its_name_in_runs(
    text: str, folder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/first", "runs/second", "second"):
        Path(name).mkdir(parents=True)

    assert cli.run_folder(text) == tmp_path / folder
    assert cli.run_as_typed(text) == Path(folder)


@pytest.mark.parametrize(
    "words",
    ["--run '/runs/my run' --top-k 2", "--run /runs/first", "--model /a --model /b"],
    ids=["top", "run", "models"],
)
def test_the_models_of_a_command_are_named_for_the_next_one(words: str) -> None:
    parser = argparse.ArgumentParser()
    cli.add_models(parser)
    given = parser.parse_args(shlex.split(words))
    assert cli.chosen_models(given) == words


def test_the_next_command_names_soundscapes_only_where_they_lie(tmp_path: Path) -> None:
    data = tmp_path / "my data"
    assert cli.soundscapes_to_predict(data) == "DIR"
    (data / "test_soundscapes").mkdir(parents=True)
    assert cli.soundscapes_to_predict(data) == f"'{data}/test_soundscapes'"


def raising(error: BaseException) -> Callable[[object], None]:
    def command(_: object) -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DataError("a.csv: lacks a column"), 2, "error: a.csv: lacks a column\n"),
        (TrainingError("loss is nan"), 1, "error: loss is nan\n"),
        (DiskFullError("runs: no space is left"), 1, "error: runs: no space is left\n"),
        (KeyboardInterrupt("go on with --resume"), 130, "interrupted; go on with --resume"),
    ],
)
def test_how_a_command_leaves(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, message: str
) -> None:
    """2: the input is wrong; 1: it is right, and the command cannot go on; 130: interrupted."""
    with pytest.raises(SystemExit) as leaving:
        cli.run(raising(error))
    assert leaving.value.code == status
    assert message in capsys.readouterr().err


def test_status_0_when_done() -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.run(lambda _: None)
    assert leaving.value.code == 0


def environment(folder: Path) -> Path:
    """A virtual environment with nothing but the two files that are looked at."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "activate").touch()
    (folder / "bin" / "python").touch(0o755)
    return folder


def test_what_to_type_next_works_in_a_shell_without_the_environment(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = environment(tmp_path / "our env"), environment(tmp_path / "other")
    monkeypatch.setattr(sys, "prefix", str(ours))
    monkeypatch.setenv("PATH", str(other / "bin"))
    cli.print_next("python -m trainables.runs list")
    assert capsys.readouterr().out.splitlines() == [
        "",
        "next:",
        f"  source '{ours}/bin/activate'",
        "  python -m trainables.runs list",
    ]
    monkeypatch.setenv("PATH", str(ours / "bin"))
    cli.print_next("python -m trainables.runs list")
    assert capsys.readouterr().out == "\nnext:\n  python -m trainables.runs list\n"


def test_a_polite_kill_counts_as_an_interrupt() -> None:
    def command(_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as leaving:
        cli.run(command)
    assert leaving.value.code == 130


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.run(raising(ZeroDivisionError()))


def test_commands_tell_their_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.parser("trainables.search", "", "").parse_args(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"sed-search {version('sed-search')}\n"
