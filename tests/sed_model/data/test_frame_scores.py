"""Tables of frame scores are read as predict writes them, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sed_model.core.errors import DataError
from sed_model.data.frame_scores import classes_of, frame_tables, read_frame_scores
from sed_model.predict.events import frame_table


def test_what_predict_writes_is_read_and_a_class_without_a_column_is_never_found(tmp_path: Path) -> None:
    path = tmp_path / "S1.tsv"
    path.write_text(frame_table(np.array([[0.25, 0.5], [0.75, 1e-7]], np.float32), 0.1, ["owl", "a\tb"]))
    assert path.read_text() == 'onset\toffset\towl\t"a\tb"\n0\t0.1\t0.25\t0.5\n0.1\t0.2\t0.75\t1e-07\n'
    assert classes_of({"S1": path}) == ("owl", "a\tb")
    edges_s, scores = read_frame_scores(path, ["a\tb", "wren", "owl"])
    assert edges_s.tolist() == [0, 0.1, 0.2]
    assert scores.tolist() == [[0.5, -np.inf, 0.25], [1e-7, -np.inf, 0.75]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the columns onset, offset"),
        ("onset\toffset\towl\n", "a row a frame"),
        ("onset\toffset\towl\towl\n0\t1\t0\t0\n", "once each"),
        ("onset\toffset\towl\n0\t1\tx\n", "no number"),
        ("onset\toffset\towl\n0\t1\n", "no number, or rows of another length"),
        ("onset\toffset\towl\n0\t1\tnan\n", "not finite"),
        ("onset\toffset\towl\n0\t1\t.5\n2\t3\t.5\n", "gaps or overlap"),
        ("onset\toffset\towl\n1\t1\t.5\n", "gaps or overlap"),
    ],
)
def test_other_tables_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "S1.tsv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_frame_scores(tmp_path / "S1.tsv", ["owl"])


def test_each_file_needs_one_table(tmp_path: Path) -> None:
    for folder in ("A", "B"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "S1.tsv").touch()
    (tmp_path / "S2.tsv").touch()
    assert frame_tables(tmp_path, ["s2"]) == {"s2": tmp_path / "S2.tsv"}
    with pytest.raises(DataError, match="are of one name"):
        frame_tables(tmp_path, ["S1"])
    with pytest.raises(DataError, match=r"1 file of the truth lack a table of frame scores \(S3\)"):
        frame_tables(tmp_path, ["S2", "S3"])
    with pytest.raises(DataError, match="is no folder"):
        frame_tables(tmp_path / "none", ["S2"])
