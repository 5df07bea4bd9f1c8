"""What labels and pseudo-labels tell of places, and that a site is told of by nobody who has heard its labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sed_model.config.sed_config import SedConfig
from sed_model.data.recordings import DataFolder, read_data_folder
from sed_model.data.splits import split
from sed_model.labels.rules import to_arrow
from sed_model.predict.place_evidence import evidence_of
from sed_model.predict.post_tuning import LabelledWindows
from sed_model.run_folder.folder import labels_of_part
from sed_model.run_folder.split_record import SplitRecord

STEMS = ("S0", "S1")
OWN = {stem: frozenset([stem]) for stem in STEMS}
TARGETS = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
WINDOWS = LabelledWindows((2, 2), TARGETS, np.array([True, False, True, True]))


@pytest.fixture(scope="module")
def data(tiny_root: Path) -> DataFolder:
    return read_data_folder(tiny_root, 1.0)


def write_labels(folder: Path, data: DataFolder, highest: float, splits: list[SplitRecord]) -> None:
    """Pseudo-labels of two windows of U0 and one of a labelled soundscape, by models that these validated."""
    rows = [("U0.wav", 0, highest), ("U0.wav", 1, highest / 2), ("S0.wav", 0, 0.9)]
    table = pd.DataFrame(
        {
            "filename": [name for name, *_ in rows], "start_s": [start for _, start, _ in rows],
            "end_s": [start + 1 for _, start, _ in rows], "primary_label": data.classes[0], "confidence": 0.8,
            "labels": [[data.classes[0]]] * 3, "from_validation": False, "disagreement": 0.1, "weight": 1.0,
            "probabilities": [np.array([top, 0.1, 0], np.float32) for *_, top in rows],
        }
    )  # fmt: skip
    (folder / "pseudo_labels").mkdir(parents=True)
    pq.write_table(to_arrow(table, data.classes, len(splits)), folder / "pseudo_labels" / "part-00000.parquet")
    members = [{"weights_sha256": str(number), "validation": one.model_dump()} for number, one in enumerate(splits)]
    (folder / "members.json").write_text(json.dumps({"members": members}))


def part(data: DataFolder, config: SedConfig, fold: int) -> SplitRecord:
    return split(data, config.data.model_copy(update={"soundscape_folds": 2, "fold": fold})).record


def test_labels_tell_of_the_windows_that_have_some(data: DataFolder) -> None:
    evidence, told = evidence_of(data, WINDOWS, STEMS, None)
    assert evidence.labelled.present.tolist() == [[1, 0, 0], [1, 0, 1]]
    assert evidence.pseudo(OWN["S0"]).stems == evidence.pseudo(frozenset()).stems == ()
    assert told == "places are known by labels alone: there are no pseudo-labels"


def test_a_file_holds_a_class_as_surely_as_its_surest_window_and_labelled_files_are_left_out(
    data: DataFolder, tiny_config: SedConfig, tmp_path: Path
) -> None:
    """Models that labelled soundscapes validated, and trained on none, tell of every place."""
    write_labels(tmp_path, data, 0.8, [split(data, tiny_config.data).record])
    evidence, told = evidence_of(data, WINDOWS, STEMS, tmp_path)
    assert evidence.pseudo(frozenset()).stems == ("U0",)
    np.testing.assert_allclose(evidence.pseudo(OWN["S1"]).present, [[0.8, 0.1, 0]], rtol=1e-6)
    assert told == "places are known by labels, and by pseudo-labels of 1 soundscape"


def test_a_place_is_told_of_by_the_models_that_have_not_heard_its_labels(
    data: DataFolder, tiny_config: SedConfig, tmp_path: Path
) -> None:
    parts = [part(data, tiny_config, fold) for fold in (0, 1)]
    write_labels(tmp_path, data, 0.8, parts)
    unheard = {}
    for fold, record in enumerate(parts):
        write_labels(labels_of_part(tmp_path, fold), data, 0.5 + fold / 10, [record])
        config = tiny_config.data.model_copy(update={"soundscape_folds": 2, "fold": fold})
        (path,) = split(data, config).soundscapes_validation
        unheard[Path(path).stem] = 0.5 + fold / 10
    evidence, _ = evidence_of(data, WINDOWS, STEMS, tmp_path)
    for stem in STEMS:
        assert evidence.pseudo(OWN[stem]).present[0, 0] == pytest.approx(unheard[stem])
    assert evidence.pseudo(frozenset(STEMS)).stems == ()  # each model has heard one of the two
    assert evidence.pseudo(frozenset()).present[0, 0] == pytest.approx(0.8)


def test_pseudo_labels_that_cannot_be_used_are_told_and_tell_nothing(data: DataFolder, tmp_path: Path) -> None:
    (tmp_path / "pseudo_labels").mkdir()
    (tmp_path / "pseudo_labels" / "part-00000.parquet").write_bytes(b"x")
    evidence, told = evidence_of(data, WINDOWS, STEMS, tmp_path)
    assert evidence.pseudo(frozenset()).stems == ()
    assert told.startswith("places are known by labels alone: ")
    assert "is damaged" in told
