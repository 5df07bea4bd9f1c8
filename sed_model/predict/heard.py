"""Which models of an ensemble have trained on a labelled soundscape: only the others may judge it."""

from __future__ import annotations

from collections.abc import Sequence

from sed_model.core.errors import DataError
from sed_model.data.recordings import DataFolder
from sed_model.data.splits import split_soundscapes
from sed_model.model.checkpoint import LoadedModel
from sed_model.run_folder.split_record import SplitRecord, digest_of


def may_judge(data: DataFolder, members: Sequence[LoadedModel]) -> dict[str, tuple[bool, ...]]:
    """Labelled soundscapes by their paths -> whether each member did not train on them.

    Empty where no member trained on any: all may judge all.

    Raises:
        DataError: others were labelled when a member was trained, so that what it heard cannot be told.
    """
    splits = [one.lineage.split for one in members]
    if data.soundscape_labels is None or not any(one is not None and one.soundscape_folds for one in splits):
        return {}
    unheard = [not_heard(data, one) for one in splits]
    paths = sorted(set(data.soundscape_labels["path"]))
    return {path: tuple(own is None or path in own for own in unheard) for path in paths}


def not_heard(data: DataFolder, theirs: SplitRecord | None) -> set[str] | None:
    """Labelled soundscapes that a model did not train on; None: on none of them.

    Raises:
        DataError: others were labelled when it was trained.
    """
    if theirs is None or not theirs.soundscape_folds:
        return None
    n_labelled = 0 if data.soundscape_labels is None else data.soundscape_labels["path"].nunique()
    if theirs.soundscape_folds <= n_labelled:
        validating, _ = split_soundscapes(data, theirs.soundscape_folds, theirs.fold, theirs.split_seed)
        if digest_of("soundscapes", validating) == theirs.digest:
            return set(validating)
    raise DataError(
        f"{data.root}: other soundscapes were labelled when a model was trained on parts of them, so that which of "
        "these it has heard cannot be told; restore train_soundscapes_labels.csv, or train again."
    )
