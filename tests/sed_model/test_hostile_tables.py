"""Hostile CSV tables: refused with file, line and value, or read as text that is what it was."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.recordings import DataFolder, read_data_folder
from sed_model.sound_folders import find_sounds
from sed_model.submission import find_soundscapes, read_sample
from sed_model.tables import read_text_table
from sed_model.taxonomy import read_taxonomy
from tests.hostile import NO_FILES, as_device, as_loop, deep_folder, drawn, put_in_place, refusal, refused

HEADER = "primary_label,secondary_labels,filename,rating,author\n"
GOOD = f"{HEADER}grekis,[],grekis/a.ogg,5,me\n1139490,[],1139490/b.ogg,0,\n"
TAXONOMY = "primary_label,scientific_name\n1139490,Avis una\ngrekis,Avis altera\n"
LABELS = "row_id,1139490,grekis\nS0_5,0,1\nS0_10,1,0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data folder of empty audio files: reading the tables opens none of them."""
    folder = tmp_path / "data"
    for name in ("train_audio/grekis/a.ogg", "train_audio/1139490/b.ogg", "train_soundscapes/S0.ogg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name, text in (("train", GOOD), ("taxonomy", TAXONOMY), ("train_soundscapes_labels", LABELS)):
        (folder / f"{name}.csv").write_text(text)
    (tmp_path / "secret.ogg").touch()
    return folder


def test_the_folder_itself_is_good(root: Path) -> None:
    assert read_data_folder(root).classes == ("1139490", "grekis")


# --- bytes that are no table

BYTES = {
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-16 without its mark": GOOD.encode("utf-16-le"),
    "UTF-32": GOOD.encode("utf-32"),
    "Latin-1": GOOD.replace("me", "mé").encode("latin-1"),
    "Shift-JIS": GOOD.replace("me", "鳥").encode("shift-jis"),
    "a surrogate": GOOD.replace("me", "\ud800").encode("utf-8", "surrogatepass"),
    "two byte order marks": b"\xef\xbb\xbf" * 2 + GOOD.encode(),
    "a mark in the middle of the header": GOOD.replace(",filename", ",\ufefffilename").encode(),
    "a NUL": GOOD.replace("me", "m\0e").encode(),
    "NULs only": bytes(1000),
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + GOOD.encode(),
    "a spreadsheet": b"PK\x03\x04\x14\0\x06\0" + bytes(100),
    "Parquet": b"PAR1\x15\x04\x15" + bytes(20) + b"PAR1",
    "HTML": b"<!doctype html><html><body>Not found</body></html>",
    "JSON": b'[{"primary_label": "grekis", "filename": "grekis/a.ogg"}]',
    "semicolons": GOOD.replace(",", ";").encode(),
    "tabs": GOOD.replace(",", "\t").encode(),
    "no header": GOOD.split("\n", 1)[1].encode(),
    "a header in capitals": GOOD.upper().encode(),
    "a header of commas": b",,,,\n",
    "blank lines": b"\n\r\n\n",
    "a huge field": GOOD.replace("me", "x" * 200_000).encode(),
    "a quote that never ends": GOOD.replace("me", '"me').encode() + b"x\n" * 50_000,
    "text behind a quote": GOOD.replace("me", '"me"x').encode(),
    "a quote in a field": GOOD.replace("grekis,[]", 'gr"ekis,[').encode(),
    "many columns": (",".join(f"c{n}" for n in range(5_000)) + "\n" + "," * 4_999 + "\n").encode(),
    "a row with too many cells": (GOOD + "," * 10_000 + "\n").encode(),
    "a row that is cut": (GOOD + "grekis,[]").encode(),
    "a repeated column": GOOD.replace("rating", "filename").encode(),
    "a column of another spelling": GOOD.replace("filename", "file_name").encode(),
}


@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES)
def test_bytes_that_are_no_table_of_recordings_are_refused(root: Path, content: bytes) -> None:
    (root / "train.csv").write_bytes(content)
    refusal(lambda: read_data_folder(root), "train.csv")


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("name", ["train.csv", "taxonomy.csv", "train_soundscapes_labels.csv"])
@pytest.mark.parametrize("put", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_no_table(root: Path, name: str, put: Callable[[Path], None]) -> None:
    put_in_place(root / name, put)
    refusal(lambda: read_data_folder(root), name, "CSV file")


def as_deep_folder(path: Path) -> None:
    path.mkdir()
    deep_folder(path)


@pytest.mark.parametrize("name", ["train_audio", "train_soundscapes"])
@pytest.mark.parametrize("put", [Path.touch, os.mkfifo, as_loop, as_device, as_deep_folder])
def test_a_folder_that_cannot_be_listed_is_named(root: Path, name: str, put: Callable[[Path], None]) -> None:
    shutil.rmtree(root / name)
    put(root / name)
    refusal(lambda: read_data_folder(root), "folders that cannot be read (1)", f"  {name}")


def test_folders_that_cannot_be_listed_are_named_by_all_readers_of_sounds(tmp_path: Path) -> None:
    (tmp_path / "sound.wav").touch()
    deep_folder(tmp_path)
    refusal(lambda: find_soundscapes(tmp_path), "folders that cannot be read (1)", "File name too long")
    refusal(lambda: find_sounds(tmp_path, "augment.wave.room_folder"), "room_folder", "File name too long")


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "loop", "file", "nowhere"], ids=ascii)
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    as_loop(tmp_path / "loop")
    (tmp_path / "file").touch()
    refusal(lambda: read_data_folder(tmp_path / name), "not a folder")
    refusal(lambda: find_soundscapes(tmp_path / name), "no such folder")
    refusal(lambda: find_sounds(tmp_path / name, "augment.wave.room_folder"), "no such folder")


# --- file names

NAMES = ["../../etc/passwd", "../../../../../../../../etc/passwd", "/etc/passwd", "//etc/passwd", "../secret.ogg",
         "../../secret.ogg", "grekis/../../../secret.ogg", "grekis/../../train.csv", "..\\..\\secret.ogg", "C:\\a.ogg",
         "file:///etc/passwd", "~/a.ogg", "$HOME/a.ogg", "grekis/a.ogg\\..\\x", ".", "..", "/", "grekis", "grekis/",
         "*.ogg", "grekis/*", "grekis/a.ogg%00.png", "grekis/a.ogg\n", "grekis/a.ogg;ls", "$(ls)", "`ls`", "-rf",
         "grekis/A.OGG", "grekis/a.ogg/", "a" * 300 + ".ogg", "x/" * 2_000 + "a.ogg", "grekis/\u202egpj.ogg",
         "grekis/á.ogg", "\u2025/secret.ogg", "train_audio/grekis/a.ogg", ""]  # fmt: skip
SAME = ("grekis/a.ogg\n", "grekis/a.ogg/")
"""Read as grekis/a.ogg: blanks around a cell, and a slash at the end of a path, mean nothing."""


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:24]))
def test_a_file_name_that_is_none_of_the_folder_is_refused(root: Path, name: str) -> None:
    text = io.StringIO()
    csv.writer(text).writerow(["grekis", "[]", name, 5, "me"])
    (root / "train.csv").write_text(HEADER + text.getvalue(), newline="")

    if name in SAME:
        assert read_data_folder(root).recordings["path"].to_list() == ["train_audio/grekis/a.ogg"]
    else:
        refusal(lambda: read_data_folder(root), "train.csv", "line ", "filename")


LINKS = ["../../../secret.ogg", "/etc/hostname", "/dev/zero", "a.ogg", "nowhere.ogg", "/proc/self/mem"]


@pytest.mark.parametrize("target", LINKS)
def test_a_link_out_of_the_folder_is_refused(root: Path, target: str) -> None:
    as_link(root / "train_audio/grekis/a.ogg", target)
    refusal(lambda: read_data_folder(root), "train.csv line 2", "grekis/a.ogg", "leave the folder")


@pytest.mark.parametrize("target", ["..", "../..", "../../..", "/", "/etc"])
def test_a_linked_folder_does_not_lead_out(root: Path, target: str) -> None:
    (root / "train_audio/out").symlink_to(target)
    (root / "train.csv").write_text(f"{HEADER}grekis,[],out/hostname,5,me\n")
    refusal(lambda: read_data_folder(root), "train.csv line 2", "out/hostname")


def test_soundscapes_that_link_out_of_their_folder_are_refused(root: Path) -> None:
    (root / "train_soundscapes/S1.ogg").symlink_to("../../secret.ogg")
    refusal(lambda: read_data_folder(root), "train_soundscapes/S1.ogg", "leave the folder")
    refusal(lambda: find_soundscapes(root / "train_soundscapes"), "S1.ogg", "leave the folder")


@pytest.mark.parametrize("name", ["a\nb.ogg", "a\x1b[31m.ogg", "a\u202eb.ogg", os.fsdecode(b"\xff.ogg")], ids=ascii)
def test_soundscapes_whose_names_would_break_a_table_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    refusal(lambda: find_soundscapes(tmp_path), "unprintable")


# --- cells

CELLS: dict[str, Callable[[str], str]] = {
    "a rating beyond floats": lambda text: text.replace(",5,", ",1e999,"),
    "a rating that is none": lambda text: text.replace(",5,", ",nan,"),
    "a rating of infinity": lambda text: text.replace(",5,", ",inf,"),
    "a negative rating": lambda text: text.replace(",5,", ",-0.5,"),
    "a hexadecimal rating": lambda text: text.replace(",5,", ",0x5,"),
    "a rating with a comma": lambda text: text.replace(",5,", ',"4,5",'),
    "a list that is a call": lambda text: text.replace("[]", "__import__('os').system('ls')", 1),
    "a list of numbers": lambda text: text.replace("[]", '"[1, 2]"', 1),
    "a list of lists": lambda text: text.replace("[]", "[['grekis']]", 1),
    "a mapping for a list": lambda text: text.replace("[]", "{'grekis': 1}", 1),
    "a list that never ends": lambda text: text.replace("[]", "['grekis'", 1),
    "a deep list": lambda text: text.replace("[]", "[" * 5_000 + "]" * 5_000, 1),
    "a formula in a list": lambda text: text.replace("[]", "['a'] * 10**9", 1),
    "a number without end": lambda text: text.replace("[]", "[" + "9" * 5_000 + "]", 1),
    "bytes in a list": lambda text: text.replace("[]", "[b'grekis']", 1),
    "an unknown label": lambda text: text.replace("\ngrekis", "\n1139490.0"),
    "a label in another spelling": lambda text: text.replace("\ngrekis", "\nGrekis"),
    "an empty label": lambda text: text.replace("\ngrekis", "\n"),
    "a label of blanks": lambda text: text.replace("\ngrekis", "\n\u00a0"),
    "a row twice": lambda text: text + text.splitlines()[1] + "\n",
    "the same file in other words": lambda text: text + "grekis,[],./grekis//a.ogg,5,me\n",
}


@pytest.mark.parametrize("change", CELLS.values(), ids=CELLS)
def test_a_hostile_cell_is_refused_with_its_line(root: Path, change: Callable[[str], str]) -> None:
    changed = change(GOOD)
    assert changed != GOOD
    (root / "train.csv").write_text(changed)
    refusal(lambda: read_data_folder(root), "train.csv line ")


TAXONOMIES = {
    "no class": "primary_label\n",
    "an empty class": "primary_label,x\n,1\n",
    "a class twice": "primary_label\ngrekis\ngrekis\n",
    "a class twice but for blanks": "primary_label\ngrekis\n grekis \n",
    "the name of a column": "primary_label\nrow_id\n",
    "another name of a column": "primary_label\nstart_s\n",
    "no header": "grekis\n1139490\n",
    "a column twice": "primary_label,primary_label\na,b\n",
    "a NUL in a class": "primary_label\ngre\0kis\n",
    "a class over two lines": 'primary_label\n"gre\nkis"\n',
    "a class that colours the terminal": "primary_label\n\x1b[31mgrekis\n",
    "a class that reads backwards": "primary_label\n\u202egrekis\n",
}


@pytest.mark.parametrize("text", TAXONOMIES.values(), ids=TAXONOMIES)
def test_a_hostile_taxonomy_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "taxonomy.csv").write_text(text, newline="")
    refusal(lambda: read_taxonomy(tmp_path / "taxonomy.csv"), "taxonomy.csv")


@pytest.mark.parametrize("label", ["gre\nkis", "\x1b[31mgrekis", "\u202egrekis", "\ufeffgrekis"], ids=ascii)
def test_a_class_that_only_train_csv_names_is_refused_too(root: Path, label: str) -> None:
    (root / "taxonomy.csv").unlink()
    (root / "train.csv").write_text(GOOD + f'"{label}",[],grekis/a.ogg,5,me\n', newline="")
    refusal(lambda: read_data_folder(root), "train.csv", "unprintable labels")


ODD_LABELS = [
    "007",
    "1e5",
    "nan",
    "NA",
    "null",
    "True",
    "-0",
    "1_000",
    "１",
    "inf",
    "0x1F",
    "=1+1",
    "@x",
    "../x",
    "a b",
]


def test_labels_that_look_like_something_else_stay_as_they_are(root: Path) -> None:
    (root / "taxonomy.csv").write_text("\n".join(["primary_label", "grekis", "1139490", *ODD_LABELS]) + "\n")
    (root / "train_soundscapes_labels.csv").unlink()
    rows = "".join(f'{label},"{[label, "grekis"]!r}",odd/{n}.ogg,1,\n' for n, label in enumerate(ODD_LABELS))
    (root / "train.csv").write_text(GOOD + rows)
    (root / "train_audio/odd").mkdir()
    for number in range(len(ODD_LABELS)):
        (root / f"train_audio/odd/{number}.ogg").touch()
    data: DataFolder = read_data_folder(root)

    assert data.classes[2:] == tuple(ODD_LABELS)
    assert data.recordings["primary_label"].to_list()[2:] == ODD_LABELS
    assert set(data.recordings["secondary_labels"][2:]) == {("grekis",)}


SOUNDSCAPE_LABELS = {
    "a window beyond floats": LABELS.replace("S0_5", "S0_" + "9" * 400),
    "a window of zero": LABELS.replace("S0_5", "S0_0"),
    "a negative window": LABELS.replace("S0_5", "S0_-5"),
    "a window in other digits": LABELS.replace("S0_5", "S0_５"),
    "a window with an exponent": LABELS.replace("S0_5", "S0_5e0"),
    "a window off the grid": LABELS.replace("S0_5", "S0_5.001"),
    "the same window in other words": LABELS.replace("S0_10", "S0_5.0"),
    "a path": LABELS.replace("S0_5", "../../secret_5"),
    "an absolute path": LABELS.replace("S0_5", "/etc/passwd_5"),
    "a path to the file": LABELS.replace("S0_5", "./S0_5"),
    "no file": LABELS.replace("S0_5", "_5"),
    "half a bird": LABELS.replace(",0,1", ",0,0.5"),
    "nan birds": LABELS.replace(",0,1", ",0,nan"),
    "two birds": LABELS.replace(",0,1", ",0,2"),
    "no cell": LABELS.replace(",0,1", ",0,"),
    "a true bird": LABELS.replace(",0,1", ",0,true"),
    "a class twice": LABELS.replace("grekis", "1139490"),
    "a class less": "row_id,grekis\nS0_5,1\n",
    "a class more": LABELS.replace("row_id", "gull,row_id").replace("S0", "0,S0"),
    "a class that became a number": LABELS.replace("1139490", "1139490.0"),
    "a column without a name": "row_id,1139490,grekis,\nS0_5,0,1,1\n",
    "no row": "row_id,1139490,grekis\n",
}


@pytest.mark.parametrize("text", SOUNDSCAPE_LABELS.values(), ids=SOUNDSCAPE_LABELS)
def test_hostile_labels_of_soundscapes_are_refused(root: Path, text: str) -> None:
    (root / "train_soundscapes_labels.csv").write_text(text)
    refusal(lambda: read_data_folder(root), "train_soundscapes_labels.csv")


SAMPLES = {
    "no class": "row_id\na_5\n",
    "a class without a name": "row_id,grekis,\na_5,0,0\n",
    "a class twice": "row_id,grekis,grekis\na_5,0,0\n",
    "no row_id": "grekis\n0\n",
    "a row twice": "row_id,grekis\na_5,0\na_5.0,0\n",
    "a row without an end": "row_id,grekis\na,0\n",
    "a row that ends at 0": "row_id,grekis\na_0,0\n",
    "a row that ends nowhere": f"row_id,grekis\na_{'9' * 400},0\n",
    "a NUL": "row_id,grekis\na\0_5,0\n",
}


@pytest.mark.parametrize("put", [*NO_FILES.values(), lambda path: None], ids=[*NO_FILES, "nothing"])
def test_a_sample_submission_that_is_no_file_is_refused(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "sample.csv")
    refusal(lambda: read_sample(tmp_path / "sample.csv"), "sample.csv", "CSV file")


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_a_hostile_sample_submission_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "sample.csv").write_text(text, newline="")
    refusal(lambda: read_sample(tmp_path / "sample.csv"), "sample.csv")


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
def test_any_bytes_are_a_folder_or_refused(root: Path, content: bytes, start: bytes) -> None:
    (root / "train.csv").write_bytes(start + content)
    assert refused(lambda: read_data_folder(root), "train.csv")


@drawn
@given(
    label=cells,
    secondary=cells | st.lists(cells, max_size=2).map(repr),
    filename=cells | st.lists(st.sampled_from(["..", ".", "grekis", "a.ogg", "", "~", "\\"]), max_size=5).map("/".join),
    rating=cells | st.floats().map(repr),
)
def test_any_row_is_a_recording_of_the_folder_or_refused(
    root: Path, label: str, secondary: str, filename: str, rating: str
) -> None:
    text = io.StringIO()
    csv.writer(text).writerow([label, secondary, filename, rating, ""])
    (root / "train.csv").write_text(GOOD.splitlines()[0] + "\n" + text.getvalue(), newline="", encoding="utf-8")

    if not refused(lambda: read_data_folder(root), "train.csv"):
        data = read_data_folder(root)
        assert (root / data.recordings["path"][0]).resolve().is_relative_to(root / "train_audio")
