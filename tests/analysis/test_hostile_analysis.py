"""Hostile run folders for the analysis: refused by name, or shown as text; nothing outside the folder is read."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import yaml
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis import ranking, report
from analysis.checks import shown
from analysis.compare import unique_names
from analysis.costs import cpus_per_trial
from analysis.curves import StageSpan, learning_curves, stage_gains
from analysis.figures import blank, label
from analysis.page import figure_json
from analysis.parameters import parameter_values, varied_parameters
from analysis.plots import draw_learning_curves, draw_ranking
from analysis.ranks import rank_trials, what_mattered
from analysis.students import related_run
from analysis.tables import (
    CURVE_COLUMNS,
    OOF_COLUMNS,
    PSEUDO_LABEL_COLUMNS,
    REFIT_COLUMNS,
    TRIAL_COLUMNS,
    Run,
    RunFolderError,
    newest_runs,
    read_members,
    read_oof,
    read_pseudo_labels,
    read_run,
)
from analysis.windows import FRAME_COLUMNS, LIMITS, Clip, FrontEnd, front_end_of, log_mel, read_clip, read_frame_scores
from tests.analysis.conftest import CLASSES, FRONT_END, SEARCH, oof_rows, write_run, write_table
from tests.hostile import (
    DEEP,
    NO_FILES,
    NO_JSON,
    NO_TABLES,
    drawn,
    in_time,
    overwritten,
    places,
    put_in_place,
    refusal,
    refused,
    trees,
    truncated,
)

TRIALS, CURVES = "trials.parquet", "curves.parquet"
OOF, FRAMES = "trials/trial_0003/oof.parquet", "trials/trial_0003/frames.parquet"
LABELS = "ensemble/pseudo_labels/part-0.parquet"
N_TRIALS, N_EPOCHS = 7, 14


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with every table that is read; read-only by agreement."""
    run = write_run(tmp_path_factory.mktemp("whole") / "run")
    rows = [
        {"filename": row["filename"], "start_s": row["start_s"], "end_s": row["end_s"], "label": CLASSES[0],
         "frames_start_s": row["start_s"], "frames_end_s": row["end_s"], "scores": [0.1, 0.9]}
        for row in oof_rows(0.4)
    ]  # fmt: skip
    write_table(run / FRAMES, rows)
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of the whole run, free to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


READERS: dict[str, Callable[[Path], object]] = {
    TRIALS: read_run,
    CURVES: read_run,
    OOF: lambda run: read_oof(run, "trial_0003"),
    FRAMES: lambda run: read_frame_scores(run, "trial_0003"),
    LABELS: read_pseudo_labels,
}


def refuses(call: Callable[[], object], *words: str) -> str:
    return refusal(call, *words, kind=RunFolderError)


@pytest.mark.parametrize(("file", "read"), READERS.items(), ids=READERS)
def test_the_tables_themselves_are_good(run: Path, file: str, read: Callable[[Path], object]) -> None:
    assert read(run) is not None


# --- files

OTHER_FILES: dict[str, Callable[[Path], object]] = {"search.yaml": read_run, "ensemble/members.json": read_members}


@pytest.mark.parametrize("content", NO_TABLES.values(), ids=NO_TABLES)
@pytest.mark.parametrize(("file", "read"), READERS.items(), ids=READERS)
def test_bytes_that_are_no_table_are_refused_by_name(
    run: Path, file: str, read: Callable[[Path], object], content: bytes
) -> None:
    (run / file).write_bytes(content)
    refuses(lambda: read(run), file, "not readable as Parquet")


@pytest.mark.parametrize("percent", [1, 10, 50, 90, 99])
@pytest.mark.parametrize(("file", "read"), READERS.items(), ids=READERS)
def test_a_truncated_table_is_refused_by_name(
    run: Path, file: str, read: Callable[[Path], object], percent: int
) -> None:
    truncated(run / file, percent)
    refuses(lambda: read(run), file, "not readable as Parquet")


ALL_FILES = READERS | OTHER_FILES


@pytest.mark.parametrize("put", NO_FILES.values(), ids=NO_FILES)
@pytest.mark.parametrize(("file", "read"), ALL_FILES.items(), ids=ALL_FILES)
def test_what_is_no_file_is_refused_by_name(
    run: Path, file: str, read: Callable[[Path], object], put: Callable[[Path], None]
) -> None:
    put_in_place(run / file, put)
    refuses(lambda: read(run), file)


@pytest.mark.parametrize(("file", "read"), ALL_FILES.items(), ids=ALL_FILES)
def test_a_link_out_of_the_run_folder_is_not_followed(
    run: Path, tmp_path: Path, file: str, read: Callable[[Path], object]
) -> None:
    (run / "ensemble/members.json").write_text('{"members": []}')
    (run / file).rename(tmp_path / "elsewhere")
    (run / file).symlink_to(tmp_path / "elsewhere")
    refuses(lambda: read(run), file, "a link leads out of the run folder")


@pytest.mark.parametrize("folder", ["trials", "trials/trial_0003", "ensemble", "ensemble/pseudo_labels"])
def test_a_linked_folder_does_not_lead_out(run: Path, tmp_path: Path, folder: str) -> None:
    (run / folder).rename(tmp_path / "elsewhere")
    (run / folder).symlink_to(tmp_path / "elsewhere")
    read = READERS[OOF] if folder.startswith("trials") else READERS[LABELS]
    refuses(lambda: read(run), "a link leads out of the run folder")


def test_a_run_folder_that_is_a_link_itself_is_read(run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run)
    assert len(read_run(tmp_path / "link").trials) == N_TRIALS


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "loop", "/dev/null", "/dev/zero", "nowhere"], ids=ascii)
def test_what_is_no_run_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    refuses(lambda: read_run(tmp_path / name), "no such folder")


def test_runs_are_found_beside_what_is_none(run: Path) -> None:
    for name, put in NO_FILES.items():
        (run.parent / name).mkdir()
        put(run.parent / name / TRIALS)
    (run.parent / "loop").symlink_to("loop")
    assert newest_runs(run.parent) == [run]


def test_a_table_of_billions_of_nothing_is_refused_before_it_is_read(run: Path) -> None:
    schema = pq.read_schema(run / TRIALS)
    nothing = pa.nulls(6_000_000)
    pq.write_table(pa.table(dict.fromkeys(schema.names, nothing)), run / TRIALS)
    assert (run / TRIALS).stat().st_size < 300_000
    refuses(lambda: read_run(run), TRIALS, "more than 5,000,000 rows")


@drawn
@given(file=st.sampled_from([TRIALS, OOF]), place=places, data=st.binary(min_size=1, max_size=6))
def test_a_table_with_other_bytes_is_refused_or_ranked(
    run: Path, whole: Path, file: str, place: float, data: bytes
) -> None:
    shutil.copy(whole / file, run / file)
    overwritten(run / file, place, data)
    if not refused(lambda: READERS[file](run), file, kind=RunFolderError) and file == TRIALS:
        rank_trials(read_run(run))
    shutil.copy(whole / file, run / file)


# --- columns

COLUMNS = [
    (file, name)
    for file, columns in (
        (TRIALS, TRIAL_COLUMNS), (CURVES, CURVE_COLUMNS), (OOF, OOF_COLUMNS), (FRAMES, FRAME_COLUMNS),
        (LABELS, PSEUDO_LABEL_COLUMNS),
    )
    for name in columns
]  # fmt: skip


def change(file: Path, edit: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(edit(pq.read_table(file)), file)


def put_column(file: Path, name: str, values: Any, stored: pa.DataType | None = None) -> None:
    array = values if isinstance(values, pa.Array) else pa.array(values, stored)

    def edit(table: pa.Table) -> pa.Table:
        if name not in table.column_names:
            return table.append_column(name, array)
        return table.set_column(table.column_names.index(name), name, array)

    change(file, edit)


@pytest.mark.parametrize(("file", "name"), COLUMNS)
@pytest.mark.parametrize("how", ["missing", "of another type", "there twice"])
def test_a_hostile_column_is_refused_by_name(run: Path, file: str, name: str, how: str) -> None:
    if how == "of another type":
        put_column(run / file, name, [b"x"] * len(pq.read_table(run / file)))
    elif how == "missing":
        change(run / file, lambda table: table.drop_columns([name]))
    else:
        change(run / file, lambda table: table.append_column(name, table[name]))
    refuses(lambda: READERS[file](run), file, f"column '{name}'")


def broken_texts(n: int) -> pa.Array:
    """Texts that are no UTF-8."""
    _, ends, content = pa.array([b"\xff%d" % number for number in range(n)], pa.binary()).buffers()
    return pa.Array.from_buffers(pa.string(), n, [None, ends, content])


@pytest.mark.parametrize("name", ["trial_id", "stage", "error", "config.model.pool_type", "notes"])
def test_texts_that_are_none_are_refused(run: Path, name: str) -> None:
    put_column(run / TRIALS, name, broken_texts(N_TRIALS))
    refuses(lambda: read_run(run), TRIALS, "UTF8")


IDS = ["../../x", "/etc", "a/b", "a\\b", "..", ".", "", "x" * 300, "a\0b", "\x1b[31mred", "a\nb", "\u202ex", "\u2028"]


@pytest.mark.parametrize("name", IDS, ids=lambda name: ascii(name[:12]))
def test_a_trial_cannot_name_another_folder(run: Path, name: str) -> None:
    rows = pq.read_table(run / CURVES)["trial_id"].to_pylist()
    put_column(run / CURVES, "trial_id", [name if row == "trial_0003" else row for row in rows])
    put_column(run / TRIALS, "trial_id", [name if n == 3 else f"trial_{n:04d}" for n in range(N_TRIALS)])
    refuses(lambda: read_run(run), TRIALS, "no plain name of a folder")
    refuses(lambda: read_oof(run, name), "no name of a trial")


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
def test_a_hostile_value_is_refused_by_file_and_column(run: Path, file: str, name: str, value: Any) -> None:
    values = pq.read_table(run / file)[name].to_pylist()
    values[0] = value
    if isinstance(value, float):
        values = [float(other) if isinstance(other, int) else other for other in values]
    stored = pa.uint64() if value == 2**63 and isinstance(value, int) else None
    put_column(run / file, name, values, stored)
    refuses(
        lambda: READERS[file](run), file, "epochs of trials that trials.parquet lacks" if "9999" in str(value) else name
    )


@pytest.mark.parametrize("file", [TRIALS, CURVES, OOF, LABELS])
def test_rows_that_stand_twice_are_refused(run: Path, file: str) -> None:
    change(run / file, lambda table: pa.concat_tables([table, table]))
    refuses(lambda: READERS[file](run), "twice" if file in (CURVES, OOF, LABELS) else "more than one row")


LABEL_LISTS = [
    b"", b"[]", b"{}", b"3", b"null", b"[1, 2, 3]", b'"abc"', b'["a", "a", "b"]', b'["a"]', b"\xff", DEEP,
    b'["\\ud800", "b", "c"]', b'["\\u001b[31m", "b", "c"]', b'["a\\nb", "b", "c"]', b'["\\u202ea", "b", "c"]',
    json.dumps(["x" * 5_000, "b", "c"]).encode(),
]  # fmt: skip


@pytest.mark.parametrize("file", [OOF, LABELS])
@pytest.mark.parametrize("labels", LABEL_LISTS, ids=lambda text: ascii(text[:12]))
def test_classes_that_are_none_are_refused(run: Path, file: str, labels: bytes) -> None:
    change(run / file, lambda table: table.replace_schema_metadata({b"classes": labels}))
    refuses(lambda: READERS[file](run), file)


# --- settings

SETTINGS: dict[str, list[Any]] = {
    "infinity": [1.0, math.inf],
    "minus infinity": [1.0, -math.inf],
    "dates": [datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)],
    "bytes": [b"a", b"b"],
    "mappings": [{"a": 1}, {"a": 2}],
    "lists of bytes": [[b"a"], [b"b"]],
    "lists of lists": [[[1]], [[2]]],
}


@pytest.mark.parametrize("values", SETTINGS.values(), ids=SETTINGS)
def test_settings_that_no_search_writes_are_refused(run: Path, values: list[Any]) -> None:
    put_column(run / TRIALS, "config.model.x", values * 3 + values[:1])
    refuses(lambda: read_run(run), TRIALS, "config.model.x")


ODD_SETTINGS: dict[str, list[Any]] = {
    "the largest floats": [1e308, -1e308, 0.0, 1.0, 2.0, 3.0, 4.0],
    "the smallest floats": [n * 1e-320 for n in range(N_TRIALS)],
    "floats that are hardly apart": [1.0 + n * 2.0**-52 for n in range(N_TRIALS)],
    "NaN and numbers": [math.nan, 1.0, 2.0, math.nan, 3.0, 4.0, 5.0],
    "NaN only": [math.nan] * N_TRIALS,
    "the largest integers": [2**63 - 1, -(2**63), 0, 1, 2, 3, 4],
    "long texts": ["x" * 1_000_000, "y", "z", "x", "y", "z", "x"],
    "texts that colour the terminal": ["\x1b[31m", "\a", "\r", "\0", "\u202e", "a", "b"],
    "markup": ["[/x]", "[bold]", "$x^$", "$\\frac$", "<b>", "</script>", "&amp;"],
    "lists": [[1, 2], [3], [], None, [4], [5], [6]],
    "lists of texts": [["a"], ["b", "<c>"], [], None, ["d"], ["e"], ["f"]],
    "truth values with gaps": [True, False, None, True, None, False, True],
}


@pytest.mark.parametrize("values", ODD_SETTINGS.values(), ids=ODD_SETTINGS)
def test_odd_settings_are_ranked_and_printed_as_text(
    run: Path, values: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    put_column(run / TRIALS, "config.model.x", values)
    with in_time():
        assert ranking.main(["--run", str(run)]) == 0
        what_mattered(read_run(run))
    assert unprintable(capsys.readouterr().out) == ""


def unprintable(text: str) -> str:
    return "".join(letter for letter in text if not letter.isprintable() and letter != "\n")


NAMES = ["config.", "config..", "config.status", "config.macro_auc", "config.rank", "config.gap", "config.trial_id",
         "config.minutes", "config.seed", "config.number", "config.a.b." + "c" * 5_000, "config.<script>",
         "config.$x^$", "config.[/x]", "config.\x1b[31m", "config.model.gem_p.x", "config.gem_p"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:24]))
def test_a_setting_of_any_name_is_ranked(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    put_column(run / TRIALS, name, list(range(N_TRIALS)))
    assert ranking.main(["--run", str(run), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)["trials"]
    # The best trial is number 3; its own columns stay what they are.
    assert (table[0]["trial_id"], table[0]["status"], table[0]["rank"]) == ("trial_0003", "complete", 1)
    assert 3.0 in [value for key, value in table[0].items() if key != "number"]


def test_a_thousand_settings_are_no_configuration(run: Path) -> None:
    change(run / TRIALS, lambda table: pa.table({f"config.x{n}": table["number"] for n in range(600)}))
    refuses(lambda: read_run(run), TRIALS, "more than 500 columns config.*")


def test_what_pandas_noted_about_a_table_makes_no_index_of_a_column(run: Path) -> None:
    note = {"index_columns": ["trial_id"], "columns": [], "column_indexes": []}
    for text in (json.dumps(note), "[[", "null"):
        change(run / TRIALS, lambda table, text=text: table.replace_schema_metadata({b"pandas": text.encode()}))
        assert read_run(run).trials["trial_id"].iloc[3] == "trial_0003"


numbers = st.lists(st.floats(allow_infinity=False) | st.none(), min_size=N_TRIALS, max_size=N_TRIALS)
texts = st.lists(st.text(max_size=8) | st.none(), min_size=N_TRIALS, max_size=N_TRIALS)


@drawn
@given(values=numbers | texts)
def test_any_setting_is_ranked(whole: Path, values: list[Any]) -> None:
    read = read_run(whole)
    column = pd.Series(values, dtype="float64" if all(not isinstance(value, str) for value in values) else "str")
    with in_time():
        read = replace(read, trials=read.trials[[*TRIAL_COLUMNS, *REFIT_COLUMNS]].assign(**{"config.model.x": column}))
        assert len(rank_trials(read)) == N_TRIALS
        what_mattered(read)


# --- search.yaml

BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
NO_YAML = {
    "a billion values": BOMB,
    "a billion letters": f"a: &a {'x' * 50_000}\nb: [{', '.join(['*a'] * 50_000)}]",
    "an alias inside its own anchor": "a: &a [*a]",
    "a circle of mappings": "space: {model.gem_p: {when: &a {model.pool_type: *a}}}",
    "a bool that is none": "a: !!bool maybe",
    "an integer that is none": "a: !!int ''",
    "a time that is none": "a: !!timestamp noon",
    "a month 13": "a: 2020-13-45",
    "deep lists": "a: " + "[" * 3_000,
    "deep lists that end": "a: " + "[" * 500 + "]" * 500,
    "too many digits": "a: " + "9" * 5_000,
    "a Python object": "a: !!python/name:os.system",
    "a list for a key": "? [a]\n: 1",
    "two documents": "a: 1\n---\nb: 2",
    "nothing": "",
    "a list": "- 1",
    "text": "space",
    "a number": "3",
}
RECORDS: dict[str, Any] = {
    "data that is text": {"data": "folder"},
    "data that is a list": {"data": ["folder"]},
    "a folder that is a number": {"data": {"folder": 3}},
    "a folder of lists": {"data": {"folder": ["a"]}},
    "a fingerprint of mappings": {"data": {"fingerprint": {"a": 1}}},
    "a space that is a list": {"space": ["model.gem_p"]},
    "a space that is text": {"space": "model.gem_p"},
    "a condition that is a list": {"space": {"model.gem_p": {"when": ["model.pool_type"]}}},
    "a condition that is text": {"space": {"model.gem_p": {"when": "gem"}}},
    "a condition that is a number": {"space": {"model.gem_p": {"when": 3}}},
    "a command that is a list": {"command": ["python"]},
    "a command without end": {"command": "x " * 50_000},
    "a start that is a list": {"created": [2026]},
    "a teacher that is a list": {"teacher": ["runs/a"]},
    "a teacher that is a number": {"teacher": 3},
}


@pytest.mark.parametrize("text", NO_YAML.values(), ids=NO_YAML)
def test_a_hostile_search_file_is_refused_by_name(run: Path, text: str) -> None:
    (run / "search.yaml").write_text(text)
    refuses(lambda: read_run(run), "search.yaml")


@pytest.mark.parametrize("content", [b"a: \xe9", "a: 1".encode("utf-16"), b"a: \0"], ids=["Latin-1", "UTF-16", "NUL"])
def test_a_search_file_in_another_encoding_is_refused_by_name(run: Path, content: bytes) -> None:
    (run / "search.yaml").write_bytes(content)
    refuses(lambda: read_run(run), "search.yaml", "not readable as YAML")


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_record_of_another_kind_is_refused_by_name(run: Path, record: Any) -> None:
    search = yaml.safe_load((run / "search.yaml").read_text()) | record
    (run / "search.yaml").write_text(yaml.safe_dump(search))
    refuses(lambda: read_run(run), "search.yaml", next(iter(record)))


@drawn
@given(name=st.sampled_from(["space", "data", "command", "created", "teacher", "seed", "versions"]), value=trees)
def test_any_record_is_refused_or_ranked(run: Path, name: str, value: Any) -> None:
    search = SEARCH | {name: value}
    (run / "search.yaml").write_text(yaml.safe_dump(search))
    if not refused(lambda: read_run(run), "search.yaml", kind=RunFolderError):
        read = read_run(run)
        rank_trials(read)
        cpus_per_trial(read)
        related_run(read)


def with_search(run: Path, **search: Any) -> Run:
    read = read_run(run)
    return replace(read, search=read.search | search)


def test_conditions_of_all_on_all_are_worked_out_in_time(run: Path) -> None:
    for n in range(16):
        put_column(run / TRIALS, f"config.k{n}", list(range(N_TRIALS)))
    keys = [f"k{n}" for n in range(16)]
    space = {key: {"when": {other: list(range(3)) for other in keys if other != key}} for key in keys}
    with in_time():
        read = with_search(run, space=space)
        values = parameter_values(read, varied_parameters(read))
    assert values["k0"].notna().tolist() == [True] * 3 + [False] * 4


def test_conditions_that_go_in_a_circle_end(run: Path) -> None:
    space = {"model.gem_p": {"when": {"model.pool_type": "gem"}}, "model.pool_type": {"when": {"model.gem_p": [2, 4]}}}
    read = with_search(run, space=space)
    assert parameter_values(read, varied_parameters(read))["gem_p"].dropna().tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    "words", ["--cpus-per-trial " + "9" * 5_000, "--cpus-per-trial " + "9" * 7, "--cpus-per-trial \u00b2",
              "--cpus-per-trial=-3", "--cpus-per-trial", "'--cpus-per-trial 4", "--cpus-per-trial 0"],
)  # fmt: skip
def test_a_number_of_cpus_that_is_none_counts_as_one(run: Path, words: str) -> None:
    assert cpus_per_trial(with_search(run, command=words)) == 1


@pytest.mark.parametrize("teacher", ["a\0b", "a" * 300, "", "..", "/etc", "/dev/zero"], ids=ascii)
def test_a_teacher_that_is_no_run_is_none(run: Path, teacher: str) -> None:
    with in_time():
        assert related_run(with_search(run, teacher=teacher)) is None


# --- members.json

MEMBERS: dict[str, Any] = {
    "null": None,
    "a list": [],
    "no members": {},
    "members of text": {"members": "trial_0000"},
    "a member of text": {"members": ["trial_id"]},
    "a number for a member": {"members": [3]},
    "a nameless member": {"members": [{"weight": 1}]},
    "a list for a name": {"members": [{"trial_id": ["a"]}]},
    "a path for a name": {"members": [{"trial_id": "../../x"}]},
    "text for a weight": {"members": [{"trial_id": "trial_0000", "weight": "1"}]},
    "a list for a weight": {"members": [{"trial_id": "trial_0000", "weight": [1]}]},
    "an infinite weight": {"members": [{"trial_id": "trial_0000", "weight": math.inf}]},
    "a weight without end": {"members": [{"trial_id": "trial_0000", "weight": 10**400}]},
    "a mapping for a score": {"members": [{"trial_id": "trial_0000", "macro_auc": {}}]},
}


@pytest.mark.parametrize("tree", MEMBERS.values(), ids=MEMBERS)
def test_a_hostile_table_of_members_is_refused(run: Path, tree: Any) -> None:
    (run / "ensemble/members.json").write_text(json.dumps(tree))
    refuses(lambda: read_members(run), "members.json")


@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
def test_members_that_are_no_json_are_refused(run: Path, content: bytes) -> None:
    (run / "ensemble/members.json").write_bytes(content)
    refuses(lambda: read_members(run), "members.json")


def test_members_have_the_columns_that_are_there(run: Path) -> None:
    assert read_members(run).empty
    rows = [{"trial_id": "trial_0003", "weight": 0.75, "score_after": None, "x": 1}]
    (run / "ensemble/members.json").write_text(json.dumps({"members": rows}))
    assert read_members(run).to_dict("records") == [{"trial_id": "trial_0003", "weight": 0.75, "score_after": None}]


# --- pictures and sounds

NUMBERS = [None, "x", [1], {}, math.nan, math.inf, -1, 1e12, 10**400]


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: str(value)[:8])
@pytest.mark.parametrize("name", LIMITS)
def test_a_front_end_beyond_its_limits_draws_nothing(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"front_end.*{name}"):
        front_end_of({"front_end": FRONT_END | {name: value}})


@pytest.mark.parametrize("section", [None, [], "x", 3])
def test_a_front_end_that_is_no_mapping_draws_nothing(section: Any) -> None:
    with pytest.raises(ValueError, match="no front_end"):
        front_end_of({"front_end": section})


def test_a_band_above_half_the_sample_rate_draws_nothing() -> None:
    with pytest.raises(ValueError, match="half the sample rate"):
        front_end_of({"front_end": FRONT_END | {"f_max_hz": 9_000}})


@pytest.mark.parametrize("put", [*NO_FILES.values(), lambda path: None], ids=[*NO_FILES, "nothing"])
def test_a_recording_that_is_no_file_is_not_played(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "x.wav")
    with in_time(), pytest.raises(ValueError, match="no such file"):
        read_clip(tmp_path / "x.wav", 0.0, 5.0)


@pytest.mark.parametrize("rate_hz", [1, 7, 999, 1_000_001, 2**31 - 1])
def test_a_recording_of_an_odd_rate_is_not_played(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(100), rate_hz)
    with pytest.raises(ValueError, match=f"sample rate is {rate_hz} Hz"):
        read_clip(tmp_path / "x.wav", 0.0, 5.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_recording_without_end_is_not_played(tmp_path: Path, value: float) -> None:
    soundfile.write(tmp_path / "x.wav", np.full(1_000, value, np.float32), 8_000, subtype="FLOAT")
    with pytest.raises(ValueError, match="NaN or Inf"):
        read_clip(tmp_path / "x.wav", 0.0, 5.0)


def test_a_prime_sample_rate_is_drawn_in_time_and_memory() -> None:
    clip = Clip(np.random.default_rng(0).normal(0, 0.1, 999_983).astype(np.float32), 999_983)
    with in_time():
        assert log_mel(clip, FrontEnd(16_000, 512, 160, 32, 50.0, 8_000.0, 80.0)).shape == (32, 101)


# --- what people see

HOSTILE = [
    "<script>alert(1)</script>", "</script><script>alert(1)</script>", "<!--", "]]>", "<img src=x onerror=alert(1)>",
    "javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "\"'><svg onload=alert(1)>", "{{ 7 * 7 }}",
    "{% for x in [] %}", "&lt;b&gt;", "<a href='javascript:alert(1)'>x</a>", "\u2028", "x" * 1_000_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_names_in_figures_end_no_element_and_are_text_for_plotly(text: str) -> None:
    figure = blank(label(text), label(text))
    figure.add_scatter(x=[1], y=[1], text=[label(text)], name=label(text))
    drawn_json = figure_json(figure)

    assert re.search("[<>]", drawn_json) is None
    assert re.search("[<>]", json.loads(drawn_json)["data"][0]["name"]) is None
    assert len(drawn_json) < 5_000


@drawn
@given(text=st.text() | st.text("<>/!-&;'\"\\script\0\x1b\u2028\ud800", max_size=30))
def test_any_name_is_printable_short_and_text_for_plotly(text: str) -> None:
    figure = blank(label(text), "")
    assert unprintable(shown(text)) == ""
    assert re.search("[<>]", figure_json(figure)) is None
    figure_json(figure).encode()


def test_hostile_names_are_drawn_letter_by_letter(run: Path) -> None:
    read = read_run(run)
    ranked = rank_trials(read)
    for text in ("$x^$", "$\\frac$", "$", "a" * 100_000, "{\\x}"):
        figure = Figure()
        left, right = figure.subplots(1, 2)
        draw_ranking(ranked.assign(trial_id=[f"{text}{n}" for n in range(len(ranked))]), None, left)
        draw_learning_curves(learning_curves(read).assign(trial_id=text), [StageSpan(text, 0, 1)], right)
        with in_time():
            FigureCanvasAgg(figure).draw()


def test_a_run_with_hostile_texts_prints_them_escaped(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("error", "\x1b]0;x\x07\n[/x]" + "y" * 2_000_000), ("stage", "[/x]\x1b[31m")):
        put_column(run / TRIALS, name, [text] * N_TRIALS)
    with in_time():
        assert ranking.main(["--run", str(run)]) == 0
    out = capsys.readouterr().out
    assert unprintable(out) == ""
    assert "failed: trial_0004: \\x1b]0;x\\x07\\n[/x]yyy" in out.replace("\n", "")
    assert len(out) < 10_000


@pytest.mark.parametrize(
    ("names", "unique"),
    [
        (["a", "a", "a (1)"], ["a (1)", "a (2)", "a (1) (1)"]),
        (["label", "range"], ["label (1)", "range (1)"]),
        (["", ""], [" (1)", " (2)"]),
    ],
)
def test_runs_of_hostile_names_stay_apart(names: list[str], unique: list[str]) -> None:
    assert unique_names(names) == unique


def test_curves_without_a_score_add_nothing(run: Path) -> None:
    put_column(run / CURVES, "macro_auc", [None] * N_EPOCHS, pa.float64())
    assert stage_gains(read_run(run)).empty


def outcome(call: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = call()
    return status, capsys.readouterr().err


@pytest.mark.parametrize("command", [ranking.main, report.main], ids=["ranking", "report"])
def test_the_commands_leave_with_2_and_one_message(
    run: Path, command: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(run.parent.rglob("*"))
    put_in_place(run / "search.yaml", os.mkfifo)
    truncated(run / TRIALS, 50)
    with in_time():
        status, message = outcome(lambda: command(["--run", str(run)]), capsys)
    assert (status, message.count("problems in this run folder")) == (2, 1)
    assert "search.yaml" in message
    assert TRIALS in message
    assert sorted(run.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["a" * 300 + "/page.html", "loop/page.html", "file/page.html"], ids=ascii)
def test_a_report_cannot_go_to_what_is_no_folder(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "loop").symlink_to("loop")
    (run / "file").touch()
    status, message = outcome(lambda: report.main(["--run", str(run), "--out", str(run / name)]), capsys)
    assert (status, message.count("\n")) == (2, 1)
    assert "there is no folder" in message


@pytest.mark.parametrize("name", ["folder", "a" * 250])
def test_a_report_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=name):
        report.write_report(tmp_path / name, "page")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
