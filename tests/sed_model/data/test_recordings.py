import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.core.errors import DataError
from sed_model.data.label_cells import parse_label_list
from sed_model.data.recordings import DataFolder, read_data_folder

HEADER = "primary_label,secondary_labels,filename,rating,author\n"


def write_folder(root: Path, rows: str, *files: str, taxonomy: str = "primary_label\na\n1139490\nnan\n") -> Path:
    """A data folder with empty audio files: reading the tables opens none of them."""
    root.mkdir(exist_ok=True)
    (root / "train.csv").write_text(HEADER + rows, encoding="utf-8")
    if taxonomy:
        (root / "taxonomy.csv").write_text(taxonomy, encoding="utf-8")
    for name in files:
        path = root / "train_audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def problems_of(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_data_folder(root)
    return str(caught.value)


def test_labels_that_look_like_numbers_or_gaps_stay_text(tmp_path: Path) -> None:
    rows = "1139490,\"['nan', 'a']\",1139490/x.ogg,4.5,Ann\nnan,[''],nan/y.ogg,,NA\na,[],a/z.ogg,0,\n"
    data = read_data_folder(write_folder(tmp_path, rows, "1139490/x.ogg", "nan/y.ogg", "a/z.ogg"))
    assert data.classes == ("a", "1139490", "nan")
    table = data.recordings
    assert table["path"].to_list() == ["train_audio/1139490/x.ogg", "train_audio/nan/y.ogg", "train_audio/a/z.ogg"]
    assert table["primary_label"].to_list() == ["1139490", "nan", "a"]
    assert table["secondary_labels"].to_list() == [("nan", "a"), (), ()]
    assert table["rating"].to_list() == [4.5, 0.0, 0.0]
    assert table["author"].to_list() == ["Ann", "NA", "train_audio/a/z.ogg"]


def test_secondary_labels_that_are_no_class_or_the_primary_are_dropped_and_counted(tmp_path: Path) -> None:
    data = read_data_folder(write_folder(tmp_path, "a,\"['a', 'rocpig', 'nan']\",a/x.ogg,1,Ann\n", "a/x.ogg"))
    assert data.recordings["secondary_labels"].to_list() == [("nan",)]
    assert "unknown secondary labels dropped: 1" in data.notes
    assert "secondary labels equal to the primary label dropped: 1" in data.notes


def test_without_a_taxonomy_the_classes_are_the_sorted_primary_labels(tmp_path: Path) -> None:
    rows = "b,[''],b/x.ogg,1,Ann\na,[''],a/y.ogg,1,Ann\n"
    data = read_data_folder(write_folder(tmp_path, rows, "b/x.ogg", "a/y.ogg", taxonomy=""))
    assert data.classes == ("a", "b")
    assert any(note.startswith("no taxonomy.csv") for note in data.notes)


def test_a_table_of_labels_and_filenames_will_do(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "", "a/x.ogg")
    (root / "train.csv").write_text("primary_label,filename\na,a/x.ogg\n", encoding="utf-8")
    data = read_data_folder(root)
    assert data.recordings[["secondary_labels", "author"]].to_numpy().tolist() == [[(), "train_audio/a/x.ogg"]]
    assert "no column secondary_labels in train.csv, recordings taken as single-label: 1" in data.notes
    assert "no column author in train.csv, recordings grouped one by one: 1" in data.notes


def test_oddities_are_counted_in_the_notes(tmp_path: Path) -> None:
    files = ("a/x.ogg", "a/unlisted.ogg", "a/readme.txt", "other/y.ogg")
    data = read_data_folder(write_folder(tmp_path, "a,[''],a/x.ogg,1,\na,[''],other/y.ogg,1,Ann\n", *files))
    assert data.notes == (
        "classes without a recording (1139490, nan): 2",
        "recordings in a folder that is not named like their primary label: 1",
        "audio files of train_audio without a row in train.csv: 1",
        "other files in train_audio: 1",
        "recordings without an author, each a group of its own: 1",
    )


def test_all_problems_of_all_tables_come_in_one_report(tmp_path: Path) -> None:
    rows = (
        "aa,[''],a/x.ogg,1,Ann\n"
        "a,['a,a/x.ogg,1,Ann\n"
        "a,[''],a/gone.ogg,1,Ann\n"
        "a,[''],a/y.ogg,5.5,Ann\n"
        "a,[''],a/z.ogg,good,Ann\n"
        "a,[''],,1,Ann\n"
    )
    root = write_folder(tmp_path, rows, "a/x.ogg", "a/y.ogg", "a/z.ogg")
    (root / "train_soundscapes_labels.csv").write_text("row_id,a,1139490,nan\nnowhere_5,0,0,0\n", encoding="utf-8")
    message = problems_of(root)
    assert "line 2: 'aa' is not in taxonomy.csv; add or mend it (did you mean a?)" in message
    assert 'line 3: secondary_labels "[\'a" is not a list of labels' in message
    assert "line 3: filename 'a/x.ogg': is in line 2 already" in message
    assert "line 4: filename 'a/gone.ogg': there is no audio file train_audio/a/gone.ogg" in message
    assert "line 5: '5.5' is not between 0 and 5" in message
    assert "line 6: 'good' is not between 0 and 5" in message
    assert "line 7: filename '': name the file" in message
    assert "nowhere_5 needs train_soundscapes/nowhere.*" in message


def test_train_audio_itself_may_be_a_link_and_links_inside_it_are_followed(tmp_path: Path) -> None:
    disk = tmp_path / "big_disk"
    (disk / "a").mkdir(parents=True)
    (disk / "a" / "x.ogg").write_bytes(b"")
    (disk / "a" / "y.ogg").symlink_to("x.ogg")
    (disk / "a" / "loop").symlink_to(disk)
    root = write_folder(tmp_path / "data", "a,[''],a/x.ogg,1,Ann\na,[''],a/y.ogg,1,Ann\n")
    (root / "train_audio").symlink_to(disk)
    assert len(read_data_folder(root).recordings) == 2


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    assert f"{tmp_path} holds no train.csv; give the folder that holds" in problems_of(tmp_path)
    assert "is not a folder" in problems_of(tmp_path / "nowhere")


def test_a_folder_above_or_below_the_right_one_is_told_which_is_right(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", "a,[''],a/x.ogg,1,Ann\n", "a/x.ogg")
    assert f"train_audio/ ({root}?)." in problems_of(tmp_path)
    assert f"train_audio/ ({root}?)." in problems_of(root / "train_audio")


def test_a_zip_that_was_not_unpacked_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "birdclef.zip").write_bytes(b"PK")
    assert "is packed; unpack it" in problems_of(tmp_path / "birdclef.zip")
    assert "(unpack birdclef.zip first)" in problems_of(tmp_path)


def test_soundscapes_are_the_sorted_audio_files_of_one_level(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "a,[''],a/x.ogg,1,Ann\n", "a/x.ogg")
    for name in ("b.ogg", "a.FLAC", "list.txt", "below/c.ogg"):
        (root / "train_soundscapes" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "train_soundscapes" / name).write_bytes(b"")
    data = read_data_folder(root)
    assert data.soundscapes == ("train_soundscapes/a.FLAC", "train_soundscapes/b.ogg")
    assert "soundscapes in folders below train_soundscapes, not used: 1" in data.notes


def test_soundscapes_of_one_stem_are_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "a,[''],a/x.ogg,1,Ann\n", "a/x.ogg")
    (root / "train_soundscapes").mkdir()
    for name in ("s.ogg", "s.wav"):
        (root / "train_soundscapes" / name).write_bytes(b"")
    assert "train_soundscapes/s.wav: would share its row_ids with train_soundscapes/s.ogg" in problems_of(root)


def test_the_fingerprint_follows_content_and_not_place(tmp_path: Path) -> None:
    rows = "a,[''],a/x.ogg,1,Ann\n"
    first = read_data_folder(write_folder(tmp_path / "one", rows, "a/x.ogg")).fingerprint
    moved = write_folder(tmp_path / "two", rows, "a/x.ogg")
    assert read_data_folder(moved).fingerprint == first
    (moved / "train_audio/a/x.ogg").write_bytes(b"longer")
    grown = read_data_folder(moved).fingerprint
    relabelled = read_data_folder(write_folder(tmp_path / "one", "nan,[''],a/x.ogg,1,Ann\n")).fingerprint
    assert len({first, grown, relabelled}) == 3


def test_the_fingerprint_sees_a_changed_middle_of_equal_size_and_time(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "a,[''],a/x.ogg,1,Ann\n", "a/x.ogg")
    recording, soundscape = root / "train_audio/a/x.ogg", root / "train_soundscapes/s.ogg"
    soundscape.parent.mkdir()
    prints = []
    for changed in (None, recording, soundscape):
        for path in (recording, soundscape):
            content = bytearray(300_000)
            content[150_000] = path == changed
            path.write_bytes(content)
            os.utime(path, ns=(10**18, 10**18))
        prints.append(read_data_folder(root).fingerprint)
    assert len(set(prints)) == 3


@given(st.lists(st.text(min_size=1).filter(lambda text: text.strip() == text), unique=True))
def test_written_label_lists_read_back(labels: list[str]) -> None:
    assert parse_label_list(str(labels)) == tuple(labels)


@given(st.text(max_size=60))
def test_any_other_text_is_labels_or_a_value_error(text: str) -> None:
    try:
        labels = parse_label_list(text)
    except ValueError:
        return
    assert all(label and label == label.strip() for label in labels)


@pytest.mark.parametrize("text", ["", "[]", "['']", "()"])
def test_lists_of_nothing_are_no_labels(text: str) -> None:
    assert parse_label_list(text) == ()


def test_the_demo_data_reads_with_a_single_oddity(demo_folder: Path) -> None:
    data = read_data_folder(demo_folder)
    assert (len(data.classes), len(data.recordings), len(data.soundscapes)) == (8, 96, 10)
    assert data.notes == ("unknown secondary labels dropped: 1",)


@pytest.mark.parametrize(
    ("name", "classes", "recordings", "soundscapes"), [("esc10_mini", 10, 160, 64), ("birds_mini", 26, 208, 40)]
)
def test_real_data_reads_without_a_note(
    shared_data: Path, name: str, classes: int, recordings: int, soundscapes: int
) -> None:
    data: DataFolder = read_data_folder(shared_data / name)
    assert (len(data.classes), len(data.recordings), len(data.soundscapes)) == (classes, recordings, soundscapes)
    assert data.notes == ()
