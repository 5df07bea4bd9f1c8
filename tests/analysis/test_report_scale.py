"""A run of many trials: the report draws some of them, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_scale import write_big_run

from analysis import report


@pytest.mark.slow
def test_of_many_trials_some_are_drawn(tmp_path: Path) -> None:
    run = write_big_run(tmp_path / "big", n_trials=1200, n_epochs=4)
    report.main(["--run", str(run)])
    assert "Drawn are 300 of 1,200 trials" in (run / "report.html").read_text(encoding="utf-8")
