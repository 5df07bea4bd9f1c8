"""The chaos script as a whole, with few trials and few kills."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from _command import NOT_INHERITED, ROOT

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)  # on a loaded machine
def test_a_search_under_random_kills_holds() -> None:
    """Of seed 3 the kills are the driver, and a trial where one runs by then."""
    environment = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    words = ["--part", "cluster", "--trials", "4", "--kills", "2", "--seed", "3"]
    chaos = subprocess.run(
        [sys.executable, "benchmarks/chaos.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip

    assert chaos.returncode == 0, chaos.stderr
    (row,) = map(json.loads, chaos.stdout.splitlines())
    assert (row["name"], row["trials"], row["problems"], row["holds"]) == ("cluster", 4, 0, True)
    assert (row["sessions"], row["killed driver"], row["ended with -9"], row["ended with 0"]) == (2, 1, 1, 1)
    assert row.get("killed trial", 0) + row.get("missed", 0) == 1
