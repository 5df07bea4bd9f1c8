"""The classes: label <-> index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sed_model.data.tables import Notes, Problems, read_text_table

RESERVED_LABELS = frozenset({"row_id", "path", "start_s", "end_s"})
"""Names of columns that stand beside one column a class."""


def read_taxonomy(path: Path, notes: Notes | None = None) -> tuple[str, ...]:
    """The column `primary_label` of a taxonomy table: classes as text, in the order of the file.

    Raises:
        DataError: the table cannot be read, or a label is empty, repeated or reserved; all in one report.
    """
    labels = read_text_table(path, ["primary_label"], notes)["primary_label"]
    problems = Problems()
    if labels.empty:
        problems.add("no classes", "the table has no rows; list one class a row")
    first_line: dict[str, int] = {}
    for line, label in labels.items():
        if not label:
            problems.add("empty labels", f"line {line}: primary_label is empty; name the class or remove the row")
        elif not label.isprintable():
            problems.add("unprintable labels", f"line {line}: {label!r} would break tables and terminals; rename it")
        elif label in first_line:
            problems.add("repeated labels", f"line {line}: {label} is in line {first_line[label]} already; remove one")
        else:
            first_line[label] = int(str(line))
    for label in reserved_labels(tuple(first_line)):
        problems.add(
            "reserved labels", f"line {first_line[label]}: {label} is the name of a table column; rename the class"
        )
    problems.raise_if_any(path)
    return tuple(first_line)


def reserved_labels(labels: Sequence[str]) -> list[str]:
    """Those labels that cannot be the name of a class column."""
    return [label for label in labels if label in RESERVED_LABELS]
