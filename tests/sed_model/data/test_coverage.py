"""What the score covers, and scores that can never be defined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sed_model.core.errors import DataError
from sed_model.data.coverage import check_coverage, coverage
from sed_model.data.recordings import DataFolder
from sed_model.data.splits import Split
from sed_model.run_folder.split_record import SplitRecord

CLASSES = tuple("abcdef")
RECORD = SplitRecord(kind="soundscapes", split_seed=0, fold=0, n_folds=5, digest="")
SOUNDSCAPES = Split("soundscapes", np.arange(3), np.empty(0, np.int64), RECORD)


def folder(held: list[str], recorded: str = "abc", secondary: str = "d") -> DataFolder:
    """Recordings of some classes, and a labelled window for each text of `held`: the classes in it."""
    recordings = pd.DataFrame({"primary_label": list(recorded), "secondary_labels": [tuple(secondary)] * len(recorded)})
    windows = pd.DataFrame({"path": [f"train_soundscapes/{n // 2}.ogg" for n in range(len(held))], "start_s": 0.0})
    cells = pd.DataFrame([[float(name in text) for name in CLASSES] for text in held], columns=list(CLASSES))
    return DataFolder(Path("data"), CLASSES, recordings, (), pd.concat([windows, cells], axis=1), (), "")


def of(data: DataFolder, split: Split = SOUNDSCAPES) -> str:
    table = data.soundscape_labels
    assert table is not None
    covered = coverage(data, split, table[list(CLASSES)].to_numpy(np.float32), table["path"].to_list())
    check_coverage(covered, data, len(table))
    return str(covered)


def test_classes_scored_and_files_that_decide_are_counted() -> None:
    """a is in some windows, b in all of them; f in some, without any recording; d is a secondary label."""
    assert of(folder(["ab", "b", "bf", "b", "b"])) == (
        "the score covers 2 of 6 classes (3 soundscapes decide); 2 have no recording: e, f; "
        "1 occurs in soundscapes only: f; only data.soundscape_folds trains what soundscapes alone hold (finalists of "
        "a search do, from 8 labelled soundscapes on)"
    )


def test_where_soundscapes_train_they_are_no_repair() -> None:
    split = replace(SOUNDSCAPES, soundscapes_train=("train_soundscapes/1.ogg",))
    assert of(folder(["f", "b"]), split).endswith("1 occurs in soundscapes only: f")


def test_one_file_and_one_class_without_a_recording() -> None:
    assert of(folder(["a", ""], recorded="abcef")) == "the score covers 1 of 6 classes (1 soundscape decides)"
    assert of(folder(["a", ""], recorded="abce")).endswith("; 1 has no recording: f")


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (
            ["", "", ""],
            "of 3 validation windows of 2 soundscapes, none of them holds any class; mend the labels of data",
        ),
        (
            ["a", "a"],
            "of 2 validation windows of 1 soundscape, every one of them holds a, and no other class is in any",
        ),
    ],
)
def test_a_score_that_can_never_be_defined_is_refused_with_what_is_in_use(held: list[str], why: str) -> None:
    with pytest.raises(DataError, match="macro AUC can never be defined") as caught:
        of(folder(held))
    assert why in str(caught.value)
    assert str(caught.value).endswith("or set data.validation=folds to validate on recordings.")
    assert "n_folds" not in str(caught.value)


def test_a_fold_of_one_class_is_refused_with_the_folds() -> None:
    data, split = folder(["a", ""]), Split("folds", np.arange(2), np.array([2]), RECORD)
    covered = coverage(data, split, np.array([[1, 0, 0, 0, 0, 0]], np.float32), ["train_audio/x.ogg"])
    with pytest.raises(DataError, match=r"validate on recordings of more classes: set another data\.fold"):
        check_coverage(covered, data, 1)
    assert str(covered).startswith("the score covers 0 of 6 classes (1 recording decides)")
