"""Hostile CSV tables of a data folder and sample submissions: refused with file and line, or read as what they are."""

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
from sed_model.data.train_table import read_taxonomy
from sed_model.predict.submission import read_sample
from tests.hostile import NO_FILES, drawn, refusal, refused
from tests.sed_model.csv_folder import GOOD, HEADER, LABELS


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


# --- taxonomies, labels of soundscapes, sample submissions

TAXONOMIES = {
    "a column twice": "primary_label,primary_label\na,b\n",
    "a NUL in a class": "primary_label\ngre\0kis\n",
    "a class that reads backwards": "primary_label\n\u202egrekis\n",
}


@pytest.mark.parametrize("text", TAXONOMIES.values(), ids=TAXONOMIES)
def test_a_hostile_taxonomy_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "taxonomy.csv").write_text(text, newline="")
    refusal(lambda: read_taxonomy(tmp_path / "taxonomy.csv"), "taxonomy.csv")


def test_a_class_that_only_train_csv_names_is_refused_too(bird_folder: Path) -> None:
    (bird_folder / "taxonomy.csv").unlink()
    (bird_folder / "train.csv").write_text(GOOD + "\u202egrekis,[],grekis/a.ogg,5,me\n", newline="")
    refusal(lambda: read_data_folder(bird_folder), "train.csv", "unprintable labels")


SOUNDSCAPE_LABELS = {
    "the same window in other words": LABELS.replace("S0_10", "S0_5.0"),
    "a path": LABELS.replace("S0_5", "../../secret_5"),
    "a path to the file": LABELS.replace("S0_5", "./S0_5"),
    "a class twice": LABELS.replace("grekis", "1139490"),
    "a class less": "row_id,grekis\nS0_5,1\n",
    "a column without a name": "row_id,1139490,grekis,\nS0_5,0,1,1\n",
}


@pytest.mark.parametrize("text", SOUNDSCAPE_LABELS.values(), ids=SOUNDSCAPE_LABELS)
def test_hostile_labels_of_soundscapes_are_refused(bird_folder: Path, text: str) -> None:
    (bird_folder / "train_soundscapes_labels.csv").write_text(text)
    refusal(lambda: read_data_folder(bird_folder), "train_soundscapes_labels.csv")


pieces = st.sampled_from(
    ["S0", "_", "5", "10", ".", "0", "1", "-", "e", "/", "..", "nan", " ", "\n", '"', ",", "grekis", "\u0665"]
)
texts = st.lists(pieces, max_size=6).map("".join)


@drawn
@given(rows=st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=3))
def test_any_labels_of_soundscapes_are_windows_of_them_or_refused(
    bird_folder: Path, rows: list[tuple[str, str, str]]
) -> None:
    path = bird_folder / "train_soundscapes_labels.csv"
    path.write_text("\n".join([LABELS.splitlines()[0], *map(",".join, rows)]), newline="")
    if not refused(lambda: read_data_folder(bird_folder), path.name):
        table = read_data_folder(bird_folder).soundscape_labels
        assert table is not None
        assert set(table["path"]) == {"train_soundscapes/S0.ogg"}
        assert (table["end_s"] % 5 == 0).all()
        assert table[["1139490", "grekis"]].isin([0.0, 1.0]).all(axis=None)


@drawn
@given(header=texts, row=texts)
def test_any_taxonomy_or_sample_submission_has_plain_classes_or_is_refused(
    tmp_path: Path, header: str, row: str
) -> None:
    for name, read in (("taxonomy.csv", read_taxonomy), ("sample.csv", lambda path: read_sample(path).classes)):
        first = "primary_label" if name == "taxonomy.csv" else f"row_id,{header}"
        (tmp_path / name).write_text(f"{first}\n{row}", newline="")
        if not refused(lambda read=read, name=name: read(tmp_path / name), name):
            classes = read(tmp_path / name)
            assert len(set(classes)) == len(classes) > 0
            assert all(label.strip() == label != "" and label.isprintable() for label in classes)


SAMPLES = {
    "a class without a name": "row_id,grekis,\na_5,0,0\n",
    "a class twice": "row_id,grekis,grekis\na_5,0,0\n",
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
