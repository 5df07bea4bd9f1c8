"""What calls where, by a data folder's labels and by the pseudo-labels of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from sed_model.clips.pseudo_clips import PseudoLabels, read_pseudo_labels
from sed_model.core.errors import DataError
from sed_model.core.texts import counted, first_line
from sed_model.data.recordings import DataFolder
from sed_model.predict.heard import not_heard
from sed_model.predict.name_priors import Heard
from sed_model.predict.post_tuning import LabelledWindows
from sed_model.predict.prior_tuning import Evidence
from sed_model.predict.submission import stem_of
from sed_model.run_folder.folder import labels_of_part


def evidence_of(
    data: DataFolder, windows: LabelledWindows, stems: Sequence[str], ensemble: Path | None
) -> tuple[Evidence, str]:
    """What labels and pseudo-labels tell of places, and a line about the latter; unusable ones tell nothing.

    Args:
        stems: of the labelled soundscapes, in the order of `windows`.
        ensemble: folder of a run's pseudo-labels; None: there is no run.
    """
    pieces = np.split(windows.targets * windows.labelled[:, None], np.cumsum(windows.n_windows)[:-1])
    labelled = Heard(tuple(stems), np.stack([piece.max(axis=0, initial=0) for piece in pieces]).astype(np.float64))
    nobody = Heard((), np.zeros((0, len(data.classes))))
    try:
        sets = [] if ensemble is None else _label_sets(ensemble, data)
        heard = [(_heard_in(one, frozenset(stems)), _unheard_stems(one, data)) for one in sets]
    except DataError as error:
        return Evidence(labelled, lambda own: nobody), f"places are known by labels alone: {first_line(error)}"
    if not heard:
        return Evidence(labelled, lambda own: nobody), "places are known by labels alone: there are no pseudo-labels"

    def pseudo(own: frozenset[str]) -> Heard:
        if not own:
            return heard[0][0]
        return next((known for known, unheard in heard if unheard is None or own <= unheard), nobody)

    n_files = counted(len(heard[0][0].stems), "soundscape")
    return Evidence(labelled, pseudo), f"places are known by labels, and by pseudo-labels of {n_files}"


def _label_sets(ensemble: Path, data: DataFolder) -> list[PseudoLabels]:
    """The labels by all members, then those for each part of the labelled soundscapes; none where none were kept."""
    if not any((ensemble / "pseudo_labels").glob("part-*.parquet")):
        return []
    parts = sorted(labels_of_part(ensemble).glob("*"))
    found = []
    for folder in [ensemble, *parts]:
        labels = read_pseudo_labels(folder)
        if labels.classes != data.classes:
            raise DataError(f"{folder}: its pseudo-labels have other classes than {data.root}; make them again.")
        found.append(labels)
    return found


def _unheard_stems(labels: PseudoLabels, data: DataFolder) -> frozenset[str] | None:
    """Labelled soundscapes that none of those who made the labels has trained on; None: they trained on none at all."""
    unheard: frozenset[str] | None = None
    for split in dict.fromkeys(labels.splits):
        paths = not_heard(data, split)
        if paths is not None:
            stems = frozenset(PurePosixPath(path).stem for path in paths)
            unheard = stems if unheard is None else unheard & stems
    return unheard


def _heard_in(labels: PseudoLabels, labelled: frozenset[str]) -> Heard:
    """Of each soundscape the highest probability of each class; not of labelled ones, of which the truth is known."""
    names = [stem_of(PurePosixPath(path).name) for path in labels.paths]
    place = {stem: number for number, stem in enumerate(sorted(set(names)))}
    present = np.zeros((len(place), len(labels.classes)))
    np.maximum.at(present, [place[stem] for stem in names], labels.probabilities)
    return Heard(tuple(place), present).without(labelled)
