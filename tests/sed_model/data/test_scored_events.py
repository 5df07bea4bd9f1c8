"""Detections and true events in tables of any format are joined; what cannot be scored is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sed_model.core.errors import DataError
from sed_model.core.label_tracks import Event, tracks
from sed_model.data.scored_events import ScoredEvents, read_scored_events

Read = Callable[..., ScoredEvents]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The events of two folders of tables, by the names of these."""

    def call(
        events: dict[str, str], truth: dict[str, str], label_column: str | None = None, taxonomy: str = ""
    ) -> ScoredEvents:
        for side, tables in (("events", events), ("truth", truth)):
            for name, text in tables.items():
                (tmp_path / side / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / side / name).write_text(text)
        data = None
        if taxonomy:
            data = tmp_path
            (data / "taxonomy.csv").write_text(taxonomy)
        return read_scored_events([tmp_path / "events"], [tmp_path / "truth"], label_column, data=data)

    return call


def rows(scored: ScoredEvents, side: str = "truth") -> list[list[object]]:
    return getattr(scored, side).to_numpy().tolist()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("S1.txt", "1.5\t2.5\twren\n"),
        ("S1.wav.labels.txt", "1.5\t2.5\twren\n"),
        ("S1.Table.1.selections.txt", "Selection\tBegin Time (s)\tEnd Time (s)\tLabel\n1\t1.5\t2.5\twren\n"),
        ("any.csv", "filename,start,end,label\nS1.ogg,1.5,2.5,wren\n"),
        ("any.csv", "filename,onset_s,offset_s,label,score\nsite/S1.ogg,1.5,2.5,wren,0.9\n"),
        ("s1.txt", "1.5\t2.5\twren\n"),
    ],
)
def test_tables_of_every_format_are_about_the_same_file(name: str, text: str, read: Read) -> None:
    scored = read({name: text}, {"S1.txt": "1\t2\twren\n"})
    assert rows(scored, "detected") == [["S1", "wren", 1.5, 2.5]]
    assert rows(scored) == [["S1", "wren", 1.0, 2.0]]
    assert (scored.files, scored.classes, scored.notes, bool(scored.left_out)) == (("S1",), ("wren",), (), False)


def test_of_a_folder_that_predict_wrote_events_csv_alone_is_read(read: Read) -> None:
    written = tracks([Event(1.0, 2.0, "wren", 0.9)], (50.0, 8000.0))
    events = {f"S1{suffix}": text for suffix, text in written.items()}
    csv = "filename,onset_s,offset_s,label,score\nS1.ogg,1.0,2.0,wren,0.9\nS2.ogg,1.0,2.0,wren,0.9\n"
    scored = read(events | {"events.csv": csv}, {"S1.txt": "1\t2\twren\n", "S2.txt": ""})
    assert len(scored.detected) == 2
    assert scored.notes[0] == "folders with events.csv, of which nothing else was read: 1"


def test_rows_of_two_views_and_the_same_events_in_two_formats_count_once(read: Read) -> None:
    written = tracks([Event(1.0, 2.0, "wren", 0.9)], (50.0, 8000.0))
    scored = read({f"S1{suffix}": text for suffix, text in written.items()}, {"S1.txt": "1\t2\twren\n1\t2\twren\n"})
    assert (len(scored.truth), len(scored.detected)) == (1, 1)
    assert [note.partition(" of the same")[0] for note in scored.notes] == ["detections", "events"]


def test_detections_in_files_that_the_truth_does_not_name_are_left_out_and_told(read: Read) -> None:
    scored = read({"Site_A.txt": "1\t2\twren\n", "S1.txt": ""}, {"S1.txt": "1\t2\twren\n", "Site_B.txt": ""})
    assert scored.detected.empty
    assert scored.left_out.report() == (
        "files that the truth does not name (1):\n  Site_A (did you mean Site_B?): 1 detection"
    )


def test_an_empty_table_and_a_nocall_say_that_a_file_has_no_event(read: Read) -> None:
    detected = {"S1.txt": "1\t2\twren\n", "S2.txt": "1\t2\twren\n"}
    scored = read(detected, {"S1.txt": "", "any.csv": "filename,start,end,label\nS2.ogg,0,60,nocall\n"})
    assert scored.files == ("S1", "S2")
    assert (len(scored.truth), len(scored.detected)) == (0, 2)
    assert "files without an event, whose detections are all false: 2" in scored.notes


def test_events_without_length_label_or_order_are_left_out_and_told(read: Read) -> None:
    truth = "1\t2\twren\n3\t3\tpoint\n5\t4\twren\n6\t7\t\n"
    scored = read({"S1.txt": "1\t2\twren\n4\t4\twren\n"}, {"S1.txt": truth})
    assert (len(scored.truth), len(scored.detected)) == (1, 1)
    assert [line for line in scored.left_out.report().splitlines() if not line.startswith(" ")] == [
        "detections without a length (1):",
        "events without a length (1):",
        "events that end before they begin (1):",
        "events without a label (1):",
    ]
    assert scored.notes == ("classes with nothing but what is left out, not in the mean: 1",)


def test_classes_are_matched_as_in_submissions_and_cells_may_hold_several(read: Read) -> None:
    scored = read({"S1.txt": "1\t2\t1234\n1\t2\tcaf\u00e9\n"}, {"S1.txt": "1\t2\t1234.0;cafe\u0301\n"})
    assert scored.classes == ("1234", "caf\u00e9")
    assert rows(scored) == rows(scored, "detected")


TAXONOMY = (
    "primary_label,scientific_name,common_name\n"
    "eurwre1,Troglodytes troglodytes,Eurasian Wren\ngretit1,Parus major,Great Tit\n1,Larus,Gull\n2,Larus,Gull\n"
)


def test_names_of_a_taxonomy_are_its_labels_and_what_matched_is_told(read: Read) -> None:
    truth = "1\t2\tEurasian wren\n3\t4\tParus major;eurwre1\n5\t6\tOwl\n5\t6\tGreat Tits\n"
    scored = read({"S1.txt": "1\t2\teurwre1\n3\t4\tGreat_Tit\n"}, {"S1.txt": truth}, taxonomy=TAXONOMY)
    assert [row[1:3] for row in rows(scored)] == [
        ["Great Tits", 5.0], ["Owl", 5.0], ["eurwre1", 1.0], ["eurwre1", 3.0], ["gretit1", 3.0]
    ]  # fmt: skip
    assert {row[1] for row in rows(scored, "detected")} == {"eurwre1", "gretit1"}
    assert scored.notes == (
        "labels that are a scientific or common name of taxonomy.csv: 3",
        "classes without a detection, whose events are all missed: 2",
        "labels read as: Great_Tit = gretit1 (1), Eurasian wren = eurwre1 (1), Parus major = gretit1 (1)",
        "labels not in taxonomy.csv, scored as classes of their own: Owl (1), Great Tits (did you mean Great Tit?) (1)",
    )


def test_a_name_that_two_classes_share_means_none_of_them(read: Read) -> None:
    scored = read({"S1.txt": "1\t2\t1\n"}, {"S1.txt": "1\t2\tGull\n"}, taxonomy=TAXONOMY)
    assert scored.classes == ("1", "Gull")


def test_a_data_folder_without_a_taxonomy_is_refused(read: Read, tmp_path: Path) -> None:
    read({"S1.txt": "1\t2\twren\n"}, {"S1.txt": "1\t2\twren\n"})
    with pytest.raises(DataError, match=r"taxonomy\.csv"):
        read_scored_events([tmp_path / "events"], [tmp_path / "truth"], data=tmp_path)


def test_what_one_side_alone_has_is_counted(read: Read) -> None:
    scored = read({"S1.txt": "1\t2\towl\n"}, {"S1.txt": "1\t2\twren\n", "S2.txt": "1\t2\twren\n"})
    assert scored.notes == (
        "files without a detection, whose events are all missed: 1",
        "classes without a detection, whose events are all missed: 1",
        "classes without an event, whose detections are all false: 1",
    )


def test_files_of_one_name_in_two_folders_are_refused(read: Read) -> None:
    csv = "filename,onset_s,offset_s,label\nA/S1.ogg,1,2,wren\nB/S1.ogg,1,2,wren\n"
    with pytest.raises(DataError, match=r"names that several files have \(1\):\n  s1: in A and B"):
        read({"events.csv": csv}, {"S1.txt": "1\t2\twren\n"})


def test_the_column_of_the_classes_is_asked_of_the_tables_that_have_it(read: Read) -> None:
    birdnet = "Selection\tBegin Time (s)\tEnd Time (s)\tCommon Name\tSpecies Code\n1\t1\t2\tWren\twinwre\n"
    truth = {"S1.txt": "1\t2\twinwre\n"}
    with pytest.raises(DataError, match="name one with --label-column"):
        read({"S1.BirdNET.selection.table.txt": birdnet}, truth)
    assert read({}, truth, "Species Code").classes == ("winwre",)


def test_a_column_that_no_table_has_is_refused(read: Read) -> None:
    with pytest.raises(DataError, match="--label-column Species: no table has this column"):
        read({"S1.txt": ""}, {"S1.txt": "1\t2\twren\n"}, "Species")


def test_minutes_are_no_events(read: Read) -> None:
    with pytest.raises(DataError, match="labels of whole minutes"):
        read({"S1.txt": ""}, {"any.csv": "filename,minute,label\nS1.ogg,0,wren\n"})


def test_a_truth_that_tells_of_no_file_is_refused(read: Read) -> None:
    with pytest.raises(DataError, match="tells of no file"):
        read({"S1.txt": "1\t2\twren\n"}, {"any.csv": "filename,start,end,label\n"})
