"""The score of a probe that a search learned from, told only where it compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sed_model.run_folder.delivered import DELIVERED_FILE, Delivered, Finalist, Member, write_delivered
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.line_to_beat import line_to_beat, teacher_folder
from tests.sed_model.run_folder.test_runs import row

SEARCH = {"space_name": "x", "data": {"folder": "data", "fingerprint": "abc", "split": {"kind": "soundscapes"}}}


@pytest.fixture
def probe(tmp_path: Path) -> RunFolder:
    """Two trials, validated on the files with the digest `one`; the better has 0.8125."""
    run = RunFolder(tmp_path / "probe")
    run.path.mkdir()
    run.write_search(SEARCH | {"probe": {"teacher": {}}})
    run.write_tables([row(0, "complete", 0.75) | {"split": "one"}, row(1, "complete", 0.8125) | {"split": "one"}], [])
    return run


def told(probe: RunFolder, *splits: str | None) -> str:
    return line_to_beat(probe.path.parent / "student", {"teacher": str(probe.path)}, splits)


def deliver(run: RunFolder, macro_auc: float) -> None:
    members = tuple(Member(folder=f"trials/trial_0001/part_{part}", weights_sha256="0") for part in range(2))
    common: dict[str, Any] = {"macro_auc": macro_auc, "score": macro_auc, "se": 0.01, "lead": None}
    one = Finalist(trial_id="trial_0001", is_default=False, is_delivered=True, members=members,
                   **common)  # fmt: skip
    write_delivered(run.path, Delivered(n_parts=2, n_files=8, finalists=(one,), **common))


def test_its_best_trial_is_the_line_where_it_delivers_no_mean(probe: RunFolder) -> None:
    line = "The line to beat: the teacher's probe has 0.8125 on the same soundscapes."
    assert told(probe, "one", "one", None) == line


def test_what_it_delivers_is_the_line_beside_what_learned_from_no_soundscape(probe: RunFolder) -> None:
    deliver(probe, 0.9)
    assert told(probe, "one") == (
        "The line to beat: the teacher's probe has 0.9000 on the same soundscapes, and 0.8125 where it learned from "
        "none of them."
    )


def test_recordings_that_validate_are_called_so(probe: RunFolder) -> None:
    data = SEARCH["data"] | {"split": {"kind": "folds"}}  # type: ignore[operator]
    probe.write_search(SEARCH | {"probe": {}, "data": data})
    assert "0.8125 on the same recordings" in told(probe, "one")


@pytest.mark.parametrize("splits", [("other",), ("one", "other")])
def test_another_split_does_not_compare(probe: RunFolder, splits: tuple[str, ...]) -> None:
    assert told(probe, *splits) == "The teacher's probe was validated on other files: its score is not comparable."


def test_nothing_is_said_of_other_teachers_and_of_trials_without_a_score(probe: RunFolder, tmp_path: Path) -> None:
    assert told(probe) == told(probe, None) == ""
    probe.write_search(SEARCH)
    assert told(probe, "one") == ""
    assert line_to_beat(tmp_path / "x", {}, ["one"]) == ""
    assert line_to_beat(tmp_path / "x", {"teacher": str(tmp_path / "gone")}, ["one"]) == ""


def test_a_damaged_probe_is_told(probe: RunFolder) -> None:
    (probe.path / DELIVERED_FILE).write_text("{", encoding="utf-8")
    assert told(probe, "one").startswith("The score of the teacher's probe cannot be read: ")


def test_a_teacher_that_was_moved_with_its_student_is_found(probe: RunFolder, tmp_path: Path) -> None:
    moved = {"teacher": f"/elsewhere/{probe.path.name}"}
    assert teacher_folder(tmp_path / "student", moved) == probe.path
    assert teacher_folder(tmp_path / "student", moved, "recordings.parquet") is None
