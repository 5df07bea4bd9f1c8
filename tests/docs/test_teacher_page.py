"""docs/teacher.md names each key of a description, and shows one that can be read."""

from __future__ import annotations

import re
from pathlib import Path

from sed_model.teacher.description import SHIPPED, TeacherDescription, read_description
from tests.documented import ROOT, blocks

PAGE = ROOT / "docs" / "teacher.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_each_key_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \|(.*)\|$", TEXT, re.MULTILINE))
    assert list(rows) == list(TeacherDescription.model_fields)
    for name, field in TeacherDescription.model_fields.items():
        if name != "name" and field.default not in (None, ""):
            told = rows[name].strip(" `")
            assert told == (f"{field.default:g}" if isinstance(field.default, float) else str(field.default).lower())


def test_the_description_that_is_shown_can_be_read(tmp_path: Path) -> None:
    (shown,) = (text for language, text in blocks(PAGE) if language == "yaml")
    (tmp_path / "mine.yaml").write_text(shown, encoding="utf-8")
    mine = read_description(str(tmp_path / "mine.yaml"))
    assert (mine.window_samples, mine.file) == (160_000, str(tmp_path / "mine.onnx"))


def test_the_licence_of_each_shipped_teacher_is_told() -> None:
    for path in SHIPPED.glob("*.yaml"):
        description = read_description(path.stem)
        assert re.search(rf"^\| `{path.stem}` .*\| {re.escape(description.licence)} \|", TEXT, re.MULTILINE)
