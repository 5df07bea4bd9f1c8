"""Folders as the competitions of 2021 to 2026 gave them, read as they are."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sed_model.audio.decoding import duration_s
from sed_model.core.errors import DataError
from sed_model.data.recordings import DataFolder, read_data_folder
from tests.hostile import drawn, refusal, refused

RATE_HZ = 8_000
HEADER = "primary_label,secondary_labels,author,rating,filename\n"
FILE_2026 = "BC2026_Train_0001_S08_20250606_030007.ogg"


def audio(path: Path, length_s: float | None = None) -> None:
    """A file of this length, or an empty one where reading the tables does not ask for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    if length_s is not None:
        soundfile.write(path, np.zeros(round(length_s * RATE_HZ)), RATE_HZ)


def windows(data: DataFolder) -> list[tuple[float, float, list[str]]]:
    """Start, end and classes of the labelled windows."""
    table = data.soundscape_labels
    assert table is not None
    held = table[list(data.classes)].to_numpy() == 1
    names = [[name for name, here in zip(data.classes, row, strict=True) if here] for row in held]
    return list(zip(table["start_s"], table["end_s"], names, strict=True))


def write_2021(root: Path) -> None:
    for name in ("acafly/XC1.ogg", "amecro/XC1.ogg"):
        audio(root / "train_short_audio" / name)
    (root / "train_metadata.csv").write_text(
        f"{HEADER}acafly,[],me,4.0,XC1.ogg\namecro,\"['acafly']\",me,4.0,XC1.ogg\n"
    )
    audio(root / "train_soundscapes" / "7019_COR_20190904.ogg")
    audio(root / "train_soundscapes" / "70_COR_20190904.ogg")
    rows = ("7019_COR_5,COR,7019,5,nocall", "7019_COR_10,COR,7019,10,acafly", "7019_COR_15,COR,7019,15,amecro acafly")
    (root / "train_soundscape_labels.csv").write_text("\n".join(["row_id,site,audio_id,seconds,birds", *rows]) + "\n")


def write_2024(root: Path) -> None:
    audio(root / "train_audio" / "acafly" / "XC1.ogg")
    (root / "train_metadata.csv").write_text(f"{HEADER}acafly,[],me,4.0,acafly/XC1.ogg\n")
    audio(root / "unlabeled_soundscapes" / "460830.ogg")


def write_2026(root: Path, rows: str, length_s: float | None = 25.0) -> None:
    for name in ("acafly", "amecro"):
        audio(root / "train_audio" / name / "XC1.ogg")
    (root / "train.csv").write_text(f"{HEADER}acafly,[],me,4.0,acafly/XC1.ogg\namecro,[],me,4.0,amecro/XC1.ogg\n")
    (root / "taxonomy.csv").write_text("primary_label\nacafly\namecro\n")
    audio(root / "train_soundscapes" / FILE_2026, length_s)
    audio(root / "train_soundscapes" / "BC2026_Train_0002_S08_20250607_030007.ogg")
    (root / "train_soundscapes_labels.csv").write_text(f"filename,start,end,primary_label\n{rows}")


def test_2021(tmp_path: Path) -> None:
    write_2021(tmp_path)
    data = read_data_folder(tmp_path)

    assert data.recordings["path"].to_list() == ["train_short_audio/acafly/XC1.ogg", "train_short_audio/amecro/XC1.ogg"]
    assert data.recordings["secondary_labels"].to_list() == [(), ("acafly",)]
    assert windows(data) == [(0, 5, []), (5, 10, ["acafly"]), (10, 15, ["acafly", "amecro"])]
    assert data.soundscape_labels is not None
    assert set(data.soundscape_labels["path"]) == {"train_soundscapes/7019_COR_20190904.ogg"}
    assert data.layout.startswith("BirdCLEF 2021 (train_metadata.csv, train_short_audio/, train_soundscapes/")


def test_2024_has_its_own_folder_of_unlabelled_soundscapes(tmp_path: Path) -> None:
    write_2024(tmp_path)
    data = read_data_folder(tmp_path)

    assert data.soundscapes == ("unlabeled_soundscapes/460830.ogg",)
    assert data.soundscapes_name == "unlabeled_soundscapes"
    assert data.soundscape_labels is None
    assert data.layout == "BirdCLEF 2024 (train_metadata.csv, train_audio/, unlabeled_soundscapes/)"


def test_2022_and_2023_have_train_metadata_alone(tmp_path: Path) -> None:
    write_2024(tmp_path)
    (tmp_path / "unlabeled_soundscapes" / "460830.ogg").unlink()
    (tmp_path / "unlabeled_soundscapes").rmdir()
    assert read_data_folder(tmp_path).layout.startswith("BirdCLEF 2022 to 2024 (train_metadata.csv")


def test_2026_labels_are_rows_of_times(tmp_path: Path) -> None:
    """Clock times and seconds, several labels in a cell, rows that repeat, windows without a row."""
    rows = (
        f"{FILE_2026},00:00:05,00:00:10,amecro;acafly\n{FILE_2026},0,5.0,acafly\n{FILE_2026},00:00:05,00:00:10,"
        f"amecro;acafly\n{FILE_2026},00:00:15,00:00:20,nocall\n"
    )
    write_2026(tmp_path, rows)
    data = read_data_folder(tmp_path)

    assert windows(data) == [
        (0, 5, ["acafly"]), (5, 10, ["acafly", "amecro"]), (10, 15, []), (15, 20, []), (20, 25, [])
    ]  # fmt: skip
    assert data.notes == (
        "repeated rows of train_soundscapes_labels.csv, counted once: 1",
        "windows of labelled soundscapes without a row in train_soundscapes_labels.csv, taken as without a call: 2",
    )
    assert data.layout.startswith("BirdCLEF+ 2026 (train.csv,")
    assert data.layout.endswith("train_soundscapes_labels.csv (filename, start, end, primary_label))")
    assert len(data.soundscapes) == 2


def test_a_row_for_each_label_of_a_window_is_read_as_their_union(tmp_path: Path) -> None:
    write_2026(tmp_path, f"{FILE_2026},0,5,acafly\n{FILE_2026},0,5,amecro\n", length_s=5.0)
    assert windows(read_data_folder(tmp_path)) == [(0, 5, ["acafly", "amecro"])]


def test_a_table_of_other_separators_and_short_names_is_read(tmp_path: Path) -> None:
    write_2026(tmp_path, f"{Path(FILE_2026).stem},0,5,acafly\n", length_s=5.0)
    table = tmp_path / "train_soundscapes_labels.csv"
    table.write_text(table.read_text().replace(",", "\t"))
    data = read_data_folder(tmp_path)
    assert windows(data) == [(0, 5, ["acafly"])]
    assert "rows of train_soundscapes_labels.csv, which is separated by tabs: 1" in data.notes


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("nowhere.ogg,0,5,acafly", ["missing soundscapes (1)", "line 2: nowhere.ogg is no file of train_soundscapes"]),
        (f"{FILE_2026[:-5]}.ogg,0,5,acafly", [f"did you mean {FILE_2026}?"]),
        (f"{FILE_2026},0,5,acaflyy", ["labels that are no class (1)", "'acaflyy'", "did you mean acafly?"]),
        (f"{FILE_2026},0,3,acafly", ["windows off the grid (1)", "0 to 3 s is no window of data.target_s=5 s"]),
        (f"{FILE_2026},2,7,acafly", ["windows off the grid (1)", "2 to 7 s"]),
        (f"{FILE_2026},00:00:61,00:01:06,acafly", ["times that do not parse (1)", "as hh:mm:ss or seconds"]),
        (f"{FILE_2026},zero,5,acafly", ["times that do not parse (1)"]),
    ],
)
def test_rows_that_cannot_be_read_are_named(tmp_path: Path, row: str, words: list[str]) -> None:
    write_2026(tmp_path, f"{row}\n")
    refusal(lambda: read_data_folder(tmp_path), *words, kind=DataError)


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("file_name,start,end,primary_label", "filename: add the column (did you mean file_name?)"),
        ("filename,start_time,end_time,label", "start: add the column (did you mean start_time?)"),
    ],
)
def test_misspelt_columns_of_times_get_the_nearest_name(tmp_path: Path, header: str, missing: str) -> None:
    """And not that row_id and a column for each class are missing."""
    write_2026(tmp_path, f"{FILE_2026},0,5,acafly")
    table = tmp_path / "train_soundscapes_labels.csv"
    table.write_text(table.read_text().replace("filename,start,end,primary_label", header))

    with pytest.raises(DataError) as error:
        read_data_folder(tmp_path)
    assert missing in str(error.value)
    assert "row_id" not in str(error.value)


def test_a_minute_of_clock_time_is_sixty_seconds(tmp_path: Path) -> None:
    write_2026(tmp_path, f"{FILE_2026},00:01:00,0:01:05,acafly\n", length_s=65.0)
    assert [end_s for _, end_s, held in windows(read_data_folder(tmp_path)) if held] == [65.0]


def test_a_header_that_announces_months_does_not_fill_the_memory(tmp_path: Path) -> None:
    """The 36 bits of a FLAC's number of samples say 8.6 million seconds; decoding refuses the file later, by name."""
    write_2026(tmp_path, "months.flac,0,5,acafly\n")
    path = tmp_path / "train_soundscapes" / "months.flac"
    audio(path, 6.0)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F
    content[22:26] = b"\xff\xff\xff\xfe"
    path.write_bytes(content)
    assert duration_s(path) == pytest.approx(2**36 / RATE_HZ)
    assert len(windows(read_data_folder(tmp_path))) == 86_400 / 5


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
times = cells | st.floats().map(repr) | st.lists(st.integers(-1, 99), max_size=4).map(lambda n: ":".join(map(str, n)))


@drawn
@given(
    name=cells | st.just(FILE_2026), start=times, end=times, label=cells | st.sampled_from(["acafly;", "nocall", "nan"])
)
def test_any_row_is_a_window_or_refused(tmp_path: Path, name: str, start: str, end: str, label: str) -> None:
    write_2026(tmp_path, "", length_s=None)
    with (tmp_path / "train_soundscapes_labels.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow([name, start, end, label])
    if not refused(lambda: read_data_folder(tmp_path), "train_soundscapes_labels.csv"):
        assert all(end_s - start_s == 5.0 for start_s, end_s, _ in windows(read_data_folder(tmp_path)))


def test_digits_mini_is_of_2026(shared_data: Path) -> None:
    """16 labelled soundscapes of 60 s, each with 12 windows: 65 rows name calls, and three of them come twice."""
    root = shared_data / "digits_mini"
    if not root.is_dir():
        pytest.skip("digits_mini is not beside this checkout")
    data = read_data_folder(root)

    assert data.layout.startswith("BirdCLEF+ 2026")
    assert (len(data.classes), len(data.recordings), len(data.soundscapes)) == (10, 160, 64)
    assert len(windows(data)) == 16 * 12
    assert sum(bool(held) for _, _, held in windows(data)) == 192 - 127
    assert "repeated rows of train_soundscapes_labels.csv, counted once: 3" in data.notes
