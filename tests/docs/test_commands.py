"""Every command that README and documentation show: its options exist, its values parse, and the cheap ones run."""

from __future__ import annotations

import importlib
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from scripts.make_reference import COMMANDS, PARSER_MODULES, parser_of
from sed_model.config import SedConfig
from tests.analysis.conftest import write_run
from trainables.space import load_space, parse_overrides

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.ja.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "reference" not in page.parts and page.is_file()]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:make|python -m) [^`]+)`")
ALTERNATIVES = re.compile(r"(?<=\w)(\|\w+)+")
"""`--format onnx|openvino` in running text: the first is tried."""


def commands_of(page: Path) -> Iterator[str]:
    """Lines of the shell blocks, continued lines joined, and commands in running text."""
    text = page.read_text(encoding="utf-8")
    for language, block in FENCE.findall(text):
        if language == "sh":
            yield from (line.strip() for line in block.replace("\\\n", " ").splitlines() if line.strip())
    for inline in INLINE.findall(FENCE.sub("", text)):
        yield " ".join(inline.split())


def python_commands() -> list[tuple[str, str]]:
    """Page and command, each command once."""
    found: dict[str, str] = {}
    for page in PAGES:
        for line in commands_of(page):
            for part in re.split(r" && |; ", line.split("  #")[0].rstrip()):
                if match := re.search(r"python -m (?:trainables|analysis|sed_model)\.\S+.*", part):
                    found.setdefault(re.sub(r" +\(.*\)$", "", match.group()), str(page.relative_to(ROOT)))
    return [(page, command) for command, page in found.items()]


def words_of(command: str) -> tuple[str, list[str]]:
    """Module and arguments."""
    _, _, module, *words = shlex.split(ALTERNATIVES.sub("", command), comments=True)
    return module, words


@pytest.mark.parametrize(("page", "command"), python_commands())
def test_a_command_has_options_that_exist(page: str, command: str) -> None:
    module, words = words_of(command)
    assert module in COMMANDS, f"{page} names a command that there is not"
    if words:  # else the name alone, in running text
        options = parser_of(module).parse_args(words)
        overrides = parse_overrides(getattr(options, "overrides", []))
        SedConfig().with_overrides(overrides)  # raises what the command would: unknown keys, values that cannot be
        if module == "trainables.search" and options.space:
            assert load_space(options.space, overrides).parameters


def test_each_command_is_shown_somewhere() -> None:
    assert set(COMMANDS) <= {words_of(command)[0] for _, command in python_commands()}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small run under each name that the pages use."""
    folder = tmp_path_factory.mktemp("workplace")
    for name in ("NAME", "first", "arch", "pooling"):
        run = write_run(folder / "runs" / name)
        record = yaml.safe_load((run / "search.yaml").read_text())
        data = {"folder": "data", "fingerprint": "abc"}
        (run / "search.yaml").write_text(yaml.safe_dump(record | {"space_name": "arch", "data": data}))
        for file in run.rglob("*"):
            os.utime(file, (0, 0))  # long ago: `prune` leaves fresh runs alone
    return folder


CHEAP = ("analysis.ranking", "analysis.report", "trainables.runs", "trainables.space")
"""The others train, predict or write data; their own tests run them."""
CHEAP_COMMANDS = [
    command
    for module, words, command in ((*words_of(command), command) for _, command in python_commands())
    if module in CHEAP and words and "FILE" not in words
]


@pytest.mark.parametrize("command", CHEAP_COMMANDS)
def test_a_cheap_command_runs(
    command: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, words = words_of(command)
    monkeypatch.chdir(workplace)
    if module == "trainables.runs":  # its default folder is that in which it was imported
        words += ["--out", "runs"]

    status = importlib.import_module(PARSER_MODULES.get(module, module)).main(words)

    assert not status, capsys.readouterr().err
    assert capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_search_spaces_shown_can_be_searched(page: Path, tmp_path: Path) -> None:
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "yaml" and "\nspace:" in block:
            (tmp_path / "shown.yaml").write_text(block, encoding="utf-8")
            assert load_space(tmp_path / "shown.yaml").parameters


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = [line for page in PAGES for line in commands_of(page)]
    shown = {match.group(1) for line in lines if (match := re.match(r"make ([a-z-]+)", line))}
    assert {"setup", "test", "search"} <= shown <= targets
