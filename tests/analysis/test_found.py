"""The page about what was found, on tables as predict writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from analysis import found
from analysis.found_page import (
    N_CLIPS,
    classes_section,
    found_page,
    read_found,
    summary_section,
    surest_clips,
    surest_windows,
)
from sed_model.core.errors import ConfigError, DataError
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


def test_a_name_without_a_site_is_no_site(folder: Path) -> None:
    """NA was found at H01 and in quiet.ogg, grekis at H01."""
    (table,) = classes_section(read_found(folder)).tables
    sites = table.columns.index("sites")
    assert [row[sites] for row in table.rows] == ["1", "1", "0"]


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


def detections(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """Label, filename, probability."""
    return pd.DataFrame(rows, columns=["label", "filename", "probability"])


def test_the_surest_windows_of_a_class_are_of_different_files() -> None:
    chosen = surest_windows(
        detections(("a", "x", 0.9), ("a", "x", 0.8), ("a", "y", 0.6), ("a", "z", 0.7), ("a", "w", 0.5), ("b", "x", 0.3))
    )
    assert chosen[["label", "filename", "probability"]].to_numpy().tolist() == [
        ["a", "x", 0.9],
        ["a", "z", 0.7],
        ["a", "y", 0.6],
        ["b", "x", 0.3],
    ]


def test_where_windows_are_too_many_each_class_has_its_surest_first() -> None:
    many = detections(("a", "x", 0.9), ("a", "y", 0.8), ("b", "x", 0.3), ("c", "x", 0.2))
    assert surest_windows(many, n_most=3)["label"].tolist() == ["a", "b", "c"]
    classes = detections(*((f"class {number}", "x", 0.5) for number in range(2 * N_CLIPS)))
    assert len(surest_windows(classes)) == N_CLIPS


@pytest.fixture
def soundscapes(folder: Path) -> Path:
    """One of the two files of `folder`, 12 s of noise."""
    place = folder.parent / "soundscapes"
    place.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 12 * 32_000)
    sf.write(place / "H01_20250501_050000.ogg", noise, 32_000)
    return place


def test_the_surest_windows_are_played_and_what_cannot_be_is_told(folder: Path, soundscapes: Path) -> None:
    """NA was found in both files, grekis in the first: three windows, of which that in quiet.ogg has no sound."""
    found.main(["--decisions", str(folder), "--soundscapes", str(soundscapes)])
    page = (folder / "found.html").read_text()
    assert page.count('src="data:audio/mpeg;base64,') == page.count("<img alt") == 2
    assert "NA: probability 0.90, threshold 0.50." in page
    assert "NA: probability 0.70, threshold 0.50. Cannot be played: there is no such file." in page
    assert "<b>grekis" not in page
    assert "://" not in page[: page.index("<script>")]
    assert "1 of these 3 windows cannot be played" in page


def test_a_sound_and_its_picture_are_no_larger_than_the_page_promises(tmp_path: Path) -> None:
    """Noise is what MP3 and PNG cannot shorten; a window of a minute is cut."""
    sf.write(tmp_path / "noise.wav", np.random.default_rng(0).normal(0, 0.2, 60 * 48_000), 48_000)
    window = {
        "label": "a",
        "filename": "noise.wav",
        "start_s": 0.0,
        "end_s": 60.0,
        "probability": 1.0,
        "threshold": 0.5,
    }
    (clip,) = surest_clips(pd.DataFrame([window]), tmp_path)
    assert clip.title == "noise.wav, 0 to 10 s"
    assert 100_000 < len(clip.picture_uri) + len(clip.sound_uri) < 250_000


def test_a_file_outside_the_soundscapes_is_not_read(folder: Path, soundscapes: Path) -> None:
    sf.write(folder.parent / "secret.wav", np.ones(32_000) / 2, 32_000)
    table = pd.read_csv(folder / "detections.csv", keep_default_na=False)
    table.loc[table["label"] == "NA", "filename"] = ["../secret.wav", "<img src=x onerror=alert(1)>.ogg"]
    table.to_csv(folder / "detections.csv", index=False)
    page = found_page(folder, soundscapes)
    assert page.count('src="data:audio/mpeg;base64,') == 1
    assert "it lies outside the data folder" in page
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;.ogg, 0 to 5 s" in page


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent", "is no folder; give the one that predict was given"), ("found", "none of the windows can be played")],
)
def test_a_folder_without_the_soundscapes_is_refused(folder: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        found_page(folder, folder.parent / name)
