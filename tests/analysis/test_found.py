"""The page about what was found, on tables as predict writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis import found
from analysis.found_page import found_page, read_found, summary_section
from sed_model.core.errors import DataError
from sed_model.predict.presence import PresenceWriter
from sed_model.run_folder.decisions import (
    ClassDecision,
    ClassHeldOut,
    DecidingMember,
    Decisions,
    HeldOut,
    Platt,
)

PLAIN = Platt(slope=1.0, intercept=0.0)
LABELS = ("NA", "<b>grekis</b>", "absent")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of two windows; of each the first class is in one, surely in the first file."""
    classes = tuple(
        ClassDecision(
            label=label, n_positive=3, platt=PLAIN, is_calibrated_alone=False, threshold=0.5,
            held_out=ClassHeldOut(precision=0.75, recall=None),
        )
        for label in LABELS
    )  # fmt: skip
    decisions = Decisions(
        precision=None, windows="soundscapes", n_windows=8, n_files=2, weights=None, threshold=0.5, classes=classes,
        members=(DecidingMember(weights_sha256="0", platt=PLAIN),),
        held_out=HeldOut(f1=0.62, f1_at_half=0.31, f1_unshrunk=0.6),
    )  # fmt: skip
    writer = PresenceWriter(tmp_path / "found", decisions, target_s=5.0)
    writer.add("H01_20250501_050000.ogg", np.array([0.0, 5.0]), np.array([[0.9, 0.6, 0.0], [0.1, 0.0, 0.0]]))
    writer.add("quiet.ogg", np.array([0.0, 5.0]), np.array([[0.7, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    writer.finish()
    return tmp_path / "found"


def test_the_summary_counts_and_says_how_sure_it_is(folder: Path) -> None:
    """Expected to be wrong: 0.1 + 0.4 + 0.3."""
    told = " ".join(summary_section(read_found(folder)).sentences)
    assert "2 of 3 classes were found, in 3 windows" in told
    assert "of 4 windows that were heard; about 1 of these are expected to be wrong" in told
    assert "1 name of soundscapes tell no date and time" in told
    assert "macro F1 of 0.62, and .5 of the scores as they are one of 0.31" in told


def test_a_class_may_be_called_na_or_be_markup(folder: Path) -> None:
    assert list(read_found(folder).detections["label"]) == ["NA", "<b>grekis</b>", "NA"]
    page = found_page(folder)
    assert "<td>NA</td>" in page
    assert "<b>grekis" not in page


def test_the_command_writes_one_page_that_loads_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found.main(["--decisions", str(folder)])
    page = (folder / "found.html").read_text()
    assert capsys.readouterr().out.startswith(f"{folder / 'found.html'} (")
    assert "default-src 'none'" in page
    for title in ("What was found", "Where", "When", "To listen to first"):
        assert title in page


def test_nothing_found_is_a_page_too(folder: Path, tmp_path: Path) -> None:
    writer = PresenceWriter(tmp_path / "nothing", read_found(folder).decisions, target_s=5.0)
    writer.add("quiet.ogg", np.array([0.0]), np.zeros((1, 3)))
    assert writer.finish() == 0
    assert "0 of 3 classes were found" in found_page(tmp_path / "nothing")
    files = (tmp_path / "nothing" / "files.csv").read_text().splitlines()
    assert files[1:] == ["quiet.ogg,,1,0,,"]  # it was listened to


def test_no_soundscape_read_is_a_page_too(folder: Path, tmp_path: Path) -> None:
    writer = PresenceWriter(tmp_path / "nothing", read_found(folder).decisions, target_s=5.0)
    writer.add_unreadable("broken.ogg", "0 bytes")
    writer.finish()
    assert "1 soundscape could not be read" in found_page(tmp_path / "nothing")


def test_a_missing_column_is_named(folder: Path) -> None:
    (folder / "sites.csv").write_text("site,label\n")
    with pytest.raises(DataError, match=r"sites\.csv: cannot be used \(it lacks n_windows, "):
        read_found(folder)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give a folder that predict --decisions has written"):
        found_page(tmp_path)
