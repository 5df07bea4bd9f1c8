"""Whether a model that a training takes over from was trained on what validates that training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sed_model.core.errors import CheckpointError
from sed_model.data.recordings import DataFolder
from sed_model.data.splits import Split, author_folds, split_soundscapes
from sed_model.run_folder.split_record import Source, SplitRecord, digest_of


def check_sources(sources: Sequence[Source], ours: Split, data: DataFolder) -> None:
    """Whether nothing that validates here was learned from by a model that the training takes over from.

    Raises:
        CheckpointError: a source was, or may have been, trained on what validates here; the message names the repair.
    """
    problems = [problem for source in sources for problem in _leaks(source, ours, data)]
    if problems:
        raise CheckpointError("\n".join(dict.fromkeys(problems)))


def _leaks(source: Source, ours: Split, data: DataFolder) -> Iterator[str]:
    theirs = source.split
    if theirs is not None and theirs.digest == ours.record.digest:
        return
    if ours.kind == "soundscapes":
        yield from _soundscape_leaks(source, ours, data)
        return
    if theirs is None:
        yield (
            f"{source.name}: was made by a version that did not record what validated it, so it may have been trained "
            f"on what validates here ({ours.record}); train it again, or set data.validation=soundscapes where there "
            "are labelled ones."
        )
        return
    n_heard = heard(theirs, ours, data)
    if n_heard == 0:
        return
    can_be_had = n_heard is not None and (theirs.kind == "folds" or data.soundscape_labels is not None)
    count = f"{n_heard} of the {len(ours.validation)}" if n_heard is not None else "some of the"
    yield (
        f"{source.name}: was validated on {theirs}, and {ours.record} validates here: it was trained on {count} "
        f"recordings that validate here, so scores would be too good; "
        + (f"add {theirs.settings}, or train it again." if can_be_had else "train it again with the settings of here.")
    )


def _soundscape_leaks(source: Source, ours: Split, data: DataFolder) -> Iterator[str]:
    """Who heard labelled soundscapes: students made when other ones were labelled, and trainings on parts of them."""
    if source.pseudo_labelled not in (None, data.fingerprint):
        yield (
            f"{source.name}: learned from pseudo-labels of other data, perhaps of soundscapes that validate here; "
            "train it again on this data."
        )
    theirs = source.split
    if theirs is None or not theirs.soundscape_folds:
        return
    labelled = () if data.soundscape_labels is None else set(data.soundscape_labels["path"])
    if theirs.soundscape_folds <= len(labelled):
        validating, _ = split_soundscapes(data, theirs.soundscape_folds, theirs.fold, theirs.split_seed)
        not_heard = set(validating) if digest_of("soundscapes", validating) == theirs.digest else set()
        if set(ours.soundscapes_validation) <= not_heard:
            return
    yield (
        f"{source.name}: was validated on {theirs} and trained on the others, some of which validate here "
        f"({ours.record}), so scores would be too good; add {theirs.settings}, or train it again."
    )


def heard(theirs: SplitRecord, ours: Split, data: DataFolder) -> int | None:
    """How many recordings that validate by `ours` belong to the training part of `theirs`.

    None where that cannot be told: its files were not those of `data`.
    """
    if theirs.kind == "soundscapes":
        return len(ours.validation)
    validating = author_folds(data.recordings, theirs.n_folds, theirs.split_seed) == theirs.fold
    if digest_of("folds", data.recordings["path"][validating]) != theirs.digest:
        return None
    return int((~validating[ours.validation]).sum())
