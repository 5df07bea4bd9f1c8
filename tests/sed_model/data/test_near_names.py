"""Tables as people's programs write them: what can mean one file only is read and counted, the rest is named."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from sed_model.audio.audio_files import AUDIO_SUFFIXES
from sed_model.core.errors import DataError
from sed_model.data.recordings import read_data_folder
from tests.hostile import refusal

HEADER = "primary_label,secondary_labels,filename,author,rating\n"
NAMES = ("a1/XC00.ogg", "a1/XC01.ogg", "b2/XC10.ogg")
NO_TAXONOMY = "no taxonomy.csv, classes taken from the primary labels of train.csv: 2"


def write(root: Path, filenames: list[str], files: tuple[str, ...] = NAMES) -> Path:
    """A folder with these files, whose table names them otherwise."""
    rows = [f"{files[n].split('/')[0]},[],{name},me,4.0" for n, name in enumerate(filenames)]
    (root / "train.csv").write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    for name in files:
        path = root / "train_audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.mark.parametrize(
    ("filenames", "note"),
    [
        (["a1\\XC00.ogg", "a1\\XC01.ogg", "b2\\XC10.ogg"], "filenames with backslashes, read as /: 3"),
        (
            [f"train_audio/{name}" for name in NAMES],
            "filenames that begin with the folder of the recordings, read without it: 3",
        ),
        (
            [f"C:/data/train_audio/{NAMES[0]}", *NAMES[1:]],
            "filenames that begin with the folder of the recordings, read without it: 1",
        ),
        (["XC00.ogg", "XC01.ogg", "XC10.ogg"], "filenames without their folder: 3"),
        (["a1/XC00.OGG", "A1/xc01.ogg", NAMES[2]], "filenames in other capitals than the file's: 2"),
        (["a1/XC00.mp3", "a1/XC01", NAMES[2]], "filenames with another suffix than the file's: 2"),
    ],
)
def test_names_that_can_mean_one_file_only_are_read_and_counted(
    tmp_path: Path, filenames: list[str], note: str
) -> None:
    data = read_data_folder(write(tmp_path, filenames))
    assert data.recordings["path"].to_list() == [f"train_audio/{name}" for name in NAMES]
    assert data.notes == (NO_TAXONOMY, note)


def test_a_name_may_differ_in_several_ways(tmp_path: Path) -> None:
    data = read_data_folder(write(tmp_path, ["train_audio\\a1\\xc00.WAV", *NAMES[1:]]))
    assert data.recordings["path"][0] == "train_audio/a1/XC00.ogg"
    assert len(data.notes) == 4


@pytest.mark.parametrize(("table", "disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_unicode_forms_are_one(tmp_path: Path, table: str, disk: str) -> None:
    """A Mac's archive has a letter and its ring as two characters; it is the same label and the same folder."""
    label, folder = unicodedata.normalize(table, "blåmeis"), unicodedata.normalize(disk, "blåmeis")
    root = write(tmp_path, [f"{label}/x.ogg"], (f"{folder}/x.ogg",))
    (root / "train.csv").write_text(f"{HEADER}{label},[],{label}/x.ogg,me,4.0\n", encoding="utf-8")
    (root / "taxonomy.csv").write_text(f"primary_label\n{folder}\n", encoding="utf-8")
    data = read_data_folder(root)

    assert data.recordings["path"].to_list() == [f"train_audio/{folder}/x.ogg"]
    assert data.recordings["primary_label"].to_list() == [folder]
    assert data.notes == (
        "labels in another Unicode form (NFC, NFD): 1",
        "filenames in another Unicode form than the file's (NFC, NFD): 1",
    )


def test_a_name_that_may_mean_several_files_is_refused_with_them(tmp_path: Path) -> None:
    root = write(tmp_path, ["a1/XC00.flac"], ("a1/XC00.ogg", "a1/XC00.wav"))
    words = ("may be any of train_audio/a1/XC00.ogg, train_audio/a1/XC00.wav", "name the one that is meant")
    refusal(lambda: read_data_folder(root), *words, kind=DataError)


def test_a_file_that_another_row_names_is_not_meant(tmp_path: Path) -> None:
    """x.ogg was converted from x.mp3, of which the file is missing: not the same recording twice."""
    root = write(tmp_path, [NAMES[0], "a1/XC00.mp3"], NAMES[:2])
    refusal(lambda: read_data_folder(root), "line 3: filename 'a1/XC00.mp3': there is no audio file", kind=DataError)


def test_two_rows_that_mean_one_file_are_told(tmp_path: Path) -> None:
    root = write(tmp_path, ["a1/xc00.ogg", "a1/XC00.flac"])
    words = ("line 3: filename 'a1/XC00.flac' (read as train_audio/a1/XC00.ogg): is in line 2 already",)
    refusal(lambda: read_data_folder(root), *words, kind=DataError)


def test_the_nearest_name_is_told(tmp_path: Path) -> None:
    refusal(lambda: read_data_folder(write(tmp_path, ["a1/XCC00.ogg"])), "did you mean a1/XC00.ogg?", kind=DataError)


@pytest.mark.parametrize("named", ["a1/x.m4a", "a1/x.ogg"])
def test_sound_that_cannot_be_read_is_named_with_the_conversion(tmp_path: Path, named: str) -> None:
    root = write(tmp_path, [named], ("a1/x.m4a",))
    words = ("train_audio/a1/x.m4a cannot be read, as all .m4a", "ffmpeg -i x.m4a x.flac")
    refusal(lambda: read_data_folder(root), *words, kind=DataError)


def test_aiff_is_read(tmp_path: Path) -> None:
    assert {".aif", ".aiff"} <= AUDIO_SUFFIXES
    data = read_data_folder(write(tmp_path, ["a1/x.aiff"], ("a1/x.aiff",)))
    assert data.recordings["path"].to_list() == ["train_audio/a1/x.aiff"]


def test_what_a_mac_notes_on_files_is_no_recording(tmp_path: Path) -> None:
    root = write(tmp_path, list(NAMES), (*NAMES, "a1/._XC00.ogg"))
    (root / "train_soundscapes").mkdir()
    for name in ("s.ogg", "._s.ogg", "t.m4a"):
        (root / "train_soundscapes" / name).touch()
    data = read_data_folder(root)

    assert data.soundscapes == ("train_soundscapes/s.ogg",)
    assert data.notes[1:] == (
        "a Mac's notes on files in train_audio (._*), no recordings: 1",
        "sound files in train_soundscapes that cannot be read (.m4a; convert them to .flac): 1",
        "a Mac's notes on files in train_soundscapes (._*), no recordings: 1",
    )


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_separators_are_read(tmp_path: Path, separator: str, name: str) -> None:
    root = write(tmp_path, list(NAMES))
    text = (root / "train.csv").read_text().replace(",", separator)
    (root / "train.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    data = read_data_folder(root)
    assert data.recordings["path"].to_list() == [f"train_audio/{name}" for name in NAMES]
    assert data.notes == (f"rows of train.csv, which is separated by {name}: 3", NO_TAXONOMY)


def test_a_spreadsheets_unicode_text_is_read(tmp_path: Path) -> None:
    root = write(tmp_path, list(NAMES))
    (root / "train.csv").write_text((root / "train.csv").read_text().replace(",", "\t"), encoding="utf-16")
    assert "tables in UTF-16 (train.csv): 1" in read_data_folder(root).notes


@pytest.mark.parametrize("taxonomy", [True, False])
def test_labels_that_a_spreadsheet_made_numbers_are_read(tmp_path: Path, taxonomy: bool) -> None:
    root = write(tmp_path, ["1139490/x.ogg"], ("1139490/x.ogg",))
    (root / "train.csv").write_text(f"{HEADER}1139490.0,[],1139490/x.ogg,me,4.0\n")
    if taxonomy:
        (root / "taxonomy.csv").write_text("primary_label\n1139490\n")
    data = read_data_folder(root)
    assert data.classes == ("1139490",)
    assert data.recordings["primary_label"].to_list() == ["1139490"]
    assert "labels that a spreadsheet made numbers (1234.0), read as 1234: 1" in data.notes


@pytest.mark.parametrize(
    ("cell", "labels"), [("b2", ("b2",)), ("a1;b2", ("b2",)), ("b2 a1", ("b2",)), ("nan", ()), ('"[""b2""]"', ("b2",))]
)
def test_secondary_labels_may_lack_brackets(tmp_path: Path, cell: str, labels: tuple[str, ...]) -> None:
    root = write(tmp_path, list(NAMES))
    text = (root / "train.csv").read_text()
    (root / "train.csv").write_text(text.replace("[]", cell, 1))
    assert read_data_folder(root).recordings["secondary_labels"].to_list() == [labels, (), ()]


@pytest.mark.parametrize("cell", ["b3", "b2;b3", "print(1)"])
def test_bare_text_that_is_no_class_is_refused(tmp_path: Path, cell: str) -> None:
    root = write(tmp_path, list(NAMES))
    (root / "train.csv").write_text((root / "train.csv").read_text().replace("[]", cell, 1))
    refusal(lambda: read_data_folder(root), "malformed secondary labels (1)", cell, kind=DataError)


@pytest.mark.parametrize(
    ("cell", "stars"),
    [("A", 5.0), ("E", 1.0), ("no score", 0.0), ("nan", 0.0), ('"4,5"', 4.5), ("", 0.0), ("3", 3.0)],
)
def test_ratings_as_people_write_them(tmp_path: Path, cell: str, stars: float) -> None:
    root = write(tmp_path, list(NAMES))
    (root / "train.csv").write_text((root / "train.csv").read_text().replace("4.0", cell, 1))
    assert read_data_folder(root).recordings["rating"].to_list() == [stars, 4.0, 4.0]
