"""What all commands share: argument types, exit statuses, help that is quick."""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from analysis import command
from scripts.make_reference import COMMANDS
from sed_model.core.errors import DataError, DiskFullError, TrainingError
from trainables import cli, search

ROOT = Path(__file__).parents[2]


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
    ],
)
def test_arguments_out_of_range(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="^" + repr(text)):
        parse(text)


def test_arguments_in_range() -> None:
    assert cli.positive_int("3") == 3
    assert cli.positive_float("0.2") == 0.2
    assert cli.nonnegative_float("0") == 0
    assert cli.seed("2147483647") == 2**31 - 1
    assert cli.workers("auto") is None
    assert cli.workers("0") == 0


def test_folders_are_absolute_and_know_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert cli.path("~/data") == tmp_path / "data"
    assert cli.path("runs") == tmp_path / "runs"


@pytest.mark.parametrize("run_folder", [cli.run_folder, command.run_folder])
def test_a_run_is_named_by_its_path_or_its_name_in_runs(
    run_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/first", "runs/second", "second"):
        Path(name).mkdir(parents=True)

    assert run_folder("first").absolute() == tmp_path / "runs" / "first"
    assert run_folder("runs/first/").absolute() == tmp_path / "runs" / "first"
    assert run_folder("second").absolute() == tmp_path / "second"
    assert run_folder("third").absolute() == tmp_path / "third"


@pytest.mark.parametrize(
    "words",
    ["--run '/runs/my run' --top-k 2", "--run /runs/first", "--model /a --model /b"],
    ids=["top", "run", "models"],
)
def test_the_models_of_a_command_are_named_for_the_next_one(words: str) -> None:
    parser = argparse.ArgumentParser()
    cli.add_models(parser)
    given = parser.parse_args(shlex.split(words))
    assert cli.chosen_models(given.run, given.model, given.top_k) == words


def test_a_run_to_go_on_with_is_named_by_its_path_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    options = search.parse(["--resume", "--name", "old/first"])
    assert (options.out, options.name) == (tmp_path / "old", "first")


@pytest.mark.parametrize("module", ["trainables.search", "trainables.runs", "analysis.report", "sed_model.demo_data"])
def test_a_python_without_the_packages_says_what_to_activate(module: str) -> None:
    """-S leaves the installed packages out."""
    result = subprocess.run([sys.executable, "-S", "-m", module], cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {sys.executable} lacks the packages of sed-search; ")
    assert "source .venv/bin/activate" in result.stderr
    assert result.stderr.count("\n") == 1


FIRST_LINE = """
import importlib, sys
from trainables import cli
cli.say = lambda line: sys.exit("torch" in sys.modules or "ray" in sys.modules)
importlib.import_module(sys.argv[1]).main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    "words",
    [
        *("search --space x", "train --stage all --out x", "ensemble --run x", "student --run x"),
        *("predict --run x --soundscapes x --out x.csv", "export --run x --format onnx"),
    ],
    ids=lambda words: words.split()[0],
)  # fmt: skip
def test_the_first_line_comes_before_what_takes_seconds_to_import(words: str) -> None:
    module, *rest = words.split()
    command = [sys.executable, "-c", FIRST_LINE, f"trainables.{module}", *rest]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def raising(error: BaseException) -> Callable[[object], None]:
    def command(_: object) -> None:
        raise error

    return command


def test_status_0_when_done() -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.run(lambda _: None)
    assert leaving.value.code == 0


def test_status_2_and_the_message_for_wrong_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.run(raising(DataError("a.csv: lacks a column")))
    assert leaving.value.code == 2
    assert capsys.readouterr().err == "error: a.csv: lacks a column\n"


@pytest.mark.parametrize("kind", [TrainingError, DiskFullError])
def test_status_1_when_the_input_is_right_and_it_cannot_go_on(
    capsys: pytest.CaptureFixture[str], kind: type[Exception]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.run(raising(kind("runs: no space is left")))
    assert leaving.value.code == 1
    assert capsys.readouterr().err == "error: runs: no space is left\n"


def test_status_130_and_how_to_go_on_when_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.run(raising(KeyboardInterrupt("go on with --resume")))
    assert leaving.value.code == 130
    assert "interrupted; go on with --resume" in capsys.readouterr().err


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


HELP = """
import runpy, sys, time
start_s = time.perf_counter()
module, *sys.argv[1:] = sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__")
except SystemExit as leaving:
    assert leaving.code == 0
heavy = {"torch", "ray", "pandas", "optuna", "timm"} & set(sys.modules)
print("HEAVY", sorted(heavy), "SECONDS", time.perf_counter() - start_s)
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_is_quick(command: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", HELP, command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert "examples:\n" in shown
    assert f"python -m {command} " in shown.split("examples:")[1]
    assert "exit status: 0 done" in shown
    assert "HEAVY []" in shown
    assert float(shown.rsplit("SECONDS ", 1)[1]) < 2.0  # a quarter of a second on an idle machine


def test_commands_tell_their_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.parser("trainables.search", "", "").parse_args(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"sed-search {version('sed-search')}\n"
