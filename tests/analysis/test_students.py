import shutil
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from analysis.predictions import read_pseudo_labels
from analysis.students import label_counts, labels_place, mean_gain, related_run, teacher_and_student
from analysis.tables import RunFolderError, read_run
from tests.analysis.conftest import CLASSES, oof_rows, write_run, write_table

FLOATS = pa.list_(pa.float32())


@pytest.fixture
def student(tiny_run: Path) -> Path:
    """A student of tiny_run whose best trial, trial_0003, tells every class perfectly."""
    folder = write_run(tiny_run.parent / "tiny-student-1")
    write_table(
        folder / "trials" / "trial_0003" / "oof.parquet", oof_rows(0.0), CLASSES, target=FLOATS, probabilities=FLOATS
    )
    search = yaml.safe_load((folder / "search.yaml").read_text()) | {"teacher": str(tiny_run)}
    (folder / "search.yaml").write_text(yaml.safe_dump(search))
    return folder


def test_pseudo_labels_are_counted_by_class(tiny_run: Path) -> None:
    counts = label_counts(read_pseudo_labels(tiny_run)).set_index("label")

    # Two parts of three windows, each with both classes.
    assert counts["n_windows"].to_dict() == {"1139490": 6, "grekis": 6, "amecro": 0}
    assert counts["n_primary"].to_dict() == {"1139490": 6, "grekis": 0, "amecro": 0}
    assert counts.loc["1139490", "mean_confidence"] == pytest.approx(0.9)


def test_a_run_finds_its_student_and_a_student_its_teacher(tiny_run: Path, student: Path) -> None:
    assert related_run(read_run(tiny_run)) == (tiny_run, student)
    assert related_run(read_run(student)) == (tiny_run, student)


def test_a_teacher_that_was_moved_is_found_beside_the_student(tiny_run: Path, student: Path, tmp_path: Path) -> None:
    shutil.move(tiny_run.parent, tmp_path / "elsewhere")

    found = related_run(read_run(tmp_path / "elsewhere" / student.name))

    assert found == (tmp_path / "elsewhere" / "tiny", tmp_path / "elsewhere" / student.name)


def test_labels_are_those_that_the_student_learned_from(tiny_run: Path, student: Path) -> None:
    assert labels_place(tiny_run, None) == (tiny_run, "ensemble")
    assert labels_place(student, (tiny_run, student)) == (tiny_run, "ensemble")
    shutil.copytree(tiny_run / "ensemble", student / "taught")
    assert labels_place(student, (tiny_run, student)) == (student, "taught")
    assert len(read_pseudo_labels(student, "taught").table) == len(read_pseudo_labels(tiny_run).table)


def test_the_gain_of_a_perfect_student_is_what_its_teacher_lacked(tiny_run: Path, student: Path) -> None:
    changes = teacher_and_student(tiny_run, student, read_pseudo_labels(tiny_run))

    assert changes["student_auc"].tolist() == [1.0, 1.0, 1.0]
    assert changes["gain"].tolist() == pytest.approx((1 - changes["teacher_auc"]).tolist())
    assert mean_gain(changes) >= 0
    assert changes.set_index("label")["n_labels"].to_dict() == {"1139490": 6, "grekis": 6, "amecro": 0}


def test_runs_of_other_classes_are_not_compared(tiny_run: Path, student: Path) -> None:
    others = tuple(f"other_{name}" for name in CLASSES)
    write_table(
        student / "trials" / "trial_0003" / "oof.parquet", oof_rows(0.0), others, target=FLOATS, probabilities=FLOATS
    )

    with pytest.raises(RunFolderError, match="classes are not those of tiny"):
        teacher_and_student(tiny_run, student, None)
