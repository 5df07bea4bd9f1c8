"""The drawing of the rooms on docs/explanation.md is true: each module is there once, above all that it imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from scripts.make_reference import PACKAGES, ROOT

DRAWING = (ROOT / "docs" / "pictures" / "rooms.svg").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Box:
    """Some modules of a package; floor 1 is the ground."""

    room: str
    floor: int
    modules: tuple[str, ...]


def boxes() -> list[Box]:
    found = re.findall(r'<g data-room="(\w+)" data-floor="(\d+)">(.*?)</g>', DRAWING, re.DOTALL)
    lines = [(room, int(floor), re.findall(r'class="modules"[^>]*>([^<]*)<', text)) for room, floor, text in found]
    return [Box(room, floor, tuple(re.findall(r"\w+", " ".join(words)))) for room, floor, words in lines]


BOX_OF = {(box.room, module): box for box in boxes() for module in box.modules}


def imported(room: str, module: str) -> Iterator[str]:
    """Modules of the same package, but for what a command imports when it is run by this name."""
    for node in ast.parse((ROOT / room / f"{module}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
            continue
        for inner in ast.walk(node):
            if isinstance(inner, ast.ImportFrom) and inner.module == room:
                yield from (alias.name for alias in inner.names)
            elif isinstance(inner, ast.ImportFrom) and inner.module and inner.module.startswith(f"{room}."):
                yield inner.module.removeprefix(f"{room}.")


@pytest.mark.parametrize("room", PACKAGES)
def test_each_module_is_drawn_once(room: str) -> None:
    drawn = [module for box in boxes() if box.room == room for module in box.modules]
    assert sorted(drawn) == sorted(path.stem for path in (ROOT / room).glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("room", PACKAGES)
def test_a_module_imports_from_its_own_box_and_from_floors_below(room: str) -> None:
    upwards = [
        f"{module} imports {other}"
        for (own, module), box in BOX_OF.items()
        if own == room
        for other in imported(room, module)
        if not (BOX_OF[room, other] == box or BOX_OF[room, other].floor < box.floor)
    ]
    assert upwards == []


def test_a_search_imports_what_a_trial_is() -> None:
    assert "trial" in set(imported("trainables", "search_run"))
