"""Rows and columns of submission.csv: what a sample asks for, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.core.errors import CheckpointError, DataError
from sed_model.core.soundscape_names import row_id
from sed_model.data.soundscape_labels import parse_row_id
from sed_model.data.tables import Notes
from sed_model.predict.submission import (
    Columns,
    ends_of,
    find_sample,
    find_soundscapes,
    lists_every_file,
    plan_columns,
    read_sample,
    submission_table,
    usual_count,
    write_submission,
)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """Two files of two windows, in an order of their own; a class that no model knows."""
    path = tmp_path / "sample_submission.csv"
    path.write_text("row_id,owl,fox,=emu\nB_10,0,0,0\nB_5,0,0,0\nA_1_5,0,0,0\nA_1_10,0,0,0\n")
    return path


@pytest.mark.parametrize(
    ("end_s", "text"), [(5.0, "S_5"), (100.0, "S_100"), (7.5, "S_7.5"), (86_400.5, "S_86400.5"), (0.1 + 0.2, "S_0.3")]
)
def test_row_ids_end_with_the_second(end_s: float, text: str) -> None:
    assert row_id("S", end_s) == text


@given(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8), st.integers(1, 10**7))
def test_row_ids_are_read_as_written(stem: str, milliseconds: int) -> None:
    assert parse_row_id(row_id(stem, milliseconds / 1000)) == (stem, pytest.approx(milliseconds / 1000, abs=1e-9))


def test_a_sample_gives_columns_rows_and_their_order(sample: Path) -> None:
    read = read_sample(sample)
    assert read.classes == ("owl", "fox", "=emu")
    assert read.row_ids == ("B_10", "B_5", "A_1_5", "A_1_10")
    assert ends_of(read, "B", 5.0) == (5.0, 10.0)
    assert lists_every_file(read, ["B", "A_1"])
    assert not lists_every_file(read, ["B", "C"])
    assert not lists_every_file(None, ["B"])


def test_a_row_that_starts_before_its_file_is_refused(sample: Path) -> None:
    with pytest.raises(DataError, match=r"B_5 ends before a window of 6 s"):
        ends_of(read_sample(sample), "B", 6.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row_id\nA_5\n", "no classes"),
        ("row_id,owl\nA,0\nB_0,0\n", r"do not parse \(2\)"),
        ("row_id,owl\nA_5,0\nA_5.0,0\n", r"repeated rows \(1\):\n  line 3: A_5.0"),
        ("id,owl\nA_5,0\n", "row_id: add the column"),
    ],
)
def test_a_sample_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sample_submission.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_sample(path)


def test_columns_are_those_of_the_sample(sample: Path) -> None:
    columns = plan_columns(["fox", "owl"], read_sample(sample))
    assert columns == Columns(("owl", "fox", "=emu"), (1, 0, -1))
    assert columns.unknown == ("=emu",)
    assert plan_columns(["fox", "owl"], None) == Columns(("fox", "owl"), (0, 1))


def test_a_sample_without_classes_of_the_model_is_refused_with_their_names(sample: Path) -> None:
    with pytest.raises(DataError, match=r"lacks 2 of the 3 classes .*:\n  wolf\n  owls \(did you mean owl\?\)"):
        plan_columns(["fox", "wolf", "owls"], read_sample(sample))


def test_a_table_is_written_as_data(tmp_path: Path) -> None:
    columns = Columns(("owl", "=emu", "fox"), (1, -1, 0))
    table = submission_table(["=A,b_5"], np.array([[0.25, 1 / 3]], np.float32), columns)
    write_submission(tmp_path / "submission.csv", table)
    assert (tmp_path / "submission.csv").read_text() == 'row_id,owl,=emu,fox\n"=A,b_5",0.3333333,0,0.25\n'


@pytest.mark.parametrize("value", [np.nan, 1.5, -0.1])
def test_what_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(CheckpointError, match="no probability"):
        submission_table(["A_5"], np.array([[value]], np.float32), Columns(("owl",), (0,)))


def test_repeated_rows_are_refused() -> None:
    with pytest.raises(DataError, match="A_5: 1 row_ids would be there twice"):
        submission_table(["A_5", "A_5"], np.zeros((2, 1), np.float32), Columns(("owl",), (0,)))


def test_the_usual_number_of_windows_is_the_most_frequent() -> None:
    assert usual_count([12, 3, 12, 3, 5]) == 12
    assert usual_count([]) == 1


def test_soundscapes_are_the_audio_files_directly_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "scapes"
    (folder / "below").mkdir(parents=True)
    for name in ("b.ogg", "a.WAV", "notes.txt", "below/c.ogg"):
        (folder / name).touch()
    assert find_soundscapes(folder) == {"a": folder / "a.WAV", "b": folder / "b.ogg"}


def test_names_that_would_spoil_a_submission_are_refused_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "scapes"
    folder.mkdir(parents=True)
    for name in ("a.ogg", "a.wav", "line\nbreak.ogg"):
        (folder / name).touch()
    (tmp_path / "secret.ogg").touch()
    (folder / "link.ogg").symlink_to(tmp_path / "secret.ogg")
    with pytest.raises(
        DataError, match=r"(?s)one name.*a\.wav.*unprintable.*line\\nbreak.*leave the folder.*link\.ogg"
    ):
        find_soundscapes(folder)


def test_no_soundscapes_is_said(tmp_path: Path) -> None:
    (tmp_path / "above" / "test_soundscapes").mkdir(parents=True)
    (tmp_path / "above" / "test_soundscapes" / "a.ogg").touch()
    with pytest.raises(DataError, match="give another folder, such as test_soundscapes in it"):
        find_soundscapes(tmp_path / "above")
    with pytest.raises(DataError, match="no soundscapes"):
        find_soundscapes(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        find_soundscapes(tmp_path / "missing")


def test_a_sample_is_found_in_or_beside_the_soundscapes(tmp_path: Path, sample: Path) -> None:
    folder = tmp_path / "scapes"
    folder.mkdir()
    assert find_sample(folder) == sample
    (folder / "sample_submission.csv").touch()
    assert find_sample(folder) == folder / "sample_submission.csv"
    assert find_sample(tmp_path.parent) is None


def recorders(folder: Path) -> Path:
    """Two recorders' dated folders with files of one name, beside what is no recording."""
    dated = ("A/2025-05-01/060000.wav", "B/2025-05-01/060000.wav", "A/2025-05-01/._060000.wav")
    for name in ("top.wav", *dated, "._top.wav", "x.m4a", "y.aac", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    notes = Notes()
    assert list(find_soundscapes(recorders(tmp_path / "scapes"), notes=notes)) == ["top"]
    assert notes.lines() == (
        "soundscapes in folders below scapes (--recursive takes them): 2",
        "sound files in scapes that cannot be read (.aac, .m4a; convert them to .flac): 2",
        "other files in scapes: 1",
        "a Mac's notes on files in scapes (._*), no recordings: 2",
    )


def test_folders_below_keep_equal_names_apart(tmp_path: Path) -> None:
    folder, notes = recorders(tmp_path / "scapes"), Notes()
    found = find_soundscapes(folder, recursive=True, notes=notes)
    assert {stem: path.relative_to(folder).as_posix() for stem, path in found.items()} == {
        "A/2025-05-01/060000": "A/2025-05-01/060000.wav",
        "B/2025-05-01/060000": "B/2025-05-01/060000.wav",
        "top": "top.wav",
    }
    assert not any("below" in line for line in notes.lines())
    assert parse_row_id(row_id("A/2025-05-01/060000", 5.0)) == ("A/2025-05-01/060000", 5.0)


def test_a_folder_of_other_sounds_is_told_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "x.m4a").touch()
    with pytest.raises(DataError, match=r"(?s)no soundscapes .*cannot be read \(\.m4a; convert them to \.flac\): 1"):
        find_soundscapes(tmp_path)
