"""The picture of the packages on docs/explanation.md is that of the tree, and the roads that it walks are there."""

from __future__ import annotations

import re

from scripts.draw_rooms import PICTURE, ROOT, draw

PAGE = (ROOT / "docs" / "explanation.md").read_text(encoding="utf-8")


def test_the_picture_is_of_the_tree() -> None:
    assert PICTURE.read_text(encoding="utf-8") == draw(), "draw it anew: python -m scripts.draw_rooms"


def test_each_module_is_drawn_once() -> None:
    words = re.findall(r"\w+", " ".join(re.findall(r'fill="#1a202c">([^<]*)<', draw())))
    paths = [path for room in ("sed_model", "trainables", "analysis") for path in (ROOT / room).rglob("*.py")]
    assert sorted(words) == sorted(path.stem for path in paths if not path.stem.startswith("__"))


def test_the_page_names_only_files_that_are_there() -> None:
    named = re.findall(r"`((?:sed_model|trainables|analysis|tests)/[\w/]+\.py)`", PAGE)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []
