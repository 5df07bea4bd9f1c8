"""Columns config.* of any name and value: ranked and shown as text, or refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import ranking
from analysis.ranks import rank_trials, what_mattered
from analysis.tables import read_run
from sed_model.run_folder.run_tables import TRIAL_FIELDS
from tests.analysis.hostile_run import N_TRIALS, TRIALS, change, put_column, refuses, unprintable
from tests.hostile import drawn, in_time

SETTINGS: dict[str, list[Any]] = {
    "infinity": [1.0, math.inf],
    "dates": [datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)],
    "bytes": [b"a", b"b"],
}


@pytest.mark.parametrize("values", SETTINGS.values(), ids=SETTINGS)
def test_settings_that_no_search_writes_are_refused(own_run: Path, values: list[Any]) -> None:
    put_column(own_run / TRIALS, "config.model.x", values * 3 + values[:1])
    refuses(lambda: read_run(own_run), TRIALS, "config.model.x")


ODD_SETTINGS: dict[str, list[Any]] = {
    "the largest floats": [1e308, -1e308, 0.0, 1.0, 2.0, 3.0, 4.0],
    "the smallest floats": [n * 1e-320 for n in range(N_TRIALS)],
    "NaN and numbers": [math.nan, 1.0, 2.0, math.nan, 3.0, 4.0, 5.0],
    "long texts": ["x" * 1_000_000, "y", "z", "x", "y", "z", "x"],
    "texts that colour the terminal": ["\x1b[31m", "\a", "\r", "\0", "\u202e", "a", "b"],
    "markup": ["[/x]", "[bold]", "$x^$", "$\\frac$", "<b>", "</script>", "&amp;"],
    "lists": [[1, 2], [3], [], None, [4], [5], [6]],
    "truth values with gaps": [True, False, None, True, None, False, True],
}


@pytest.mark.parametrize("values", ODD_SETTINGS.values(), ids=ODD_SETTINGS)
def test_odd_settings_are_ranked_and_printed_as_text(
    own_run: Path, values: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    put_column(own_run / TRIALS, "config.model.x", values)
    with in_time():
        ranking.main(["--run", str(own_run)])
        what_mattered(read_run(own_run))
    assert unprintable(capsys.readouterr().out) == ""


NAMES = ["config.", "config..", "config.status", "config.macro_auc", "config.rank", "config.gap", "config.trial_id",
         "config.minutes", "config.seed", "config.number", "config.a.b." + "c" * 5_000, "config.<script>",
         "config.$x^$", "config.[/x]", "config.\x1b[31m", "config.model.gem_p.x", "config.gem_p"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:24]))
def test_a_setting_of_any_name_is_ranked(own_run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    put_column(own_run / TRIALS, name, list(range(N_TRIALS)))
    ranking.main(["--run", str(own_run), "--json"])
    table = json.loads(capsys.readouterr().out)["trials"]
    # The best trial is number 3; its own columns stay what they are.
    assert (table[0]["trial_id"], table[0]["status"], table[0]["rank"]) == ("trial_0003", "complete", 1)
    assert 3.0 in [value for key, value in table[0].items() if key != "number"]


def test_a_thousand_settings_are_no_configuration(own_run: Path) -> None:
    settings = {f"config.x{n}": list(range(N_TRIALS)) for n in range(600)}
    change(own_run / TRIALS, lambda table: pa.table({name: table[name] for name in table.column_names} | settings))
    refuses(lambda: read_run(own_run), TRIALS, "more than 500 columns config.*")


def test_what_pandas_noted_about_a_table_makes_no_index_of_a_column(own_run: Path) -> None:
    note = {"index_columns": ["trial_id"], "columns": [], "column_indexes": []}
    for text in (json.dumps(note), "[[", "null"):
        change(own_run / TRIALS, lambda table, text=text: table.replace_schema_metadata({b"pandas": text.encode()}))
        assert read_run(own_run).trials["trial_id"].iloc[3] == "trial_0003"


numbers = st.lists(st.floats(allow_infinity=False) | st.none(), min_size=N_TRIALS, max_size=N_TRIALS)
texts = st.lists(st.text(max_size=8) | st.none(), min_size=N_TRIALS, max_size=N_TRIALS)


@drawn
@given(values=numbers | texts)
def test_any_setting_is_ranked(whole_run: Path, values: list[Any]) -> None:
    read = read_run(whole_run)
    column = pd.Series(values, dtype="float64" if all(not isinstance(value, str) for value in values) else "str")
    with in_time():
        read = replace(read, trials=read.trials[TRIAL_FIELDS.names].assign(**{"config.model.x": column}))
        assert len(rank_trials(read)) == N_TRIALS
        what_mattered(read)
