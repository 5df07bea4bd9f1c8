"""What a window's truth is: targets, which classes count, and how much the window counts.

Every source of labels (recordings with ratings and secondary labels, labelled soundscapes, pseudo-labels) passes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sed_model.config.sed_config import Data
from sed_model.config.training import Stage
from sed_model.core.errors import DataError
from sed_model.core.texts import nearest
from sed_model.run_folder.metrics import POSITIVE_FROM

MAX_RATING = 5.0
UNRATED_WEIGHT = 0.6
"""Loss weight of a recording without a rating, where ratings weight the loss: that of three stars."""

ArrayT = TypeVar("ArrayT", NDArray[Any], Tensor)


@dataclass(frozen=True, eq=False)
class Truth(Generic[ArrayT]):
    """The truth of one window (numpy, as built here) or of a batch of windows (torch, as the losses take it).

    Attributes:
        targets: [.., classes] float32 in 0..1; 0 where the mask is False.
        mask: [.., classes] bool; False leaves the class out of this window's loss: nobody knows whether it is there.
        weights: [..] float32 >= 0; how much the window counts in the loss. It never scales the targets.
    """

    targets: ArrayT
    mask: ArrayT
    weights: ArrayT


def union(truths: Sequence[Truth[NDArray[Any]]]) -> Truth[NDArray[Any]]:
    """The truth of a window in which several sources sound at once.

    Targets are the largest of the sources. A class that one source leaves open stays open, unless another source has it
    as a positive: then it is there, whatever the first one holds. The weight is the mean of the sources' weights.

    Raises:
        DataError: there is nothing to join.
    """
    if not truths:
        raise DataError("union of 0 truths: a window needs at least one source; pass the truths of its sources.")
    sources = [np.stack(arrays) for arrays in zip(*((t.targets, t.mask, t.weights) for t in truths), strict=True)]
    targets, masks, weights = sources
    mask = np.asarray(masks.all(axis=0) | (masks & (targets >= POSITIVE_FROM)).any(axis=0))
    joined = np.where(mask, np.where(masks, targets, 0).max(axis=0), 0).astype(np.float32)
    return Truth(joined, mask, np.asarray(weights.mean(axis=0), dtype=np.float32))


class TargetBuilder:
    """Builds truths over a fixed order of classes."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._index = {name: position for position, name in enumerate(self.classes)}
        if len(self._index) != len(self.classes):
            repeated = sorted({name for name in self.classes if self.classes.count(name) > 1})
            raise DataError(f"classes {repeated} are listed more than once; list every class once.")

    def for_recording(
        self,
        primary_label: str,
        secondary_labels: Iterable[str],
        rating: float,
        stage: Stage,
        data: Data,
    ) -> Truth[NDArray[Any]]:
        """The truth of a crop of a recording.

        The primary label has target 1. `stage.secondary_weight` decides on the secondary ones: None counts them as
        absent, 0 leaves them out of the loss, anything else is their target. Secondary labels that are not among the
        classes are passed over. With `data.rating_weight` the weight is rating / 5, and 0.6 for unrated (0 or NaN).

        Raises:
            DataError: the primary label is not among the classes, or the rating is outside 0..5.
        """
        targets, mask = self._blank()
        weight = stage.secondary_weight
        if weight is not None:
            secondary = [self._index[name] for name in secondary_labels if name in self._index]
            targets[secondary] = weight
            mask[secondary] = weight > 0
        primary = self._class_index(primary_label)
        targets[primary], mask[primary] = 1.0, True
        return Truth(targets, mask, np.asarray(_rating_weight(rating, data), dtype=np.float32))

    def for_soundscape(self, labels: ArrayLike) -> Truth[NDArray[Any]]:
        """The truth of a labelled soundscape window: `labels` is a row of 0 and 1 in the order of the classes.

        Raises:
            DataError: the row has another length, or values outside 0..1.
        """
        targets, mask = self._row(labels, "soundscape labels"), self._blank()[1]
        return Truth(targets, mask, np.asarray(1.0, dtype=np.float32))

    def for_pseudo(self, probabilities: ArrayLike, confidence: float) -> Truth[NDArray[Any]]:
        """The truth of a pseudo-labelled window: soft targets, and `confidence` (0..1) as the weight of its loss.

        Raises:
            DataError: the row has another length, or the probabilities or the confidence are outside 0..1.
        """
        if not 0 <= confidence <= 1:
            raise DataError(f"confidence={confidence} of a pseudo-label is outside 0..1; make the pseudo-labels again.")
        targets, mask = self._row(probabilities, "pseudo-label probabilities"), self._blank()[1]
        return Truth(targets, mask, np.asarray(confidence, dtype=np.float32))

    def _blank(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return np.zeros(len(self.classes), dtype=np.float32), np.ones(len(self.classes), dtype=np.bool_)

    def _row(self, values: ArrayLike, what: str) -> NDArray[Any]:
        row = np.array(values, dtype=np.float32)
        if row.shape != (len(self.classes),):
            raise DataError(
                f"{what} have shape {row.shape}, but there are {len(self.classes)} classes; "
                "use the class order that the table was made with."
            )
        outside = ~((row >= 0) & (row <= 1))
        if outside.any():
            first = int(outside.argmax())
            raise DataError(f"{what}: {self.classes[first]} is {row[first]}, outside 0..1; repair the table.")
        return row

    def _class_index(self, label: str) -> int:
        if label not in self._index:
            near = nearest(label, self.classes)
            raise DataError(
                f"primary_label={label!r} is not among the {len(self.classes)} classes{near}; add it to taxonomy.csv."
            )
        return self._index[label]


def _rating_weight(rating: float, data: Data) -> float:
    if not data.rating_weight:
        return 1.0
    if np.isnan(rating) or rating == 0:
        return UNRATED_WEIGHT
    if not 0 < rating <= MAX_RATING:
        raise DataError(
            f"rating={rating:g} is outside 0..5 stars; repair it in train.csv, or set data.rating_weight=false."
        )
    return rating / MAX_RATING
