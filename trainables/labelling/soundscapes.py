"""Which files an ensemble labels, and which of its members may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from sed_model.audio.audio_files import AUDIO_SUFFIXES, list_audio, name_in
from sed_model.core.errors import DataError
from sed_model.core.paths import is_folder
from sed_model.data.recordings import DataFolder
from sed_model.data.splits import split, unlabelled_soundscapes
from sed_model.data.tables import Problems
from sed_model.model.checkpoint import LoadedModel
from sed_model.predict.heard import may_judge
from sed_model.predict.submission import left_out_of
from trainables.labelling.candidates import EnsembleJob


@dataclass(frozen=True)
class Sources:
    """Files to label, by their names in `root`."""

    root: Path
    filenames: tuple[str, ...]
    from_validation: frozenset[str] = frozenset()
    """A member was validated on these."""
    may_label: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)
    """Recordings and labelled soundscapes, and which members did not train on them; all members may label others."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why files of the folder are not labelled -> how many."""


def find_sources(job: EnsembleJob, data: DataFolder, members: Sequence[LoadedModel]) -> Sources:
    """The files to label.

    Labelled soundscapes validate: they are left out unless that is allowed, and then marked. Recordings of the training
    data are labelled by members that did not train on them (out of fold), or left out.

    Raises:
        DataError: nothing is left, or recordings are to be labelled and the data has changed since the search.
    """
    unlabelled = [Path(path).name for path in unlabelled_soundscapes(data)]
    # By name, since a copy of a labelled soundscape is one too.
    labelled = {Path(path).name for path in data.soundscapes} - set(unlabelled)
    passed_over: dict[str, int] = {}
    if job.soundscapes is None:
        root, names = job.data_dir / data.soundscapes_name, unlabelled
    else:
        root = job.soundscapes
        names, passed_over = names_in(root, job.recursive)
        unwanted = {PurePosixPath(path).name for path in data.left_out}
        kept = [name for name in names if PurePosixPath(name).name not in unwanted]
        passed_over = {**passed_over, "left out by data.leave_out": len(names) - len(kept)}
        names = kept
    may_label = out_of_fold(root, names, data, members)
    not_heard = {PurePosixPath(path).name: allowed for path, allowed in may_judge(data, members).items()}
    may_label |= {name: not_heard[base] for name in names if (base := PurePosixPath(name).name) in not_heard}
    heard = {name for name, allowed in may_label.items() if not any(allowed)}
    validating = {name for name in names if PurePosixPath(name).name in labelled}
    kept_back = set() if job.allow_validation_soundscapes else validating
    filenames = [name for name in names if name not in kept_back | heard]
    left_out = {"labelled soundscapes, which validate": len(kept_back), "every member trained on them": len(heard)}
    left_out = {reason: count for reason, count in {**left_out, **passed_over}.items() if count}
    if not filenames:
        raise DataError(_nothing_left(root, left_out))
    validated = validating if any(one.lineage.validation == "soundscapes" for one in members) else set()
    from_validation = (validated | may_label.keys()).intersection(filenames)
    return Sources(
        root,
        tuple(filenames),
        frozenset(from_validation),
        not_heard | {name: may_label[name] for name in filenames if name in may_label},
        left_out,
    )


def names_in(folder: Path, recursive: bool = False) -> tuple[list[str], dict[str, int]]:
    """The audio files directly in the folder of --soundscapes, sorted, and why others are left out.

    With `recursive` those in folders below it, too, by their paths from it.

    Raises:
        DataError: one report: no folder, folders that cannot be read, links out of it, names that would break a table.
    """
    if not is_folder(folder):
        raise DataError(f"--soundscapes {folder}: no such folder; give a folder of audio files.")
    listing, problems = list_audio(folder.parent, folder.name), Problems()
    names = sorted(name_in(listing, path) for path in listing.sizes if recursive or path.count("/") == 1)
    problems.add_unreadable(listing.unreadable)
    for path in sorted(listing.outside):
        problems.add("paths that leave the folder", f"{path}: is a link out of the folder or to nowhere; copy it here")
    for name in names:
        if not name.isprintable():
            problems.add("unprintable file names", f"{name!r}: would break the table; rename the file")
    problems.raise_if_any(folder)
    return names, left_out_of(listing, recursive)


def out_of_fold(
    root: Path, names: Sequence[str], data: DataFolder, members: Sequence[LoadedModel]
) -> dict[str, tuple[bool, ...]]:
    """For those of the files that are recordings of the data folder: whether each member did not train on them."""
    recordings = (data.root / "train_audio").resolve()
    if not root.resolve().is_relative_to(recordings):
        return {}
    folder = PurePosixPath("train_audio", root.resolve().relative_to(recordings))
    row_of = {path: row for row, path in enumerate(data.recordings["path"])}
    rows = {name: row_of[path] for name in names if (path := f"{folder}/{name}") in row_of}
    if rows and any(one.lineage.data_fingerprint != data.fingerprint for one in members):
        raise DataError(
            f"{root}: holds recordings of the training data, which has changed since the search: what the members "
            "trained on cannot be told; restore the data, or give another folder."
        )
    parts = [split(data, one.config.data) for one in members]
    for one, part in zip(members, parts, strict=True):
        known = (
            one.lineage.validation == "soundscapes" if one.lineage.split is None else one.lineage.split == part.record
        )
        if rows and not known:
            raise DataError(
                f"{root}: holds recordings of the training data, and a member was made by a version that did not "
                "record, or drew otherwise, which of them it trained on; search again, or give another folder."
            )
    trained = [part.train for part in parts]
    return {name: tuple(not np.isin(row, rows_of) for rows_of in trained) for name, row in rows.items()}


def _nothing_left(root: Path, left_out: Mapping[str, int]) -> str:
    suffixes = ", ".join(sorted(AUDIO_SUFFIXES))
    if not left_out:
        return f"{root}: holds no unlabelled soundscape ({suffixes}); give another folder."
    reasons = "; ".join(f"{count} left out: {reason}" for reason, count in left_out.items())
    return (
        f"{root}: holds no unlabelled soundscape ({suffixes}): {reasons}; give another folder, or add "
        "--allow-validation-soundscapes to label those that validate, marked as such."
    )
