"""That the suite of hostile input stays large; what was tried is printed at the end of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


def test_there_are_hundreds_of_distinct_hostile_cases(request: pytest.FixtureRequest) -> None:
    files = set(TESTS.glob("*/test_hostile_*.py"))
    items = [item for item in request.session.items if item.path in files]
    if {item.path for item in items} != files or request.config.option.keyword:
        pytest.skip("not all hostile cases were asked for")

    assert sum(item.get_closest_marker("hypothesis") is None for item in items) >= 300
