"""Columns and values that no search writes: refused by file and column."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.curves import stage_gains
from analysis.predictions import read_oof
from analysis.ranks import rank_trials
from analysis.tables import RunFolderError, read_run
from sed_model.run_folder import predictions, run_tables
from tests.analysis.hostile_run import (
    CURVES,
    FRAMES,
    LABELS,
    N_EPOCHS,
    N_TRIALS,
    OOF,
    READERS,
    TRIALS,
    change,
    put_column,
    refuses,
)
from tests.hostile import DEEP, columns, drawn, refused

COLUMNS = [
    (file, name)
    for file, schema in (
        (TRIALS, run_tables.TRIAL_FIELDS), (CURVES, run_tables.CURVE_FIELDS), (OOF, predictions.OOF_SCHEMA),
        (FRAMES, predictions.FRAMES_SCHEMA), (LABELS, predictions.PSEUDO_LABEL_SCHEMA),
    )
    for name in schema.names if name not in run_tables.LATER | predictions.LATER
]  # fmt: skip


@pytest.mark.parametrize(("file", "name"), COLUMNS)
@pytest.mark.parametrize("how", ["missing", "of another type", "there twice"])
def test_a_hostile_column_is_refused_by_name(own_run: Path, file: str, name: str, how: str) -> None:
    if how == "of another type":
        put_column(own_run / file, name, [b"x"] * len(pq.read_table(own_run / file)))
    elif how == "missing":
        change(own_run / file, lambda table: table.drop_columns([name]))
    else:
        change(own_run / file, lambda table: table.append_column(name, table[name]))
    refuses(lambda: READERS[file](own_run), file, f"column '{name}'")


@drawn
@given(place=st.sampled_from([*COLUMNS, (TRIALS, "config.model.x")]), data=st.data())
def test_a_column_of_any_kind_is_refused_or_ranked(
    own_run: Path, whole_run: Path, place: tuple[str, str], data: st.DataObject
) -> None:
    file, name = place
    shutil.copy(whole_run / file, own_run / file)
    put_column(own_run / file, name, data.draw(columns(len(pq.read_table(own_run / file)))))
    if not refused(lambda: READERS[file](own_run), file, kind=RunFolderError) and file == TRIALS:
        rank_trials(read_run(own_run))
    shutil.copy(whole_run / file, own_run / file)


def broken_texts(n: int) -> pa.Array:
    """Texts that are no UTF-8."""
    _, ends, content = pa.array([b"\xff%d" % number for number in range(n)], pa.binary()).buffers()
    return pa.Array.from_buffers(pa.string(), n, [None, ends, content])


@pytest.mark.parametrize("name", ["trial_id", "stage", "error", "config.model.pool_type", "notes"])
def test_texts_that_are_none_are_refused(own_run: Path, name: str) -> None:
    put_column(own_run / TRIALS, name, broken_texts(N_TRIALS))
    refuses(lambda: read_run(own_run), TRIALS, "UTF8")


IDS = ["../../x", "/etc", "a/b", "a\\b", "..", ".", "", "x" * 300, "a\0b", "\x1b[31mred", "a\nb", "\u202ex", "\u2028"]


@pytest.mark.parametrize("name", IDS, ids=lambda name: ascii(name[:12]))
def test_a_trial_cannot_name_another_folder(own_run: Path, name: str) -> None:
    rows = pq.read_table(own_run / CURVES)["trial_id"].to_pylist()
    put_column(own_run / CURVES, "trial_id", [name if row == "trial_0003" else row for row in rows])
    put_column(own_run / TRIALS, "trial_id", [name if n == 3 else f"trial_{n:04d}" for n in range(N_TRIALS)])
    refuses(lambda: read_run(own_run), TRIALS, "is not that of number 3")
    refuses(lambda: read_oof(own_run, name), "no name of a trial")


VALUES: list[tuple[str, str, Any]] = [
    *((TRIALS, "number", value) for value in (2**63, 1e300, math.inf, 0.5, None)),
    *((TRIALS, "status", value) for value in ("done", "", None, "<script>")),
    *((TRIALS, "macro_auc", value) for value in (-0.1, 1.5, math.inf, -math.inf, 1e300)),
    *((TRIALS, "epochs", value) for value in (-1, 1.5, 2.0**63)),
    *((TRIALS, name, math.inf) for name in ("duration_s", "params_m", "cpu_ms_per_window")),
    *((TRIALS, name, -1.0) for name in ("duration_s", "params_m", "cpu_ms_per_window")),
    *((CURVES, "epoch", value) for value in (-1, 0.5, math.inf, 2.0**63, None)),
    *((CURVES, "macro_auc", value) for value in (-0.1, 1.5, math.inf)),
    (CURVES, "stage", None),
    *((OOF, "start_s", value) for value in (-1.0, math.nan, math.inf, 5.0, None)),
    *((OOF, "end_s", value) for value in (0.0, math.nan, math.inf, -1.0, None)),
    *((OOF, name, value) for name in ("target", "probabilities")
      for value in (None, [], [0.1], [0.1] * 4, [None, 0.0, 1.0], [math.nan, 0.0, 1.0], [2.0, 0.0, 1.0], [-0.1] * 3)),
    *((FRAMES, "scores", value) for value in (None, [], [math.nan], [math.inf], [2.0], [-0.1], [None])),
    *((FRAMES, name, math.inf) for name in ("start_s", "frames_start_s", "frames_end_s")),
    *((LABELS, "primary_label", value) for value in ("gull", "", None)),
    *((LABELS, "labels", value) for value in (None, ["gull"], ["../x"])),
    *((LABELS, "confidence", value) for value in (2.0, -0.1, math.nan)),
    *((LABELS, "n_members", value) for value in (0, -1, 1.5)),
    *((LABELS, "disagreement", value) for value in (-0.1, math.inf)),
    *((LABELS, "weight", value) for value in (-0.1, math.inf, None)),
    *((LABELS, "end_s", value) for value in (0.0, math.inf)),
]  # fmt: skip


@pytest.mark.parametrize(("file", "name", "value"), VALUES)
def test_a_hostile_value_is_refused_by_file_and_column(own_run: Path, file: str, name: str, value: Any) -> None:
    values = pq.read_table(own_run / file)[name].to_pylist()
    values[0] = value
    if isinstance(value, float):
        values = [float(other) if isinstance(other, int) else other for other in values]
    stored = pa.uint64() if value == 2**63 and isinstance(value, int) else None
    put_column(own_run / file, name, values, stored)
    refuses(lambda: READERS[file](own_run), file, name)


@pytest.mark.parametrize("file", [TRIALS, CURVES, OOF, LABELS])
def test_rows_that_stand_twice_are_refused(own_run: Path, file: str) -> None:
    change(own_run / file, lambda table: pa.concat_tables([table, table]))
    refuses(lambda: READERS[file](own_run), "twice" if file in (CURVES, OOF, LABELS) else "more than one row")


LABEL_LISTS = [
    b"", b"[]", b"3", b"[1, 2, 3]", b'["a", "a", "b"]', b'["a"]', b"\xff", DEEP, b'["\\u202ea", "b", "c"]',
    json.dumps(["x" * 5_000, "b", "c"]).encode(),
]  # fmt: skip


@pytest.mark.parametrize("file", [OOF, LABELS])
@pytest.mark.parametrize("labels", LABEL_LISTS, ids=lambda text: ascii(text[:12]))
def test_classes_that_are_none_are_refused(own_run: Path, file: str, labels: bytes) -> None:
    change(own_run / file, lambda table: table.replace_schema_metadata({b"classes": labels}))
    refuses(lambda: READERS[file](own_run), file)


def test_curves_without_a_score_add_nothing(own_run: Path) -> None:
    put_column(own_run / CURVES, "macro_auc", [None] * N_EPOCHS, pa.float64())
    assert stage_gains(read_run(own_run)).empty
