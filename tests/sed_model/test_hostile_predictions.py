"""Hostile Parquet: predictions and pseudo-labels that are damaged or lie are refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.run_folder.predictions import OOF_SCHEMA, PSEUDO_LABEL_SCHEMA, read_predictions
from tests.hostile import DEEP, ODD_JSON, columns, drawn, overwritten, places, refusal, refused, truncated, with_column

CLASSES_OF_ROWS = b'["1139490", "grekis"]'
WINDOW: dict[str, Any] = {"filename": "a.ogg", "start_s": 0.0, "end_s": 5.0, "probabilities": [0.1, 0.9]}
OOF_ROW = WINDOW | {"target": [0.0, 1.0]}
PSEUDO_ROW = WINDOW | {
    "primary_label": "grekis", "confidence": 0.9, "labels": ["grekis"], "n_members": 2, "disagreement": 0.1,
    "weight": 0.9, "from_validation": False,
}  # fmt: skip
OOF_VALUES: dict[str, list[Any]] = {
    "filename": [None],
    "start_s": [None, -1.0, math.nan, 10.0, math.inf],
    "end_s": [None, 5.0, math.nan, math.inf],
    "target": [None, [], [1.0], [0.0, None], [0.0, math.nan], [0.0, 2.0], [0.0, -1.0], [0.0, math.inf]],
    "probabilities": [None, [], [1.0], [0.1, None], [0.1, math.nan], [0.1, 1.5], [0.1, -0.5], [0.1, math.inf]],
}
PSEUDO_VALUES: dict[str, list[Any]] = {
    "filename": [None, "", ".", "..", "../a.ogg", "/etc/passwd", "a/b.ogg", "a/"],
    "start_s": [None, -1.0, math.nan, 5.0, 9.0],
    "end_s": [None, 0.0, math.nan, math.inf, -1.0],
    "primary_label": [None, "", "gull", "../x"],
    "probabilities": OOF_VALUES["probabilities"],
    "weight": [None, math.nan, -0.1, 1.5, math.inf],
}


def write_oof(folder: Path, classes: bytes = CLASSES_OF_ROWS, **changes: Any) -> Path:
    rows = [OOF_ROW, OOF_ROW | {"start_s": 5.0, "end_s": 10.0} | changes]
    pq.write_table(pa.Table.from_pylist(rows, OOF_SCHEMA.with_metadata({"classes": classes})), folder / "oof.parquet")
    return folder / "oof.parquet"


def write_labels(folder: Path, classes: bytes = CLASSES_OF_ROWS, **changes: Any) -> Path:
    (folder / "pseudo_labels").mkdir(exist_ok=True)
    (folder / "members.json").write_text('{"members": [{"weights_sha256": "0"}]}')
    schema = PSEUDO_LABEL_SCHEMA.with_metadata({"classes": classes})
    path = folder / "pseudo_labels" / "part-0000.parquet"
    pq.write_table(pa.Table.from_pylist([PSEUDO_ROW, PSEUDO_ROW | changes], schema), path)
    return path


def test_the_tables_themselves_are_good(tmp_path: Path) -> None:
    write_oof(tmp_path)
    write_labels(tmp_path)
    assert read_predictions(tmp_path).targets.shape == (2, 2)
    assert len(read_pseudo_labels(tmp_path)) == 2


TABLES: dict[str, tuple[Callable[..., Path], Callable[[Path], object]]] = {
    "predictions": (write_oof, read_predictions),
    "pseudo-labels": (write_labels, read_pseudo_labels),
}
VALUES = [("predictions", name, value) for name, values in OOF_VALUES.items() for value in values]
VALUES += [("pseudo-labels", name, value) for name, values in PSEUDO_VALUES.items() for value in values]


@pytest.mark.parametrize(("kind", "name", "value"), VALUES)
def test_a_table_with_a_hostile_value_is_refused(tmp_path: Path, kind: str, name: str, value: Any) -> None:
    write, read = TABLES[kind]
    write(tmp_path, **{name: value})
    refusal(lambda: read(tmp_path), "oof.parquet" if kind == "predictions" else str(tmp_path))


CLASSES = [b"", b"[]", b"3", b"[1, 2]", b'["grekis"]', b'["a", "b", "c"]', DEEP]


@pytest.mark.parametrize("classes", CLASSES, ids=lambda text: ascii(text[:12]))
def test_pseudo_labels_of_hostile_classes_are_refused(tmp_path: Path, classes: bytes) -> None:
    write_labels(tmp_path, classes=classes)
    refusal(lambda: read_pseudo_labels(tmp_path), str(tmp_path))


SPLITS = [
    b'{"members": [{"weights_sha256": "0", "validation": %s}]}' % record
    for record in (b"3", b'"folds"', b"[1]", b'{"digest": 3}', b'{"kind": "folds", "digest": "0"}')
]


@pytest.mark.parametrize(
    "content", [*ODD_JSON.values(), b'{"members": 3}', b'{"members": [3]}', b'{"members": [{}]}', *SPLITS]
)
def test_pseudo_labels_of_unknown_members_are_refused(tmp_path: Path, content: bytes) -> None:
    write_labels(tmp_path)
    (tmp_path / "members.json").write_bytes(content)
    refusal(lambda: read_pseudo_labels(tmp_path), "members.json")


@pytest.mark.parametrize("percent", [0, 60, 99])
@pytest.mark.parametrize(("write", "read"), TABLES.values(), ids=TABLES)
def test_a_truncated_table_is_refused_by_name(
    tmp_path: Path, write: Callable[[Path], Path], read: Callable[[Path], object], percent: int
) -> None:
    path = write(tmp_path)
    truncated(path, percent)
    refusal(lambda: read(tmp_path), path.name)


COLUMNS = [("predictions", name) for name in OOF_SCHEMA.names]
COLUMNS += [("pseudo-labels", name) for name in PSEUDO_LABEL_SCHEMA.names]


@pytest.mark.parametrize(("kind", "name"), COLUMNS)
@pytest.mark.parametrize("change", ["missing", "of another type", "there twice"])
def test_a_table_with_a_hostile_column_is_refused_by_name(tmp_path: Path, kind: str, name: str, change: str) -> None:
    write, read = TABLES[kind]
    path = write(tmp_path)
    table = pq.read_table(path)
    place = table.column_names.index(name)
    changed = {
        "missing": lambda: table.remove_column(place),
        "of another type": lambda: table.set_column(place, name, pa.array([b"1", b"2"])),
        "there twice": lambda: table.append_column(name, table[name]),
    }[change]()
    pq.write_table(changed, path)
    refusal(lambda: read(tmp_path), path.name)


@drawn
@given(place=st.sampled_from(COLUMNS), column=columns(2))
def test_a_column_of_any_kind_is_refused_or_within_its_limits(
    tmp_path: Path, place: tuple[str, str], column: pa.Array
) -> None:
    kind, name = place
    write, read = TABLES[kind]
    path = write(tmp_path)
    pq.write_table(with_column(pq.read_table(path), name, column), path)
    if not refused(lambda: read(tmp_path), str(tmp_path)) and kind == "predictions":
        assert np.isfinite(read_predictions(tmp_path).probabilities).all()


@drawn
@given(place=places, data=st.binary(min_size=1, max_size=6))
def test_a_table_with_other_bytes_is_refused_or_within_its_limits(tmp_path: Path, place: float, data: bytes) -> None:
    path = write_oof(tmp_path)
    overwritten(path, place, data)
    if not refused(lambda: read_predictions(tmp_path), "oof.parquet"):
        assert np.isfinite(read_predictions(tmp_path).probabilities).all()
