"""The table of events in labelled soundscapes: what is read, and what is refused with its row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sed_model.core.errors import DataError
from sed_model.data.recordings import DataFolder, read_data_folder
from tests.sed_model.csv_folder import GOOD, TAXONOMY
from tests.tiny_data import RATE_HZ, write_wav

HEADER = "filename,start_s,end_s,primary_label\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, and soundscapes S0 of 6 s and S1 of 4 s; S0 has a label."""
    root = tmp_path / "data"
    for name in ("grekis/a.ogg", "1139490/b.ogg"):
        (root / "train_audio" / name).parent.mkdir(parents=True)
        (root / "train_audio" / name).touch()
    for stem, length_s in (("S0", 6), ("S1", 4)):
        write_wav(root / "train_soundscapes" / f"{stem}.wav", np.zeros(length_s * RATE_HZ, np.float32))
    (root / "train.csv").write_text(GOOD)
    (root / "taxonomy.csv").write_text(TAXONOMY)
    (root / "train_soundscapes_labels.csv").write_text("row_id,1139490,grekis\nS0_5,0,1\n")
    return root


def read(root: Path, rows: str, **options: Path) -> DataFolder:
    (root / "train_soundscapes_events.csv").write_text(HEADER + rows)
    return read_data_folder(root, **options)


def test_events_are_read_by_file_and_time(root: Path) -> None:
    """Names with another suffix or a folder, hh:mm:ss, points in time, and labels that a spreadsheet made numbers."""
    rows = "S1.wav,0:01,2.5,grekis\nS0,3,3,1139490.0\nsomewhere\\S0.wav,0.5,6.05,grekis\nS1.wav,0:01,2.5,grekis\n"
    folder = read(root, rows)
    assert folder.soundscape_events is not None
    assert folder.soundscape_events.to_numpy().tolist() == [
        ["train_soundscapes/S0.wav", 0.5, 6.05, "grekis"],
        ["train_soundscapes/S0.wav", 3.0, 3.0, "1139490"],
        ["train_soundscapes/S1.wav", 1.0, 2.5, "grekis"],
    ]
    assert "repeated rows of train_soundscapes_events.csv, counted once: 1" in folder.notes


def test_a_folder_without_the_table_has_no_events(root: Path) -> None:
    assert read_data_folder(root).soundscape_events is None


def test_every_problem_is_told_with_its_row_and_repair(root: Path) -> None:
    rows = (
        "S0.wav,1,2,grekys",
        "S0.wav,-1,2,grekis",
        "S0.wav,3,2,grekis",
        "S1.wav,3,4.2,grekis",
        "../../secret.wav,0,1,grekis",
        "S0.wav,a,2,grekis",
    )
    with pytest.raises(DataError) as caught:
        read(root, "\n".join(rows) + "\n")
    told = str(caught.value)
    assert "line 2: 'grekys'; add it to taxonomy.csv, or mend it (did you mean grekis?)" in told
    assert "line 3: write -1, 2 as seconds from 0 on, or as hh:mm:ss" in told
    assert "line 4: 3 to 2 s; mend the row" in told
    assert "line 5: 3 to 4.2 s, but train_soundscapes/S1.wav ends at 4 s; mend or remove the row" in told
    assert "line 6: ../../secret.wav is no file of train_soundscapes; add it or remove the row" in told
    assert "line 7: write a, 2 as seconds from 0 on, or as hh:mm:ss" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [(HEADER, "the table has no rows"), ("filename,start_s,end_s\nS0,1,2\n", "primary_label: add the column")],
)
def test_a_table_without_rows_or_columns_is_refused(root: Path, text: str, told: str) -> None:
    (root / "train_soundscapes_events.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        read_data_folder(root)


def test_a_soundscape_that_is_left_out_has_no_events(root: Path, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("train_soundscapes/S1.wav\n")
    rows = "S0.wav,1,2,grekis\nS1.wav,1,2,grekis\n"
    events = read(root, rows, leave_out=tmp_path / "out.txt").soundscape_events
    assert events is not None
    assert events["path"].tolist() == ["train_soundscapes/S0.wav"]
    assert read(root, "S1.wav,1,2,grekis\n", leave_out=tmp_path / "out.txt").soundscape_events is None


def test_the_fingerprint_follows_the_events(root: Path) -> None:
    prints = [read_data_folder(root), *(read(root, f"S0.wav,1,{end},grekis\n") for end in (2, 3, 2))]
    none, first, other, again = (folder.fingerprint for folder in prints)
    assert len({none, first, other}) == 3
    assert first == again
