"""Parts of the labelled soundscapes, each predicted by who has not heard it; and the mean of finalists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sed_model.core.errors import CheckpointError, DataError
from sed_model.run_folder.delivered import Delivered, Finalist, Member
from sed_model.run_folder.out_of_fold import joined, of_mean, score
from sed_model.run_folder.predictions import OutOfFold, write_predictions
from tests.windows import Windows


def test_parts_are_joined_by_file_and_time() -> None:
    def part(name: str, value: float) -> OutOfFold:
        return OutOfFold(("a",), ((name, 0.0, 5.0),), np.full((1, 1), value), np.full((1, 1), value))

    whole = joined([part("b.ogg", 0.25), part("a.ogg", 0.75)])
    assert whole.files == ["a.ogg", "b.ogg"]
    assert whole.probabilities.ravel().tolist() == [0.75, 0.25]
    assert whole.parts is not None
    assert whole.parts.tolist() == [1, 0]
    with pytest.raises(CheckpointError, match="hold the same window"):
        joined([part("a.ogg", 0.1), part("a.ogg", 0.2)])


def finalist(run: Path, trial_id: str, shown: tuple[float, float], is_delivered: bool = True) -> Finalist:
    """With two parts of a file each, and what is said of the one window of each."""
    members = []
    for part, probability in enumerate(shown):
        folder = run / "trials" / trial_id / f"part_{part}"
        window = Windows([f"{part}.ogg"], np.array([0.0]), np.array([5.0]), np.ones((1, 1), np.float32))
        write_predictions(folder / "oof.parquet", window, np.full((1, 1), probability, np.float32), ("a",))
        members.append(Member(folder=f"trials/{trial_id}/part_{part}", weights_sha256=""))
    facts = {"macro_auc": 0.5, "se": 0.1, "is_default": False, "lead": None}
    return Finalist(trial_id=trial_id, is_delivered=is_delivered, members=tuple(members), **facts)


def test_the_mean_is_of_the_delivered_finalists(tmp_path: Path) -> None:
    finalists = (
        finalist(tmp_path, "trial_0000", (0.25, 0.5)),
        finalist(tmp_path, "trial_0001", (0.75, 0.5)),
        finalist(tmp_path, "trial_0002", (0.0, 0.0), is_delivered=False),
    )
    delivered = Delivered(n_parts=2, n_files=2, finalists=finalists, macro_auc=0.5, score=0.5, se=0.1, lead=None)

    mean = of_mean(tmp_path, delivered)

    assert mean.files == ["0.ogg", "1.ogg"]
    assert mean.probabilities.ravel().tolist() == [0.5, 0.5]
    assert mean.parts is not None
    assert mean.parts.tolist() == [0, 1]


def test_windows_of_several_models_do_not_compare() -> None:
    """Within a part 1 of 1 and of 2 pairs are right, 2 of 3 in all; pairs across the parts would make it 4 of 6."""
    targets = np.array([[1.0], [0.0], [1.0], [0.0], [0.0]])
    probabilities = np.array([[0.9], [0.8], [0.2], [0.1], [0.3]])
    windows = tuple((f"{number}.ogg", 0.0, 5.0) for number in range(5))
    parts = np.array([0, 0, 1, 1, 1])

    assert score(OutOfFold(("a",), windows, targets, probabilities, parts)) == pytest.approx(2 / 3)
    assert score(OutOfFold(("a",), windows, targets, probabilities)) == pytest.approx(4 / 6)


def test_a_class_counts_where_a_part_has_both_kinds() -> None:
    """The second class has them in different parts alone."""
    targets = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    windows = tuple((f"{number}.ogg", 0.0, 5.0) for number in range(3))
    said = OutOfFold(("a", "b"), windows, targets, np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]), np.array([0, 0, 1]))

    assert score(said) == 1
    with pytest.raises(DataError, match="in no part of the labelled soundscapes has a class both"):
        score(replace(said, parts=np.arange(3)))
