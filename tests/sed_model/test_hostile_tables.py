"""Hostile CSV tables: bytes that are none, cells and rows; refused with file and line, or read as what they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.data.recordings import DataFolder, read_data_folder
from sed_model.data.tables import read_text_table
from tests.hostile import drawn, refusal, refused
from tests.sed_model.csv_folder import GOOD, HEADER


def test_the_folder_itself_is_good(bird_folder: Path) -> None:
    assert read_data_folder(bird_folder).classes == ("1139490", "grekis")


# --- bytes that are no table

BYTES = {
    "UTF-16 that is cut": GOOD.encode("utf-16")[:-1],
    "UTF-16 without its mark": GOOD.encode("utf-16-le"),
    "Latin-1": GOOD.replace("me", "mé").encode("latin-1"),
    "a surrogate": GOOD.replace("me", "\ud800").encode("utf-8", "surrogatepass"),
    "a mark in the middle of the header": GOOD.replace(",filename", ",\ufefffilename").encode(),
    "a NUL": GOOD.replace("me", "m\0e").encode(),
    "Parquet": b"PAR1\x15\x04\x15" + bytes(20) + b"PAR1",
    "semicolons in the header only": GOOD.replace(",", ";", HEADER.count(",")).encode(),
    "no header": GOOD.split("\n", 1)[1].encode(),
    "a header of commas": b",,,,\n",
    "blank lines": b"\n\r\n\n",
    "a huge field": GOOD.replace("me", "x" * 200_000).encode(),
    "a quote that never ends": GOOD.replace("me", '"me').encode() + b"x\n" * 50_000,
    "a quote in a field": GOOD.replace("grekis,[]", 'gr"ekis,[').encode(),
    "a repeated column": GOOD.replace("rating", "filename").encode(),
}


@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES)
def test_bytes_that_are_no_table_of_recordings_are_refused(bird_folder: Path, content: bytes) -> None:
    (bird_folder / "train.csv").write_bytes(content)
    refusal(lambda: read_data_folder(bird_folder), "train.csv")


# --- cells

CELLS: dict[str, Callable[[str], str]] = {
    "a rating beyond floats": lambda text: text.replace(",5,", ",1e999,"),
    "a rating in words": lambda text: text.replace(",5,", ",five,"),
    "a negative rating": lambda text: text.replace(",5,", ",-0.5,"),
    "a list that is a call": lambda text: text.replace("[]", "__import__('os').system('ls')", 1),
    "a list of numbers": lambda text: text.replace("[]", '"[1, 2]"', 1),
    "a mapping for a list": lambda text: text.replace("[]", "{'grekis': 1}", 1),
    "a deep list": lambda text: text.replace("[]", "[" * 5_000 + "]" * 5_000, 1),
    "a number without end": lambda text: text.replace("[]", "[" + "9" * 5_000 + "]", 1),
    "a label in another spelling": lambda text: text.replace("\ngrekis", "\nGrekis"),
    "a label of blanks": lambda text: text.replace("\ngrekis", "\n\u00a0"),
    "the same file in other words": lambda text: text + "grekis,[],./grekis//a.ogg,5,me\n",
}


@pytest.mark.parametrize("change", CELLS.values(), ids=CELLS)
def test_a_hostile_cell_is_refused_with_its_line(bird_folder: Path, change: Callable[[str], str]) -> None:
    changed = change(GOOD)
    assert changed != GOOD
    (bird_folder / "train.csv").write_text(changed)
    refusal(lambda: read_data_folder(bird_folder), "train.csv line ")


ODD_LABELS = [
    "007", "1e5", "nan", "NA", "null", "True", "-0", "1_000", "１", "inf", "0x1F", "=1+1", "@x", "../x", "a b",
]  # fmt: skip


def test_labels_that_look_like_something_else_stay_as_they_are(bird_folder: Path) -> None:
    (bird_folder / "taxonomy.csv").write_text("\n".join(["primary_label", "grekis", "1139490", *ODD_LABELS]) + "\n")
    (bird_folder / "train_soundscapes_labels.csv").unlink()
    rows = "".join(f'{label},"{[label, "grekis"]!r}",odd/{n}.ogg,1,\n' for n, label in enumerate(ODD_LABELS))
    (bird_folder / "train.csv").write_text(GOOD + rows)
    (bird_folder / "train_audio/odd").mkdir()
    for number in range(len(ODD_LABELS)):
        (bird_folder / f"train_audio/odd/{number}.ogg").touch()
    data: DataFolder = read_data_folder(bird_folder)

    assert data.classes[2:] == tuple(ODD_LABELS)
    assert data.recordings["primary_label"].to_list()[2:] == ODD_LABELS
    assert set(data.recordings["secondary_labels"][2:]) == {("grekis",)}


# --- whatever comes

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@drawn
@given(rows=st.lists(st.lists(cells, min_size=2, max_size=2), max_size=5))
def test_a_table_that_is_written_is_read_as_it_was(tmp_path: Path, rows: list[list[str]]) -> None:
    path = tmp_path / "table.csv"
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b"], *rows])
    path.write_bytes(text.getvalue().encode())

    assert read_text_table(path, ["a"]).to_numpy().tolist() == [[cell.strip() for cell in row] for row in rows]


@drawn
@given(content=st.binary(max_size=60), start=st.sampled_from([b"", HEADER.encode()]))
def test_any_bytes_are_a_folder_or_refused(bird_folder: Path, content: bytes, start: bytes) -> None:
    (bird_folder / "train.csv").write_bytes(start + content)
    assert refused(lambda: read_data_folder(bird_folder), "train.csv")


@drawn
@given(
    label=cells,
    secondary=cells | st.lists(cells, max_size=2).map(repr),
    filename=cells | st.lists(st.sampled_from(["..", ".", "grekis", "a.ogg", "", "~", "\\"]), max_size=5).map("/".join),
    rating=cells | st.floats().map(repr),
)
def test_any_row_is_a_recording_of_the_folder_or_refused(
    bird_folder: Path, label: str, secondary: str, filename: str, rating: str
) -> None:
    text = io.StringIO()
    csv.writer(text).writerow([label, secondary, filename, rating, ""])
    (bird_folder / "train.csv").write_text(GOOD.splitlines()[0] + "\n" + text.getvalue(), newline="", encoding="utf-8")

    if not refused(lambda: read_data_folder(bird_folder), "train.csv"):
        data = read_data_folder(bird_folder)
        assert (bird_folder / data.recordings["path"][0]).resolve().is_relative_to(bird_folder / "train_audio")
