"""Draw docs/pictures/rooms.svg from the tree: each package a box on its floor, with the modules in it.

python -m scripts.draw_rooms     (a test compares the picture with the tree)
"""

from __future__ import annotations

import ast
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from sed_model.core.files import write_text

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "rooms.svg"
ROOMS = {"trainables": "#e6fffa", "sed_model": "#ebf4ff", "analysis": "#fffaf0"}
FILES = {
    "trainables": "search_spaces/*.yaml go in; runs/NAME, models and pseudo-labels come out",
    "sed_model": "a configuration and a folder of recordings go in; an evaluated model comes out",
    "analysis": "runs/NAME goes in; report.html, rankings and notebooks come out",
}
WIDTH, ROOM_WIDTH, LINE, MARGIN = 1000, 320, 14, 10
CHARACTERS = 46
"""Of a line at the font's size of 11."""
BLACK, GREY = "#1a202c", "#4a5568"


@dataclass(frozen=True)
class Box:
    """A package, or the modules that lie beside packages."""

    name: str
    purpose: str
    modules: tuple[str, ...]

    def lines(self) -> list[tuple[str, str]]:
        """Each line with its colour."""
        told = [(line, GREY) for line in textwrap.wrap(self.purpose, CHARACTERS)]
        return told + [(line, BLACK) for line in textwrap.wrap(", ".join(self.modules), CHARACTERS)]


def floors(room: str) -> list[str]:
    """The packages of a room from the top down: the layers that the import rules hold; `|` divides modules."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for contract in project["tool"]["importlinter"]["contracts"]:
        if contract.get("containers") == [room]:
            return [str(layer) for layer in contract["layers"]]
    return []


def purpose(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n", 1)[0]


def modules(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")))


def boxes(room: str) -> Iterator[Box]:
    """The boxes of a room, the highest floor first."""
    layers = floors(room)
    if not layers:
        yield Box(room, purpose(ROOT / room / "__init__.py"), modules(ROOT / room))
    for layer in layers:
        folder = ROOT / room / layer
        if folder.is_dir():
            yield Box(layer, purpose(folder / "__init__.py"), modules(folder))
        else:
            names = tuple(name.strip() for name in layer.split("|") if name.strip() != "__main__")
            one = len(names) == 1
            yield Box(layer if one else "commands", purpose(folder.with_suffix(".py")) if one else "", names)


def text(x: float, y: float, words: str, size: int = 11, style: str = "") -> str:
    return f'  <text x="{x:g}" y="{y:g}" font-size="{size}"{style}>{escape(words)}</text>'


def draw_room(room: str, left: float) -> tuple[list[str], float]:
    """The lines of the picture, and where the room ends at the bottom."""
    lines: list[str] = []
    y = 78.0
    for box in boxes(room):
        inside = box.lines()
        height = 20 + LINE * len(inside)
        lines += [
            f'  <rect x="{left + MARGIN:g}" y="{y:g}" width="{ROOM_WIDTH - 2 * MARGIN}" height="{height}" rx="6" '
            'fill="#ffffff" stroke="#4a5568"/>',
            text(left + 18, y + 15, box.name, 12, ' font-weight="600"'),
            *(
                text(left + 18, y + 15 + LINE * place, line, style=f' fill="{colour}"')
                for place, (line, colour) in enumerate(inside, start=1)
            ),
        ]
        y += height + 8
    frame = (
        f'  <rect x="{left:g}" y="20" width="{ROOM_WIDTH}" height="{y - 20:g}" rx="8" fill="{ROOMS[room]}" '
        'stroke="#4a5568"/>'
    )
    title = text(left + 12, 44, f"{room}/", 15, ' font-weight="700"')
    told = [text(left + 12, 58 + 12 * place, line, 10) for place, line in enumerate(textwrap.wrap(FILES[room], 54))]
    return [frame, title, *told, *lines], y


def draw(rooms: Sequence[str] = tuple(ROOMS)) -> str:
    """The picture as SVG."""
    drawn = [draw_room(room, 10 + place * (ROOM_WIDTH + 10)) for place, room in enumerate(rooms)]
    height = max(bottom for _, bottom in drawn) + 20
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
            'font-family="system-ui, sans-serif">',
            "  <title>Every module in its package and on its floor: it imports from its own and those below</title>",
            f'  <rect width="{WIDTH}" height="{height:g}" rx="10" fill="#ffffff"/>',
            *(line for lines, _ in drawn for line in lines),
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    write_text(PICTURE, draw())
