from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.config.sed_config import Data
from sed_model.core.errors import DataError
from sed_model.data.recordings import DataFolder, read_data_folder
from sed_model.data.splits import author_folds, split, unlabelled_soundscapes


def recordings(pairs: list[tuple[str, str]], ratings: list[float] | None = None) -> pd.DataFrame:
    """One row for each (label, author)."""
    frame = pd.DataFrame(pairs, columns=["primary_label", "author"])
    paths = [f"train_audio/{label}/{row}.ogg" for row, (label, _) in enumerate(pairs)]
    return frame.assign(path=paths, rating=ratings if ratings is not None else 0.0)


def folder(table: pd.DataFrame, labelled: pd.DataFrame | None = None, soundscapes: tuple[str, ...] = ()) -> DataFolder:
    return DataFolder(Path("data"), tuple(sorted(set(table["primary_label"]))), table, soundscapes, labelled, (), "0")


EVEN = [(label, f"{label}{author}") for label in "abc" for author in range(10) for _ in range(2)]


def test_folds_are_stratified() -> None:
    folds = author_folds(recordings(EVEN), 5, seed=0)
    counts = pd.crosstab([label for label, _ in EVEN], folds).to_numpy()
    assert counts.tolist() == [[4] * 5] * 3


def test_the_seed_decides_the_folds() -> None:
    table = recordings(EVEN)
    assert np.array_equal(author_folds(table, 5, seed=1), author_folds(table, 5, seed=1))
    assert not np.array_equal(author_folds(table, 5, seed=1), author_folds(table, 5, seed=2))


def test_the_author_of_a_class_without_others_stays_in_training() -> None:
    rare = [("rare", "a0"), ("rare", "a0")]
    folds = author_folds(recordings(EVEN + rare), 5, seed=0)
    authors = np.array([author for _, author in EVEN + rare])
    assert set(folds[authors == "a0"]) == {-1}
    assert (folds[authors != "a0"] >= 0).all()


def test_an_author_who_has_to_train_does_so_with_all_recordings() -> None:
    """By strata u and w share a fold, in which class c would go untrained: u stays in training, class a included."""
    table = recordings([("a", "u"), ("a", "y"), ("c", "u"), ("c", "w"), ("c", "w")])
    assert author_folds(table, 2, seed=0).tolist() == [-1, 1, -1, 0, 0]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("uvwxyz")), min_size=1, max_size=40),
    st.integers(2, 6),
    st.integers(0, 99),
)
def test_no_author_is_on_both_sides_and_no_class_goes_untrained(
    pairs: list[tuple[str, str]], n_folds: int, seed: int
) -> None:
    """Fault 10 of the reference: random folds put one recordist on both sides."""
    folds = author_folds(recordings(pairs), n_folds, seed)
    labels, authors = (np.array(column) for column in zip(*pairs, strict=True))
    assert ((folds >= -1) & (folds < n_folds)).all()
    for fold in range(n_folds):
        assert not set(authors[folds == fold]) & set(authors[folds != fold])
        assert set(labels[folds != fold]) == set(labels)


def test_a_split_by_folds_covers_all_recordings_once() -> None:
    parts = split(folder(recordings(EVEN)), Data(validation="folds", fold=2))
    assert parts.kind == "folds"
    assert sorted([*parts.train, *parts.validation]) == list(range(len(EVEN)))
    assert len(parts.validation) == 12


LABELLED = pd.DataFrame({"path": ["train_soundscapes/b.ogg"] * 2, "start_s": [0.0, 5.0], "end_s": [5.0, 10.0]})


@pytest.mark.parametrize(
    ("validation", "kind"), [("auto", "soundscapes"), ("soundscapes", "soundscapes"), ("folds", "folds")]
)
def test_auto_takes_the_labelled_soundscapes_when_they_are_there(validation: str, kind: str) -> None:
    settings = Data.model_validate({"validation": validation})
    assert split(folder(recordings(EVEN), LABELLED), settings).kind == kind


def test_auto_takes_folds_without_labelled_soundscapes() -> None:
    assert split(folder(recordings(EVEN)), Data()).kind == "folds"


def test_validating_on_soundscapes_trains_on_every_recording() -> None:
    parts = split(folder(recordings(EVEN), LABELLED), Data())
    assert parts.train.tolist() == list(range(len(EVEN)))
    assert len(parts.validation) == 0


def test_soundscapes_without_a_table_are_refused() -> None:
    with pytest.raises(DataError, match=r"train_soundscapes_labels\.csv, which is not there; add the table or set"):
        split(folder(recordings(EVEN)), Data(validation="soundscapes"))


def test_min_rating_thins_out_training_and_keeps_unrated_and_validation() -> None:
    ratings = [2.0 if row % 2 else 0.0 for row in range(len(EVEN))]
    data = folder(recordings(EVEN, ratings))
    whole = split(data, Data())
    thinned = split(data, Data(min_rating=3))
    assert thinned.train.tolist() == [row for row in whole.train if row % 2 == 0]
    assert thinned.validation.tolist() == whole.validation.tolist()


def test_a_rating_of_min_rating_is_enough() -> None:
    data = folder(recordings(EVEN, [3.0 if row % 2 else 2.5 for row in range(len(EVEN))]))
    whole, thinned = split(data, Data()), split(data, Data(min_rating=3))
    assert thinned.train.tolist() == [row for row in whole.train if row % 2]


def test_a_rating_that_empties_a_class_is_refused() -> None:
    ratings = [1.0 if label == "b" else 5.0 for label, _ in EVEN]
    with pytest.raises(DataError, match=r"min_rating=3 leaves 1 classes without training recordings \(b\)"):
        split(folder(recordings(EVEN, ratings)), Data(min_rating=3))


def test_a_fold_without_recordings_says_what_to_do(shared_data: Path) -> None:
    birds = read_data_folder(shared_data / "birds_mini")
    with pytest.raises(DataError, match=r"26 of 26 classes have a single author .* set data.validation=soundscapes"):
        split(birds, Data(validation="folds"))


def test_too_many_folds_for_the_authors_are_refused_with_a_number_that_works() -> None:
    few = folder(recordings([(label, f"{author}") for label in "ab" for author in range(3)]))
    with pytest.raises(DataError, match=r"lower data.n_folds to 3 and set data.fold below 3"):
        split(few, Data(n_folds=5, fold=4))
    assert len(split(few, Data(n_folds=3, fold=2)).validation) == 2


def test_labelled_soundscapes_are_not_offered_for_pseudo_labels() -> None:
    soundscapes = tuple(f"train_soundscapes/{name}.ogg" for name in "abc")
    assert unlabelled_soundscapes(folder(recordings(EVEN), LABELLED, soundscapes)) == (soundscapes[0], soundscapes[2])
    assert unlabelled_soundscapes(folder(recordings(EVEN), None, soundscapes)) == soundscapes


def test_real_folds_hold_every_class_on_both_sides(shared_data: Path) -> None:
    data = read_data_folder(shared_data / "esc10_mini")
    parts = split(data, Data(validation="folds"))
    table = data.recordings
    assert set(table["primary_label"].iloc[parts.validation]) == set(data.classes)
    assert not set(table["author"].iloc[parts.train]) & set(table["author"].iloc[parts.validation])
