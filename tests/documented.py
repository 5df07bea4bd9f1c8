"""The commands that README, CONTRIBUTING and docs/ show, as they are written there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "README.ja.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "reference" not in page.parts]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PROGRAMS = (
    "apt-get", "jupyter", "make", "optuna-dashboard", "pip", "pre-commit", "pytest", r"python3?(?! \d)", "ray",
    "source", "tensorboard", "zensical",
)  # fmt: skip
INLINE = re.compile(rf"`((?:[A-Z_]+=\S+\s+)*(?:\.venv/bin/)?(?:{'|'.join(PROGRAMS)})\s[^`]+)`")
ALTERNATIVES = re.compile(r"\w+(?:\|\w+)+")
"""`--format openvino|onnx` in running text stands for two commands."""


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of each block of code."""
    yield from FENCE.findall(page.read_text(encoding="utf-8"))


def lines_of(page: Path) -> Iterator[str]:
    """Lines of the shell blocks, continued lines joined, and commands in running text."""
    for language, block in blocks(page):
        if language == "sh":
            yield from (line.strip() for line in block.replace("\\\n", " ").splitlines() if line.strip())
    yield from INLINE.findall(FENCE.sub("", page.read_text(encoding="utf-8")))


def commands_of(page: Path) -> Iterator[str]:
    """Single commands: without comments, and what is handed to another command (`ray job submit -- ..`) apart."""
    for line in lines_of(page):
        for part in re.split(r" && | -- ", line.partition("  #")[0]):
            command = " ".join(part.rstrip(" &").split())
            found = ALTERNATIVES.search(command)
            for one in found.group().split("|") if found else [""]:
                yield ALTERNATIVES.sub(one, command)


def documented_commands() -> dict[str, str]:
    """Command -> the first page that shows it."""
    found: dict[str, str] = {}
    for page in PAGES:
        for command in commands_of(page):
            found.setdefault(command, str(page.relative_to(ROOT)))
    return found


def module_and_words(command: str) -> tuple[str, list[str]] | None:
    """Of `python -m MODULE WORD ..`."""
    match shlex.split(command):
        case ["python", "-m", module, *words]:
            return module, words
    return None
