"""README.ja.md says what README.md says: the same commands, the same figures in the same tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH, JAPANESE = (ROOT / name for name in ("README.md", "README.ja.md"))
HINT = "README.md has changed: bring README.ja.md up to date, or the other way round"


def commands(page: Path) -> list[str]:
    """Commands in blocks and in running text, without comments."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    running = re.findall(r"`((?:python|make|optuna-dashboard|tensorboard) [^`]+)`", text)
    return [*lines, *(" ".join(command.split()) for command in running)]


def figures(page: Path) -> list[list[str]]:
    """The numbers of each row of each table; headings may be worded otherwise."""
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [sorted(re.findall(r"\d[\d.,e-]*(?<![.,])", row)) for row in rows]


@pytest.mark.parametrize("part", [commands, figures])
def test_the_translation_is_up_to_date(part: Callable[[Path], list[object]]) -> None:
    assert part(JAPANESE) == part(ENGLISH), HINT


def test_both_link_to_each_other() -> None:
    assert "(README.ja.md)" in ENGLISH.read_text(encoding="utf-8")
    assert "(README.md)" in JAPANESE.read_text(encoding="utf-8")
