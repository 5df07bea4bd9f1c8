"""What classes are called, for a foreign model to know them by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sed_model.data.class_names import class_groups, class_names
from sed_model.data.recordings import read_data_folder
from sed_model.teacher.matching import ClassNames
from tests.tiny_data import PITCH_HZ, write_recordings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_recordings(tmp_path, np.random.default_rng(0), dict.fromkeys(PITCH_HZ, "grekis"))
    return tmp_path


def names(root: Path) -> tuple[ClassNames, ...]:
    return class_names(root, read_data_folder(root).classes)


def test_names_are_those_of_the_table_in_the_order_of_the_classes(root: Path) -> None:
    rows = ["grekis,Great Kiskadee,Pitangus sulphuratus", "1139490,A cricket,Gryllus", "abethr1,A thrush,Turdus"]
    (root / "taxonomy.csv").write_text("\n".join(["primary_label,common_name,scientific_name", *rows]) + "\n")
    assert names(root) == (
        ClassNames("grekis", "Pitangus sulphuratus", "Great Kiskadee"),
        ClassNames("1139490", "Gryllus", "A cricket"),
        ClassNames("abethr1", "Turdus", "A thrush"),
    )


def test_a_name_that_the_table_lacks_is_the_label(root: Path) -> None:
    assert names(root)[2] == ClassNames("grekis", "Avis grekis", "grekis")


def test_without_a_table_names_are_the_labels(root: Path) -> None:
    (root / "taxonomy.csv").unlink()
    assert names(root)[2] == ClassNames("grekis", "grekis", "grekis")


def test_classes_are_grouped_as_the_taxonomy_says(tmp_path: Path) -> None:
    assert class_groups(tmp_path, ("a", "b")) == {}
    (tmp_path / "taxonomy.csv").write_text("primary_label,class_name\nc,Insecta\na,Aves\nb,Insecta\nd,\nz,Reptilia\n")
    assert class_groups(tmp_path, ("b", "a", "c", "d")) == {"Aves": ("a",), "Insecta": ("b", "c")}
    (tmp_path / "taxonomy.csv").write_text("primary_label\na\n")
    assert class_groups(tmp_path, ("a",)) == {}
