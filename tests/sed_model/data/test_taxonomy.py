from pathlib import Path

import pytest

from sed_model.core.errors import DataError
from sed_model.data.train_table import read_taxonomy


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "taxonomy.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_stay_text_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "primary_label,inat_taxon_id\ngrekis,1\n1139490,2\nnan,3\nNA,4\n007,5\n")
    assert read_taxonomy(path) == ("grekis", "1139490", "nan", "NA", "007")


def test_every_bad_label_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "primary_label,x\na,1\n,2\na,3\nrow_id,4\n")
    with pytest.raises(DataError) as caught:
        read_taxonomy(path)
    message = str(caught.value)
    assert "line 3: primary_label is empty" in message
    assert "line 4: a is in line 2 already" in message
    assert "line 5: row_id is the name of a table column" in message


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="list one class a row"):
        read_taxonomy(write(tmp_path, "primary_label\n"))
