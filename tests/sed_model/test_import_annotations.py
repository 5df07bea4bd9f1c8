"""The command that imports annotations: what it says, where it writes, what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sed_model.core.errors import ConfigError, DataError
from sed_model.data.recordings import read_data_folder
from sed_model.import_annotations import main
from tests.tiny_data import PITCH_HZ, RATE_HZ, write_recordings, write_wav


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root, rng = tmp_path / "data", np.random.default_rng(0)
    write_recordings(root, rng, dict.fromkeys(PITCH_HZ, ""))
    write_wav(root / "train_soundscapes" / "S1.wav", np.zeros(20 * RATE_HZ, np.float32))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "S1.txt").write_text("1.0\t2.0\tgrekis\n1.5\t4.0\tgrekis\n6.0\t7.0\tgrekys\n")
    return root


def test_labels_are_written_where_the_data_folder_has_them(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--annotations", str(root.parent / "notes"), "--data", str(root), "--complete"])

    printed = capsys.readouterr().out
    assert "left out:\nlabels that are no class (1):\n  'grekys' (did you mean grekis?): 1 event\n" in printed
    assert "annotations  1 Audacity label track, of 1 soundscape; times are in seconds\n" in printed
    assert "events       1 of 1 classes, 3.0 s in all; 1 more were part of another" in printed
    assert "train_soundscapes_labels.csv: 4 windows of 5 s, 3 of them without a call\n" in printed
    assert f"search --space arch.yaml --data {root} --dry-run" in printed
    assert "train_soundscapes_events.csv: 1 event\n" in printed
    folder = read_data_folder(root)
    assert folder.soundscape_labels is not None
    assert folder.soundscape_labels["grekis"].tolist() == [1, 0, 0, 0]
    assert folder.soundscape_events is not None
    assert folder.soundscape_events.to_numpy().tolist() == [["train_soundscapes/S1.wav", 1.0, 4.0, "grekis"]]


def test_labels_that_are_there_are_not_overwritten(root: Path, tmp_path: Path) -> None:
    words = ["--annotations", str(root.parent / "notes"), "--data", str(root)]
    main(words)
    with pytest.raises(ConfigError, match=r"labels.csv: is there already; write to another --out FILE"):
        main([*words, "--complete"])
    main([*words, "--complete", "--out", str(tmp_path / "other.csv")])
    assert len(pd.read_csv(tmp_path / "other.csv")) == 4
    assert len(pd.read_csv(tmp_path / "other_events.csv")) == 1
    assert len(pd.read_csv(root / "train_soundscapes_labels.csv")) == 1


def test_events_that_are_there_are_not_overwritten(root: Path) -> None:
    (root / "train_soundscapes_events.csv").write_text("mine")
    with pytest.raises(ConfigError, match=r"events.csv: is there already"):
        main(["--annotations", str(root.parent / "notes"), "--data", str(root)])
    assert (root / "train_soundscapes_events.csv").read_text() == "mine"


def test_labels_of_whole_windows_leave_no_table_of_events(root: Path) -> None:
    (root.parent / "notes" / "S1.txt").write_text("5\t10\tgrekis\n")
    main(["--annotations", str(root.parent / "notes"), "--data", str(root)])
    assert not (root / "train_soundscapes_events.csv").exists()


def test_nothing_is_written_where_nothing_is_labelled(root: Path) -> None:
    (root.parent / "notes" / "S1.txt").write_text("1.0\t2.0\tgrekys\n")
    with pytest.raises(DataError, match="no window is labelled"):
        main(["--annotations", str(root.parent / "notes"), "--data", str(root)])
    assert not (root / "train_soundscapes_labels.csv").exists()


def test_a_folder_that_is_no_data_folder_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        main(["--annotations", str(root.parent / "notes"), "--data", str(tmp_path / "nowhere")])
