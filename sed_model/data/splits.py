"""Which recordings and labelled soundscapes train and which validate."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from sed_model.config.sed_config import Data
from sed_model.core.errors import DataError, some
from sed_model.data.recordings import DataFolder
from sed_model.data.soundscape_parts import soundscape_parts
from sed_model.run_folder.split_record import SplitRecord, digest_of

ALWAYS_TRAINING = -1


@dataclass(frozen=True)
class Split:
    """Row indices into `DataFolder.recordings`, ascending."""

    kind: Literal["folds", "soundscapes"]
    train: np.ndarray
    validation: np.ndarray
    """Empty for "soundscapes": labelled soundscapes validate."""
    record: SplitRecord
    soundscapes_validation: tuple[str, ...] = ()
    """Labelled soundscapes that validate; empty for "folds"."""
    soundscapes_train: tuple[str, ...] = ()
    """Labelled soundscapes that train, see `data.soundscape_folds`."""


def author_folds(recordings: pd.DataFrame, n_folds: int, seed: int) -> np.ndarray:
    """The fold (0 to n_folds - 1) that each recording validates in; -1 stands for always in training.

    No author is in two folds, and classes are spread as evenly as that allows. An author without whom a class would be
    missing from the training part of some fold stays in training with all of their recordings, so that neither a class
    goes untrained nor a recordist is heard on both sides.

    Args:
        recordings: columns primary_label and author.
    """
    labels = recordings["primary_label"].to_numpy(dtype=object)
    authors = pd.factorize(recordings["author"])[0]
    folds = np.full(len(recordings), ALWAYS_TRAINING)
    n_authors = recordings.groupby("primary_label")["author"].transform("nunique").to_numpy()
    free = ~np.isin(authors, authors[n_authors == 1])
    if free.any():
        folds[free] = _grouped_folds(labels[free], authors[free], n_folds, seed)
    return _keep_every_class_in_training(folds, labels, authors)


def _grouped_folds(labels: np.ndarray, authors: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    n_folds = min(n_folds, len(np.unique(authors)))
    if n_folds < 2:
        return np.full(len(labels), ALWAYS_TRAINING)
    # Half a second, which runs that validate on soundscapes can do without.
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    largest_class = int(pd.Series(labels).value_counts().max())
    splitter = (
        StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
        if largest_class >= n_folds
        else GroupKFold(n_folds, shuffle=True, random_state=seed)
    )
    folds = np.empty(len(labels), np.int64)
    with warnings.catch_warnings():
        # Classes with fewer recordings than folds are usual here, and harmless.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, validation) in enumerate(splitter.split(labels, labels, authors)):
            folds[validation] = fold
    return folds


def _keep_every_class_in_training(folds: np.ndarray, labels: np.ndarray, authors: np.ndarray) -> np.ndarray:
    """Move the smallest author of each class that lies in one single fold to training."""
    folds = folds.copy()
    recordings_of = np.bincount(authors)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if folds[rows[0]] == ALWAYS_TRAINING or np.any(folds[rows] != folds[rows[0]]):
            continue
        smallest = min(np.unique(authors[rows]), key=lambda author: recordings_of[author])
        folds[authors == smallest] = ALWAYS_TRAINING
    return folds


def validation_kind(data: DataFolder, settings: Data) -> Literal["folds", "soundscapes"]:
    """What validates: `auto` takes the labelled soundscapes where there are any."""
    if settings.validation == "auto":
        return "folds" if data.soundscape_labels is None else "soundscapes"
    return settings.validation


def split(data: DataFolder, settings: Data) -> Split:
    """Training and validation rows. `min_rating` thins out training alone, so that scores stay comparable.

    `split_seed` draws the folds: trainings with other seeds validate on the same recordings.

    Raises:
        DataError: soundscapes are asked for without a label table, the fold would be empty, or min_rating leaves a
            class without training recordings.
    """
    kind = validation_kind(data, settings)
    if kind == "soundscapes" and data.soundscape_labels is None:
        raise DataError(
            f"data.validation=soundscapes needs {data.root / 'train_soundscapes_labels.csv'}, which is not there; "
            "add the table or set data.validation=folds."
        )
    ratings = data.recordings["rating"].to_numpy()
    good = (ratings == 0) | (ratings >= settings.min_rating)
    if kind == "soundscapes":
        everything = np.arange(len(data.recordings))
        _check_rating(data.recordings, everything, good, settings)
        validating, training = split_soundscapes(data, settings.soundscape_folds, settings.fold, settings.split_seed)
        record = _record("soundscapes", settings, digest_of("soundscapes", validating))
        return Split("soundscapes", np.flatnonzero(good), np.empty(0, np.int64), record, validating, training)
    folds = author_folds(data.recordings, settings.n_folds, settings.split_seed)
    if not np.any(folds == settings.fold):
        raise DataError(_empty_fold_message(data, settings, folds))
    training = folds != settings.fold
    _check_rating(data.recordings, np.flatnonzero(training), good, settings)
    record = _record("folds", settings, digest_of("folds", data.recordings["path"][~training]))
    return Split("folds", np.flatnonzero(training & good), np.flatnonzero(~training), record)


def split_soundscapes(data: DataFolder, n_parts: int, part: int, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labelled soundscapes that validate, and those that train: of `n_parts` parts all but one; 0: none trains.

    Raises:
        DataError: there are fewer labelled soundscapes than parts.
    """
    labelled = () if data.soundscape_labels is None else tuple(sorted(set(data.soundscape_labels["path"])))
    if n_parts == 0:
        return labelled, ()
    part_of = soundscape_parts(labelled, n_parts, seed)
    validating = tuple(path for path in labelled if part_of[path] == part)
    return validating, tuple(path for path in labelled if part_of[path] != part)


def _record(kind: Literal["folds", "soundscapes"], settings: Data, digest: str) -> SplitRecord:
    return SplitRecord(
        kind=kind,
        split_seed=settings.split_seed,
        fold=settings.fold,
        n_folds=settings.n_folds,
        digest=digest,
        soundscape_folds=settings.soundscape_folds if kind == "soundscapes" else 0,
    )


def _check_rating(recordings: pd.DataFrame, rows: np.ndarray, good: np.ndarray, settings: Data) -> None:
    labels = recordings["primary_label"].to_numpy(dtype=object)
    lost = sorted(set(labels[rows]) - set(labels[rows[good[rows]]]))
    if lost:
        raise DataError(
            f"data.min_rating={settings.min_rating:g} leaves {len(lost)} classes without training recordings "
            f"({some(lost)}); lower data.min_rating."
        )


def _empty_fold_message(data: DataFolder, settings: Data, folds: np.ndarray) -> str:
    n_authors = data.recordings.groupby("primary_label")["author"].nunique()
    lone = int((n_authors == 1).sum())
    used = len(set(folds.tolist()) - {ALWAYS_TRAINING})
    repair = (
        "set data.validation=soundscapes"
        if data.soundscape_labels is not None
        else "add recordings by other authors, or train_soundscapes_labels.csv"
    )
    if used:
        repair += f", or lower data.n_folds to {max(used, 2)} and set data.fold below {used}"
    return (
        f"data.fold={settings.fold} of data.n_folds={settings.n_folds} has no recordings to validate on: {lone} of "
        f"{len(n_authors)} classes have a single author and stay in training; {repair}."
    )


def unlabelled_soundscapes(data: DataFolder) -> tuple[str, ...]:
    """Soundscapes of which no window is labelled: the only ones that may be pseudo-labelled."""
    if data.soundscape_labels is None:
        return data.soundscapes
    labelled = set(data.soundscape_labels["path"])
    return tuple(path for path in data.soundscapes if path not in labelled)
