"""Rows about recordings whose embeddings are known by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sed_model.clips.heard_alike import recordings_alike
from sed_model.data.recordings import DataFolder
from sed_model.run_folder.recordings_table import read_recordings, write_recordings
from sed_model.scores import embedding_map

HEARD = {"a/1.ogg": [3, 0], "a/2.ogg": [4, 0], "b/3.ogg": [0, -2], "b/4.ogg": [-7, 2]}
"""Their mean is 0."""


class KnownTeacher:
    """Knows the recordings of HEARD."""

    name, dim = "known", 2

    def mean(self, path: str, start_s: float, end_s: float) -> np.ndarray | None:
        assert (start_s, end_s) == (0, np.inf)
        return np.array(HEARD[path], np.float32) if path in HEARD else None


def folder(*paths: str, second: tuple[str, ...] = ()) -> DataFolder:
    """Recordings of the label that their folder is named by, each by another author."""
    labels = [path[0] for path in paths]
    columns = {"path": paths, "primary_label": labels, "secondary_labels": [second] * len(paths)}
    table = pd.DataFrame(columns | {"author": [f"by {path}" for path in paths], "rating": 0.0})
    return DataFolder(Path("data"), ("a", "b"), table, (), None, (), "abc")


def test_each_recording_has_its_neighbour_its_share_and_a_suggestion() -> None:
    rows = recordings_alike(folder(*HEARD), KnownTeacher(), seed=0)

    assert [row["filename"] for row in rows] == list(HEARD)
    assert [row["neighbour"] for row in rows] == ["a/2.ogg", "a/1.ogg", "a/1.ogg", "b/3.ogg"]
    assert [row["neighbour_label"] for row in rows] == ["a", "a", "a", "b"]
    assert rows[0]["similarity"] == pytest.approx(1)
    assert rows[3]["similarity"] == pytest.approx(-2 / np.hypot(7, 2))
    # Of the three others, one has the label of the first; two have the other.
    assert [row["same_label_share"] for row in rows] == pytest.approx([1 / 3] * 4)
    assert [row["suggested_label"] for row in rows] == ["b", "b", "a", "a"]
    assert rows[2]["author"] == "by b/3.ogg"


def test_a_second_species_that_is_named_is_not_suggested() -> None:
    rows = recordings_alike(folder(*HEARD, second=("b",)), KnownTeacher(), seed=0)
    assert [row["suggested_label"] for row in rows] == [None, None, "a", "a"]


def test_what_was_not_heard_has_no_row_and_what_is_written_can_be_read(tmp_path: Path) -> None:
    rows = recordings_alike(folder("a/deaf.ogg", *HEARD), KnownTeacher(), seed=0)
    write_recordings(tmp_path, rows)
    table = read_recordings(tmp_path)

    assert table is not None
    assert table["filename"].to_pylist() == list(HEARD)
    assert recordings_alike(folder("a/deaf.ogg"), KnownTeacher(), seed=0) == []


def test_one_recording_can_be_written_and_read(tmp_path: Path) -> None:
    write_recordings(tmp_path, recordings_alike(folder("a/1.ogg"), KnownTeacher(), seed=0))
    table = read_recordings(tmp_path)
    assert table is not None
    assert table["neighbour"].to_pylist() == [None]


def test_recordings_beyond_the_map_have_no_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedding_map, "MAX_MAPPED", 3)
    rows = recordings_alike(folder(*HEARD), KnownTeacher(), seed=0)
    write_recordings(tmp_path, rows)

    assert sum(row["x"] is None and row["y"] is None for row in rows) == 1
    assert read_recordings(tmp_path) is not None
