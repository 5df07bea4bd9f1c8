"""Annotations of a data folder's soundscapes -> labels of their windows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.audio.audio_files import list_audio
from sed_model.core.errors import DataError
from sed_model.core.label_tracks import TRACK_SUFFIXES, tracks
from sed_model.core.label_tracks import Event as Heard
from sed_model.data.annotation_events import NO_CALL, Event
from sed_model.data.annotation_formats import ReadingRules
from sed_model.data.annotations import ImportedLabels, WindowRules, import_annotations, join_events, windows_of
from sed_model.data.label_rows import LabelledFiles
from sed_model.data.soundscape_events import read_soundscape_events
from sed_model.data.soundscape_labels import read_soundscape_labels
from sed_model.data.tables import Notes
from sed_model.predict.events import event_table as predicted_table
from tests.hostile import drawn
from tests.sed_model.csv_folder import GOOD
from tests.tiny_data import RATE_HZ, write_wav

TAXONOMY = (
    "primary_label,scientific_name,common_name\n1139490,Gryllus campestris,Field Cricket\n"
    "grekis,Pitangus sulphuratus,Great Kiskadee\n"
)
CLASSES = ("1139490", "grekis")
Import = Callable[..., ImportedLabels]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data folder of two classes and two soundscapes: S1 lasts 22 s, S2 10 s."""
    (tmp_path / "train_audio").mkdir()
    (tmp_path / "train.csv").write_text(GOOD)
    (tmp_path / "taxonomy.csv").write_text(TAXONOMY)
    for name, length_s in (("S1", 22), ("S2", 10)):
        write_wav(tmp_path / "train_soundscapes" / f"{name}.wav", np.zeros(length_s * RATE_HZ, np.float32))
    return tmp_path


@pytest.fixture
def import_from(root: Path) -> Import:
    """Imports files of these names and contents."""

    def call(files: dict[str, str], **rules: object) -> ImportedLabels:
        for name, text in files.items():
            path = root / "annotations" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return import_annotations([root / "annotations"], root, ReadingRules(), WindowRules(**rules))

    return call


def rows(imported: ImportedLabels) -> dict[str, str]:
    """row_id -> its cells."""
    table = imported.labels.astype(str)
    return dict(zip(table["row_id"], table[list(CLASSES)].agg("".join, axis=1), strict=True))


def test_events_label_the_windows_that_they_reach_into(import_from: Import) -> None:
    imported = import_from({"S1.txt": "4.95\t5.5\tgrekis\n12\t16\t1139490\n13\t14\tgrekis\n"})
    assert rows(imported) == {"S1_10": "01", "S1_15": "11", "S1_20": "10"}
    assert list(imported.labels.columns) == ["row_id", *CLASSES]
    assert not imported.left_out


def test_windows_without_an_event_are_labelled_where_files_are_complete(import_from: Import) -> None:
    imported = import_from({"S1.txt": "6\t7\tgrekis\n", "S2.txt": ""}, complete=True)
    assert rows(imported) == {
        **{f"S1_{end_s}": "00" for end_s in (5, 15, 20)},
        "S1_10": "01",
        "S2_5": "00",
        "S2_10": "00",
    }


def test_the_house_reads_what_is_written(root: Path, import_from: Import) -> None:
    imported = import_from({"S1.txt": "6\t7\tgrekis\n", "S2.txt": "0\t1\t1139490\n"}, complete=True, target_s=2.5)
    imported.labels.to_csv(root / "labels.csv", index=False)
    table = read_soundscape_labels(root / "labels.csv", root / "train_soundscapes", CLASSES, 2.5)
    held = table[table[list(CLASSES)].any(axis=1)]
    assert held[["path", "start_s", "end_s"]].to_numpy().tolist() == [
        ["train_soundscapes/S1.wav", 5.0, 7.5],
        ["train_soundscapes/S2.wav", 0.0, 2.5],
    ]
    assert len(table) == 8 + 4


def test_files_and_classes_are_found_by_names_that_are_nearly_theirs(import_from: Import) -> None:
    table = "filename,start,end,species\nD:\\may\\s1.WAV,1,2,great kiskadee\nS2.flac,1,2,Gryllus campestris\n"
    imported = import_from({"t.csv": table.replace("S2.flac", "S2"), "S2.Table.1.selections.txt": ""})
    assert rows(imported) == {"S1_5": "01", "S2_5": "10"}
    assert imported.n_soundscapes == 2
    assert "labels that are a scientific or common name of taxonomy.csv: 2" in imported.notes


def test_what_cannot_be_used_is_told_with_its_place(import_from: Import) -> None:
    lines = (
        "1\t2\tgrekiss",
        "1\t2\t",
        "3\t2\tgrekis",
        "-1\t2\tgrekis",
        "30\t31\tgrekis",
        "1\t2\tgrekis",
        "1\t2\tgrekiss",
    )
    table = "filename,start,end,label\nS11.wav,1,2,grekis\nS11.wav,1,2,grekis\n"
    imported = import_from({"S1.txt": "\n".join(lines), "x.txt": "1\t2\tgrekis\n", "all.csv": table})
    assert rows(imported) == {"S1_5": "01"}
    assert imported.left_out.report().splitlines() == [
        "events without a label (1):",
        "  S1.txt line 2",
        "events that end before they begin (1):",
        "  S1.txt line 3: 3 to 2 s",
        "events before the start of the audio (1):",
        "  S1.txt line 4: -1 to 2 s",
        "events past the end of the audio (1):",
        "  S1.txt line 5: 30 to 31 s, but it ends at 22 s",
        "files without audio (2):",
        "  S11.wav: no soundscape has this name (did you mean S1.wav?); 2 events",
        "  x.txt: no soundscape has this name; 1 event",
        "labels that are no class (1):",
        "  'grekiss' (did you mean grekis?): 2 events",
    ]


def test_an_event_past_the_end_is_cut_and_one_in_a_partial_window_has_none(import_from: Import) -> None:
    imported = import_from({"S1.txt": "18\t25\tgrekis\n21\t22\t1139490\n"})
    assert rows(imported) == {"S1_20": "01"}
    assert [(event.start_s, event.end_s) for event in imported.events] == [(21.0, 22.0), (18.0, 22.0)]
    assert "events that reach past the end of the audio, cut there: 1" in imported.notes
    assert "events in a last window that is not whole, which has no label: 1" in imported.notes


def test_the_same_events_from_several_tables_count_once(import_from: Import) -> None:
    track, table = "1\t3\tgrekis\n", "filename,start,end,label\nS1.wav,2,4,grekis\nS1.wav,1,3,grekis\n"
    imported = import_from({"S1.txt": track, "all.csv": table})
    assert [(event.start_s, event.end_s) for event in imported.events] == [(1.0, 4.0)]
    assert imported.n_joined == 2
    assert imported.formats == {"Audacity label track": 1, "start-and-end table": 1}


def test_a_stretch_without_a_call_labels_the_windows_that_it_covers(import_from: Import) -> None:
    imported = import_from({"S1.csv": "start,end,label\n4,15,nocall\n0,1,grekis\n12,13,1139490;grekis\n"})
    assert rows(imported) == {"S1_5": "01", "S1_10": "00", "S1_15": "11"}


def test_labels_of_whole_minutes_are_refused_for_shorter_windows(import_from: Import) -> None:
    minutes = {"minutes.csv": "filename,minute,label\nS1.wav,0,grekis\n"}
    with pytest.raises(DataError, match="says nothing of single windows of 5 s; import it with --target-s 60"):
        import_from(minutes)


def test_minutes_label_windows_of_a_minute(root: Path, import_from: Import) -> None:
    write_wav(root / "train_soundscapes" / "S4.wav", np.zeros(120 * RATE_HZ, np.float32))
    minutes = "filename,minute,label\nS4.wav,0,nocall\nS4.wav,1,grekis\n"
    assert rows(import_from({"minutes.csv": minutes}, target_s=60.0)) == {"S4_60": "00", "S4_120": "01"}


def test_annotations_that_label_nothing_are_refused_with_the_reasons(import_from: Import) -> None:
    with pytest.raises(DataError, match=r"no window is labelled(.|\n)*'wren': 1 event"):
        import_from({"S1.txt": "1\t2\twren\n"})
    with pytest.raises(DataError, match="--complete labels the windows of whole files"):
        import_from({"S1.txt": ""})


def test_tables_that_cannot_be_read_are_told_at_once(import_from: Import) -> None:
    with pytest.raises(DataError, match=r"one two(.|\n)*is empty"):
        import_from({"S1.txt": "1\t2\tgrekis\n", "S2.txt": "one two\n", "t.csv": ""})


@pytest.mark.parametrize(
    ("place", "message"), [("nowhere", "is no file and no folder"), ("train_audio", "holds no table of annotations")]
)
def test_a_place_without_tables_is_refused(root: Path, place: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        import_annotations([root / place], root, ReadingRules(), WindowRules())


def test_a_soundscape_that_cannot_be_opened_is_told(root: Path, import_from: Import) -> None:
    (root / "train_soundscapes" / "S9.wav").write_bytes(b"RIFF")
    imported = import_from({"S1.txt": "1\t2\tgrekis\n", "S9.txt": "1\t2\tgrekis\n"}, complete=True)
    assert "soundscapes that cannot be opened (1):\n  train_soundscapes/S9.wav" in imported.left_out.report()
    assert {row_id.partition("_")[0] for row_id in imported.labels["row_id"]} == {"S1"}


def event(start_s: float, end_s: float, label: str = "a") -> Event:
    return Event("S.wav", label, start_s, end_s)


@pytest.mark.parametrize(
    ("start_s", "end_s", "windows"),
    [
        (0.0, 5.0, [0]),
        (4.0, 5.1, [0, 1]),
        (4.0, 5.09, [0]),
        (4.9, 15.2, [0, 1, 2, 3]),
        (4.99, 5.02, [1]),
        (4.95, 5.04, [0]),
        (5.0, 5.0, [1]),
    ],
)
def test_which_windows_an_event_labels(start_s: float, end_s: float, windows: list[int]) -> None:
    assert windows_of(event(start_s, end_s), WindowRules()) == windows


def test_a_stretch_without_a_call_has_to_cover_a_window_whole() -> None:
    assert windows_of(event(4.0, 14.9, NO_CALL), WindowRules()) == [1]


def test_events_of_a_class_are_joined_where_they_touch() -> None:
    events = [event(3, 4), event(0, 2), event(2, 2.5), event(0.5, 1), event(2, 5, "b")]
    assert join_events(events) == [event(0, 2.5), event(3, 4), event(2, 5, "b")]


@pytest.mark.parametrize("least_s", [0.0, -1.0, 5.1, float("nan")])
def test_an_overlap_that_no_window_can_have_is_refused(least_s: float) -> None:
    with pytest.raises(DataError, match="--min-overlap-s"):
        WindowRules(min_overlap_s=least_s)


def test_windows_that_no_training_can_have_are_refused() -> None:
    with pytest.raises(DataError, match="--target-s 90 is above 60"):
        WindowRules(target_s=90)


def test_a_name_that_two_classes_share_or_lack_means_neither(root: Path, import_from: Import) -> None:
    (root / "taxonomy.csv").write_text("primary_label,common_name\n1139490,Cricket\ngrekis,Cricket\nx,\n")
    lines = "1\t2\tCricket\n1\t2\t'\n1\t2\tgrekis\n"
    assert "labels that are no class (2)" in import_from({"S1.txt": lines}).left_out.report()


SPANS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100), st.sampled_from("ab")), max_size=12)


@drawn
@given(spans=SPANS)
def test_joined_events_cover_the_same_seconds_and_never_touch(spans: list[tuple[int, int, str]]) -> None:
    events = [event(start_s, start_s + length_s, label) for start_s, length_s, label in spans]
    joined = join_events(events)

    def covered(some: list[Event]) -> pd.Series:
        grid = [(one.label, second) for one in some for second in range(int(one.start_s), int(one.end_s))]
        return pd.Series(grid, dtype=object).drop_duplicates().sort_values(ignore_index=True)

    assert covered(joined).equals(covered(events))
    gaps = [b.start_s - a.end_s for a, b in pairwise(joined) if a.label == b.label]
    assert all(gap > 0 for gap in gaps)


# --- the events themselves


def test_events_keep_their_times_beside_the_labels(import_from: Import) -> None:
    """Joined where they touch, cut at the end of the audio; a point in time stays one."""
    imported = import_from({"S1.txt": "1.25\t2\tgrekis\n2\t3.5\tgrekis\n18\t25\tgrekis\n5\t5\t1139490\n"})
    assert imported.timed.to_numpy().tolist() == [
        ["S1.wav", 5.0, 5.0, "1139490"],
        ["S1.wav", 1.25, 3.5, "grekis"],
        ["S1.wav", 18.0, 22.0, "grekis"],
    ]


@pytest.mark.parametrize(
    ("table", "rules", "timed"),
    [
        ("filename,start,end,label\nS1.wav,5,10,grekis\nS1.wav,5,9,grekis\n", {}, [["S1.wav", 5.0, 9.0, "grekis"]]),
        ("filename,minute,label\nS3.wav,0,grekis\n", {"target_s": 60.0}, []),
    ],
)
def test_labels_of_whole_windows_are_no_events(
    root: Path, import_from: Import, table: str, rules: dict[str, float], timed: list[object]
) -> None:
    """They say that something calls in a window, and nothing of when."""
    write_wav(root / "train_soundscapes" / "S3.wav", np.zeros(60 * RATE_HZ, np.float32))
    imported = import_from({"t.csv": table}, **rules)
    assert imported.timed.to_numpy().tolist() == timed
    assert "events that are whole windows, whose times are not kept: 1" in imported.notes


def test_what_predict_wrote_comes_back_as_events(root: Path, import_from: Import) -> None:
    """To the millisecond, each once though three tables hold it; its score is not kept."""
    heard = [Heard(1.2, 1.9, "grekis", 0.9), Heard(1.5, 7.25, "1139490", 0.6)]
    texts = dict(zip(TRACK_SUFFIXES, tracks(heard, (50.0, 4000.0)).values(), strict=True))
    files = {f"S1{suffix}": text for suffix, text in texts.items()}
    imported = import_from(files | {"events.csv": predicted_table([("S1.wav", heard)]).to_csv(index=False)})
    assert imported.timed.to_numpy().tolist() == [["S1.wav", 1.5, 7.25, "1139490"], ["S1.wav", 1.2, 1.9, "grekis"]]


def test_the_house_reads_the_events_that_are_written(root: Path, import_from: Import) -> None:
    imported = import_from({"S1.txt": "1\t2\tgrekis\n18\t25\tgrekis\n"})
    imported.timed.to_csv(root / "train_soundscapes_events.csv", index=False)
    files = LabelledFiles(list_audio(root, "train_soundscapes"), CLASSES, 5.0)
    events = read_soundscape_events(root / "train_soundscapes_events.csv", files, Notes())
    assert events[["start_s", "end_s"]].to_numpy().tolist() == [[1.0, 2.0], [18.0, 22.0]]
