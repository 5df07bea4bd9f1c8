from pathlib import Path

import pytest

from sed_model.core.errors import DataError
from sed_model.core.texts import nearest
from sed_model.data.tables import Problems, read_text_table


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    return path


def test_rows_carry_the_line_number_of_their_end_in_the_file(tmp_path: Path) -> None:
    table = read_text_table(write(tmp_path, b'a,b\n1,"two\nlines"\n\n3, 4 \n'), ["a"])
    assert table.index.to_list() == [3, 5]
    assert table["b"].to_list() == ["two\nlines", "4"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert list(read_text_table(write(tmp_path, b"\xef\xbb\xbfa\n1\n"), ["a"]).columns) == ["a"]


def test_text_in_another_encoding_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"byte 3 \(0xe9\) is not UTF-8"):
        read_text_table(write(tmp_path, b"a\nb\xe9c\n"), ["a"])


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "is empty"),
        (b"b\n1\n", "a: add the column"),
        (b"a,a\n1,2\n", "a: 2 times"),
        (b"a,b\n1\n", "line 2: 1 cells, but 2 columns"),
        (b"a,b\n1,2,3\n", "line 2: 3 cells, but 2 columns"),
        (b'a,b\n1,"2\n', "is not CSV"),
    ],
)
def test_malformed_tables_are_refused(tmp_path: Path, content: bytes, part: str) -> None:
    with pytest.raises(DataError, match=part):
        read_text_table(write(tmp_path, content), ["a"])


def test_a_missing_table_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.csv: cannot be read \(No such file"):
        read_text_table(tmp_path / "train.csv", ["a"])


def test_a_report_shows_twenty_lines_a_kind_and_counts_the_rest() -> None:
    problems = Problems()
    for number in range(25):
        problems.add("missing files", f"file {number}")
    problems.add("bad rows", "row 1")
    lines = problems.report().splitlines()
    assert lines[0] == "missing files (25):"
    assert lines[20:] == ["  file 19", "  and 5 more", "bad rows (1):", "  row 1"]


def test_the_nearest_known_value_is_offered() -> None:
    assert nearest("grekiss", ["grekis", "houspa"]) == " (did you mean grekis?)"
    assert nearest("zzz", ["grekis", "houspa"]) == ""
