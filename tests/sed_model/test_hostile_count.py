"""How many hostile cases there are; told when all of their files were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile import EXAMPLES

TESTS = Path(__file__).resolve().parents[1]


def test_there_are_hundreds_of_distinct_hostile_cases(request: pytest.FixtureRequest) -> None:
    files = set(TESTS.glob("*/test_hostile_*.py"))
    items = [item for item in request.session.items if item.path in files]
    if {item.path for item in items} != files or request.config.option.keyword:
        pytest.skip("not all hostile cases were asked for")
    drawing = [item for item in items if item.get_closest_marker("hypothesis")]
    n_written = len(items) - len(drawing)
    print(f"{n_written} written cases, and {len(drawing)} properties with {EXAMPLES} random cases each")

    assert n_written >= 300
