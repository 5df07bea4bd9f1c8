"""Annotations byte for byte as Raven, Audacity and spreadsheets write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.core.errors import DataError
from sed_model.core.label_tracks import Event, audacity_track, raven_table
from sed_model.data.annotation_formats import Annotation, ReadingRules, read_annotations
from sed_model.data.tables import Notes
from sed_model.predict.events import event_table
from tests.hostile import drawn, refusal

RAVEN = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies\r\n"
    "1\tWaveform 1\t1\t154.387792767\t154.911598217\t\t\tEATO\r\n"
    "1\tSpectrogram 1\t1\t154.387792767\t154.911598217\t2878.2\t4049.0\tEATO\r\n"
    "2\tSpectrogram 1\t1\t167.526598245\t168.173020051\t2731.9\t3902.7\t\r\n"
)
"""A selection is a row a view; the second one was given no species."""
RAVEN_FILES = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tBegin File\tBegin Path\t"
    "File Offset (s)\tAnnotation\n"
    "1\tSpectrogram 1\t1\t12.5\t14.0\t500.0\t4000.0\tS1.wav\tD:\\field\\S1.wav\t12.5\twren\n"
    "2\tSpectrogram 1\t1\t65.25\t66.0\t500.0\t4000.0\tS2.wav\tD:\\field\\S2.wav\t5.25\twren\n"
)
PLAIN = ReadingRules()
AUDACITY = (
    '2.150000\t2.150000\tpoint\n3.400000\t6.100000\tregion "quoted\n\\\t-1.000000\t6334.588867\n7.000000\t8.000000\t\n'
)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., tuple[str, list[tuple[str, float, float, str, int]]]]:
    """Format and rows of a file with this content."""

    def call(
        content: str | bytes, name: str = "S1.txt", rules: ReadingRules = PLAIN, notes: Notes | None = None
    ) -> tuple[str, list[tuple[str, float, float, str, int]]]:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        table = read_annotations(path, rules, Notes() if notes is None else notes)
        return table.format, [(row.file, row.start_s, row.end_s, row.label, row.line) for row in table.rows]

    return call


def test_a_selection_table_of_one_file(read: Callable[..., tuple[str, list]]) -> None:
    assert read(RAVEN) == (
        "Raven selection table",
        [
            ("", 154.387793, 154.911598, "EATO", 2),
            ("", 154.387793, 154.911598, "EATO", 3),
            ("", 167.526598, 168.17302, "", 4),
        ],
    )


def test_times_in_a_selection_table_of_several_files_are_those_in_the_file(read: Callable[..., tuple]) -> None:
    assert read(RAVEN_FILES)[1] == [("S1.wav", 12.5, 14.0, "wren", 2), ("S2.wav", 5.25, 6.0, "wren", 3)]


def test_several_files_without_their_offsets_are_refused(read: Callable[..., tuple]) -> None:
    lines = [line.split("\t") for line in RAVEN_FILES.splitlines()]
    text = "".join("\t".join([*line[:9], line[10]]) + "\n" for line in lines)
    with pytest.raises(DataError, match=r"counts from the start of the first of them; add the measurement File Offset"):
        read(text)


def test_a_label_track_has_points_frequencies_quotes_and_labels_without_text(read: Callable[..., tuple]) -> None:
    assert read(AUDACITY) == (
        "Audacity label track",
        [("", 2.15, 2.15, "point", 1), ("", 3.4, 6.1, 'region "quoted', 2), ("", 7.0, 8.0, "", 4)],
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_windows_line_ends_and_byte_order_marks_change_nothing(read: Callable[..., tuple], encoding: str) -> None:
    assert read(AUDACITY.replace("\n", "\r\n").encode(encoding)) == read(AUDACITY)
    assert read(RAVEN.encode(encoding)) == read(RAVEN)


def test_decimal_commas_are_read_and_counted(read: Callable[..., tuple]) -> None:
    notes = Notes()
    assert read("1,500000\t2,250000\twren\n", notes=notes)[1] == [("", 1.5, 2.25, "wren", 1)]
    assert notes.lines() == ("times with a decimal comma: 2",)


@pytest.mark.parametrize("content", ["", "\n", "\ufeff", "\r\n\r\n"])
def test_a_track_without_labels_was_listened_to_and_holds_nothing(read: Callable[..., tuple], content: str) -> None:
    assert read(content) == ("Audacity label track", [])


def test_a_selection_table_may_have_no_rows(read: Callable[..., tuple]) -> None:
    assert read(RAVEN.partition("\r\n")[0] + "\r\n") == ("Raven selection table", [])


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("filename,start,end,label", "S1.wav,00:01:05,70,wren"),
        ("filename;start;end;primary_label", "S1.wav;65,0;70;wren"),
        ("File,Start (s),End (s),Species", '"C:\\field\\S1.wav",65,70.0,wren'),
        ("filename,onset_s,offset_s,label,score", "site/S1.wav,65.0,70.0,wren,0.9"),
    ],
)
def test_a_table_of_starts_and_ends(read: Callable[..., tuple], header: str, row: str) -> None:
    expected = ("start-and-end table", [("S1.wav", 65.0, 70.0, "wren", 2)])
    assert read(f"{header}\r\n{row}\r\n", "table.csv") == expected


def test_a_table_of_minutes(read: Callable[..., tuple]) -> None:
    text = "filename,minute,label\nS1.wav,0,wren\nS1.wav,2,robin\n"
    assert read(text, "minutes.csv") == (
        "minute table",
        [("S1.wav", 0.0, 60.0, "wren", 2), ("S1.wav", 120.0, 180.0, "robin", 3)],
    )


def test_minutes_that_may_be_counted_from_0_or_1_are_asked_for(read: Callable[..., tuple]) -> None:
    text = "filename,minute,label\nS1.wav,1,wren\n"
    with pytest.raises(DataError, match="add --first-minute 0 or 1"):
        read(text, "minutes.csv")
    assert read(text, "minutes.csv", ReadingRules(first_minute=1))[1][0][1:3] == (0.0, 60.0)
    assert read(text, "minutes.csv", ReadingRules(first_minute=0))[1][0][1:3] == (60.0, 120.0)


def test_the_column_of_the_classes_is_asked_for_where_several_may_be_it(read: Callable[..., tuple]) -> None:
    text = "Begin Time (s)\tEnd Time (s)\tCommon Name\tSpecies Code\n1\t2\tWren\twren\n"
    with pytest.raises(DataError, match="may hold the class: Common Name, Species Code; name one with --label-column"):
        read(text)
    assert read(text, rules=ReadingRules("Species Code"))[1] == [("", 1.0, 2.0, "wren", 2)]
    with pytest.raises(DataError, match=r"--label-column \(did you mean Species Code\?\)"):
        read(text, rules=ReadingRules("species kode"))


def test_every_problem_of_a_table_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("filename,start,end,label\n,1,2,wren\nS1.wav,one,2,wren\nS1.wav,1,nan,wren\n")
    message = refusal(lambda: read_annotations(path, ReadingRules(), Notes()), kind=DataError)
    for part in (
        "line 2: name the audio file",
        "line 3, start: 'one'",
        "line 4, end: 'nan'; write seconds or hh:mm:ss",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"filename,start,label\nS1.wav,1,wren\n", "end: add it, in seconds"),
        ("a.csv", b'filename,start,end,label\n"S1.wav,1,2,wren\n', "is not CSV"),
        ("a.csv", b"filename,start,end,label\nS1.wav,1,2,wren,3\n", "5 cells, but 4 columns"),
        ("a.csv", b"filename,minute,label\nS1.wav,0.5,wren\n", "'0.5' is no whole number"),
        ("a.txt", b"1.0\t2.0\twren\n1.0 2.0 wren\n", "line 2: '1.0 2.0 wren'; write start, end and label with tabs"),
        ("a.txt", b"1.0\t1e999\twren\n", "line 1"),
        ("a.txt", b"1.0\t2.0\tw\xe9\n", "is not UTF-8"),
        ("a.txt", b"1.0\t2.0\tw\0\n", "NUL"),
        ("a.txt", b"my notes of May\n", "no column that holds the class among: my notes of May"),
    ],
)
def test_what_is_no_table_of_annotations_is_refused(tmp_path: Path, name: str, content: bytes, part: str) -> None:
    (tmp_path / name).write_bytes(content)
    refusal(lambda: read_annotations(tmp_path / name, ReadingRules(first_minute=0), Notes()), part, kind=DataError)


LABELS = st.text("aNé鳥1.,;|'\"=-+\\/", min_size=1, max_size=8)
EVENTS = st.lists(
    st.builds(
        lambda start_ms, length_ms, label: Event(start_ms / 1000, (start_ms + length_ms) / 1000, label, 0.5),
        st.integers(0, 3_600_000),
        st.integers(1, 60_000),
        LABELS,
    ),
    max_size=8,
)


@drawn
@given(events=EVENTS)
def test_events_that_predict_wrote_come_back_without_loss(tmp_path: Path, events: list[Event]) -> None:
    written = {
        "S1.labels.txt": audacity_track(events),
        "S1.selections.txt": raven_table(events, 50.0, 14_000.0),
        "events.csv": event_table([("S1.wav", events)]).to_csv(index=False),
    }
    for name, text in written.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        rows = read_annotations(tmp_path / name, ReadingRules(), Notes()).rows
        read = [(row.start_s, row.end_s, row.label) for row in rows]
        assert read == [(event.onset_s, event.offset_s, event.label) for event in events]
        assert {row.file for row in rows} <= {"S1.wav" if name == "events.csv" else ""}


@drawn
@given(content=st.one_of(st.binary(max_size=60), st.text('1.\t\\,;"\nab-', max_size=60).map(str.encode)))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("a.txt", "a.csv", "a.tsv"):
        (tmp_path / name).write_bytes(content)
        try:
            rows = read_annotations(tmp_path / name, ReadingRules(first_minute=0), Notes()).rows
        except DataError:
            continue
        assert all(isinstance(row, Annotation) for row in rows)
