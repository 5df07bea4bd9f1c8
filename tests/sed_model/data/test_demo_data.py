import csv
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sed_model.core.errors import DataError
from sed_model.data.demo import write_demo_data
from sed_model.data.recordings import read_data_folder
from sed_model.data.soundscape_labels import read_soundscape_labels
from sed_model.data.splits import author_folds, unlabelled_soundscapes
from sed_model.demo_data import main

SMALL = {"recordings_per_class": 1, "soundscapes": 2, "labelled": 1, "test_soundscapes": 1}


def content(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_data(tmp_path_factory.mktemp("demo") / "small", **SMALL)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(small: Path, tmp_path: Path) -> None:
    same = content(write_demo_data(tmp_path / "same", **SMALL))
    other = content(write_demo_data(tmp_path / "other", seed=1, **SMALL))
    assert same == content(small)
    assert all(other[path] != digest for path, digest in same.items() if path.endswith(".flac") and path in other)


def test_an_identical_set_is_kept(small: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    assert write_demo_data(small, **SMALL) == small
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_a_set_with_other_settings_or_missing_files_is_replaced(tmp_path: Path) -> None:
    out = write_demo_data(tmp_path / "demo", **SMALL)
    first = content(out)
    (out / "train.csv").unlink()
    assert content(write_demo_data(out, **SMALL)) == first
    assert content(write_demo_data(out, **{**SMALL, "soundscapes": 1})) != first
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_folders_with_other_files_are_refused_and_left_alone(small: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="holds files that are not demo data; give another --out"):
        write_demo_data(tmp_path / "mine")
    mixed = write_demo_data(tmp_path / "mixed", **SMALL)
    (mixed / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"demo data and other files \(notes.txt\)"):
        write_demo_data(mixed, seed=1, **SMALL)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mixed"]


def test_the_command_names_every_count_out_of_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--out", str(tmp_path / "x"), "--recordings-per-class", "0", "--soundscapes", "1", "--labelled", "2"]
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert "recordings_per_class=0 is outside 1 to 1000" in printed
    assert "labelled=2 is outside 0 to 1" in printed
    assert not (tmp_path / "x").exists()


def test_the_tables_have_the_columns_of_birdclef(demo_folder: Path) -> None:
    with (demo_folder / "train.csv").open(newline="") as stream:
        header = next(csv.reader(stream))
    birdclef = "primary_label,secondary_labels,type,filename,collection,rating,url,latitude,longitude,"
    assert ",".join(header) == birdclef + "scientific_name,common_name,author,license"
    classes = read_data_folder(demo_folder).classes
    for name in ("sample_submission.csv", "train_soundscapes_labels.csv", "test_soundscapes_labels.csv"):
        assert tuple(pd.read_csv(demo_folder / name, nrows=0).columns) == ("row_id", *classes)


def test_some_soundscapes_are_labelled_and_every_class_is_heard_in_them(demo_folder: Path) -> None:
    data = read_data_folder(demo_folder)
    assert data.soundscape_labels is not None
    tests = read_soundscape_labels(
        demo_folder / "test_soundscapes_labels.csv", demo_folder / "test_soundscapes", data.classes, 5.0
    )
    assert len(unlabelled_soundscapes(data)) == 6
    for labels in (data.soundscape_labels, tests):
        assert len(labels) == 4 * 12
        positives = labels[list(data.classes)].sum()
        assert ((positives > 0) & (positives < 48)).all()


def test_every_species_has_several_authors_so_that_folds_work(demo_folder: Path) -> None:
    recordings = read_data_folder(demo_folder).recordings
    folds = author_folds(recordings, 5, seed=0)
    assert (folds >= 0).all()
    assert (pd.crosstab(recordings["primary_label"], folds) > 0).all(axis=None)


def test_recordings_are_short_and_loud_enough_and_soundscapes_last_a_minute(demo_folder: Path) -> None:
    assert sum(path.stat().st_size for path in demo_folder.rglob("*.flac")) < 30e6
    for path in demo_folder.glob("train_audio/*/*.flac"):
        wave, rate = soundfile.read(path)
        assert 3 <= len(wave) / rate <= 12
        assert 0.002 < np.abs(wave).max() <= 1
    for path in demo_folder.glob("*_soundscapes/*.flac"):
        wave, rate = soundfile.read(path)
        assert len(wave) == 60 * rate
        assert np.sqrt(np.mean(wave**2)) > 0.001
