from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.core.errors import DataError
from sed_model.data.soundscape_labels import parse_row_id, read_soundscape_labels


def write(root: Path, text: str) -> tuple[Path, Path]:
    folder = root / "test_soundscapes"
    folder.mkdir()
    for stem in ("one", "two_2"):
        (folder / f"{stem}.ogg").write_bytes(b"")
    table = root / "labels.csv"
    table.write_text(text, encoding="utf-8")
    return table, folder


def test_rows_become_sorted_windows_with_columns_in_class_order(tmp_path: Path) -> None:
    table, folder = write(tmp_path, "row_id,b,a\ntwo_2_5,0,1\none_10,1,0\none_5,0,1.0\n")
    labels = read_soundscape_labels(table, folder, ("a", "b"), 5.0)
    assert list(labels.columns) == ["path", "start_s", "end_s", "a", "b"]
    assert labels["path"].to_list() == ["test_soundscapes/one.ogg"] * 2 + ["test_soundscapes/two_2.ogg"]
    assert labels["start_s"].to_list() == [0.0, 5.0, 0.0]
    assert labels["end_s"].to_list() == [5.0, 10.0, 5.0]
    assert labels[["a", "b"]].dtypes.to_list() == [np.float32] * 2
    assert labels[["a", "b"]].to_numpy().tolist() == [[1, 0], [0, 1], [1, 0]]


def test_every_problem_of_a_table_is_in_one_report(tmp_path: Path) -> None:
    rows = ["one_7,0,0,0", "one,0,0,0", "three_5,0,0,0", "one_5,0,2,0", "one_5,,0,0"]
    table, folder = write(tmp_path, "row_id,a,b,bb\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError) as caught:
        read_soundscape_labels(table, folder, ("a", "b"), 5.0)
    message = str(caught.value)
    assert "bb: add it to taxonomy.csv or drop the column" in message
    assert "line 2: one_7 ends at 7 s, no multiple of data.target_s=5 s" in message
    assert "line 3: 'one' is not <file stem>_<end second>" in message
    assert "line 4: three_5 needs test_soundscapes/three.*" in message
    assert "line 5, column b: '2'; write 0 or 1" in message
    assert "line 6: one_5 is in line 5 already" in message
    assert "line 6, column a: ''; write 0 or 1" in message


def test_missing_class_columns_are_named(tmp_path: Path) -> None:
    table, folder = write(tmp_path, "row_id,a\none_5,0\n")
    with pytest.raises(DataError, match="missing columns \\(1\\):\n  b: add the column"):
        read_soundscape_labels(table, folder, ("a", "b"), 5.0)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    table, folder = write(tmp_path, "row_id,a\n")
    with pytest.raises(DataError, match="the table has no rows"):
        read_soundscape_labels(table, folder, ("a",), 5.0)


@given(st.text(min_size=1).filter(lambda text: "\n" not in text), st.integers(1, 100_000))
def test_written_row_ids_parse_back(stem: str, end_s: int) -> None:
    assert parse_row_id(f"{stem}_{end_s}") == (stem, float(end_s))


@pytest.mark.parametrize(
    "row_id", ["", "_5", "x_", "x_0", "x_-5", "x_5s", "x5", "x_٥", "x_nan", "x_1e9", "x_" + "9" * 400]
)
def test_other_texts_are_no_row_ids(row_id: str) -> None:
    with pytest.raises(ValueError, match="is not <file stem>_<end second>"):
        parse_row_id(row_id)
