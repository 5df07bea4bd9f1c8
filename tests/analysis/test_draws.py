"""How trials were drawn, as the report tells it."""

from dataclasses import replace
from pathlib import Path

from analysis.ranks import rank_trials
from analysis.summary import tally
from analysis.tables import Run, read_run
from tests.analysis.conftest import trial_rows, write_table

DRAWS = ["default", "quasi-random", "quasi-random", "TPE", "TPE", "TPE", "TPE"]


def drawn_run(run: Path) -> Run:
    rows = [row | {"drawn_by": drawn_by} for row, drawn_by in zip(trial_rows(), DRAWS, strict=True)]
    write_table(run / "trials.parquet", rows)
    return read_run(run)


def test_the_summary_counts_them(tiny_run: Path) -> None:
    assert tally(drawn_run(tiny_run)).endswith("of training. Drawn by: TPE 4, quasi-random 2, default 1.")


def test_the_ranking_shows_them_where_they_are_known(tiny_run: Path) -> None:
    known, unknown = drawn_run(tiny_run), None
    ranking = rank_trials(known).set_index("number")["drawn_by"]
    unknown = replace(known, trials=known.trials.assign(drawn_by=None))

    assert [ranking[number] for number in range(7)] == DRAWS
    assert "drawn_by" not in rank_trials(unknown)
