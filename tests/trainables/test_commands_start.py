"""How commands begin: what they say where packages lack, a first line at once, help that is quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.make_reference import COMMANDS
from trainables import search

ROOT = Path(__file__).parents[2]


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
from sed_model.core import cli
cli.say = lambda line: sys.exit("torch" in sys.modules or "ray" in sys.modules)
importlib.import_module(sys.argv[1]).main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    "words",
    [
        *("search --space x", "train --stage all --out x", "ensemble --run x", "student --run x"),
        *("predict --run x --soundscapes x --out x.csv", "export --run x --format onnx"),
        *("probe --teacher x --data x", "chain --data x"),
    ],
    ids=lambda words: words.split()[0],
)  # fmt: skip
def test_the_first_line_comes_before_what_takes_seconds_to_import(words: str) -> None:
    module, *rest = words.split()
    command = [sys.executable, "-c", FIRST_LINE, f"trainables.{module}", *rest]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


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
