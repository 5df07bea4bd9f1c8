"""--tune-post: labelled train soundscapes alone, predictions once, settings in a file."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from sed_model.core.errors import CheckpointError, DataError
from sed_model.data.recordings import read_data_folder
from sed_model.predict.ensemble import load_ensemble
from sed_model.predict.postprocess import read_post
from sed_model.predict.tune_job import TuneJob, labelled_windows, refuse_test_soundscapes, tune_post


def test_settings_are_found_and_predictions_made_once(
    tiny_root: Path, tiny_models: Sequence[Path], tmp_path: Path
) -> None:
    ensemble, lines = load_ensemble(tiny_models), []
    job = TuneJob(tiny_root, tmp_path / "post.json", shift_s=0.25)
    first = tune_post(job, ensemble, lines.append)
    assert read_post(job.out) == first.settings.model_copy(update={"tta_shift_s": 0.25})
    assert first.n_parts == 6  # two soundscapes: two parts in each of three draws
    assert lines[0].startswith("2/2 files")
    assert "gain on soundscapes that had no part in the choice" in lines[2]

    again: list[str] = []
    assert tune_post(job, ensemble, again.append) == first
    assert again[0].startswith("predictions of 2 labelled soundscapes are there already")
    assert again[1:] == lines[1:]

    tune_post(TuneJob(tiny_root, tmp_path / "post.json", shift_s=0.5), ensemble, again.append)
    assert len(list(tmp_path.glob(".post-*.npz"))) == 1


def test_windows_are_those_of_the_table(tiny_root: Path, tiny_models: Sequence[Path]) -> None:
    windows, tasks = labelled_windows(read_data_folder(tiny_root, 1.0), load_ensemble(tiny_models))
    assert [task.path.name for task in tasks] == ["S0.wav", "S1.wav"]
    assert tasks[0].starts_s == (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    assert windows.n_windows == (6, 6)
    assert windows.targets[:2].tolist() == [[1, 0, 0], [0, 1, 0]]
    assert windows.labelled.all()


@pytest.mark.parametrize("how", ["table", "file", "copy"])
def test_test_soundscapes_are_refused(tiny_root: Path, tmp_path: Path, how: str) -> None:
    """By the test's table, by the name of a file, and as a copy under another name."""
    root = Path(shutil.copytree(tiny_root, tmp_path / "data"))
    (root / "test_soundscapes").mkdir()
    if how == "table":
        (root / "test_soundscapes_labels.csv").write_text("row_id,1139490,abethr1,grekis\nS1_1,0,0,0\n")
    elif how == "file":
        (root / "test_soundscapes" / "S1.ogg").touch()
    else:
        shutil.copy(root / "train_soundscapes" / "S1.wav", root / "test_soundscapes" / "T9.wav")
    with pytest.raises(DataError, match=r"labels 1 soundscapes of the test \(S1\)"):
        refuse_test_soundscapes(root, ["train_soundscapes/S0.wav", "train_soundscapes/S1.wav"])


def test_data_that_cannot_tune_is_refused(tiny_root: Path, tiny_models: Sequence[Path], tmp_path: Path) -> None:
    ensemble = load_ensemble(tiny_models)
    root = Path(shutil.copytree(tiny_root, tmp_path / "data"))
    (root / "taxonomy.csv").write_text("primary_label,scientific_name\ngrekis,a\nabethr1,b\n1139490,c\n")
    with pytest.raises(CheckpointError, match="its classes are not those of the models"):
        tune_post(TuneJob(root, tmp_path / "post.json"), ensemble)
    (root / "train_soundscapes_labels.csv").unlink()
    with pytest.raises(DataError, match=r"needs train_soundscapes_labels\.csv"):
        tune_post(TuneJob(root, tmp_path / "post.json"), ensemble)
    assert not (tmp_path / "post.json").exists()
