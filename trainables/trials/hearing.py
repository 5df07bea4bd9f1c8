"""A data folder opened for a trial that may learn from labels, and from what a foreign model heard."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sed_model.clips.embedding_cache import EmbeddingCache, open_embeddings
from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.clips.training_data import TrainingData, open_training_data
from sed_model.config.sed_config import Data, SedConfig
from sed_model.core.errors import DataError
from sed_model.data.recordings import DataFolder
from sed_model.teacher.description import ForeignModel, TeacherDescription, foreign_model


@dataclass(frozen=True)
class Hearing:
    """A foreign model that has heard the data.

    Attributes:
        columns: of its logits, those that are kept.
        sha256: of the file that has heard.
        index: of what it heard, once that was looked up; trials open it, and neither read the model's file nor look
            through its cache. None: not yet.
    """

    description: TeacherDescription
    columns: tuple[int, ...]
    sha256: str
    index: Path | None = None

    @property
    def foreign(self) -> ForeignModel:
        return foreign_model(self.description, self.sha256)

    def open(self, folder: DataFolder, settings: Data) -> EmbeddingCache:
        """What it heard in the recordings and soundscapes; what this machine has not is heard."""
        if self.index is not None and self.index.is_file():
            with suppress(DataError):  # damaged since: it is written again
                return EmbeddingCache(self.index)
        paths = paths_to_hear(folder)
        return open_embeddings(folder.root, paths, self.description, settings, self.columns, progress=False)


def paths_to_hear(folder: DataFolder) -> tuple[str, ...]:
    """All recordings and soundscapes, relative to the data folder."""
    return (*folder.recordings["path"], *folder.soundscapes)


def opened(folder: DataFolder, config: SedConfig, labels: Path | None, hearing: Hearing | None) -> TrainingData:
    """The training data of a trial; embeddings only where the configuration asks for them.

    Args:
        labels: folder of the ensemble whose pseudo-labels it learns from.

    Raises:
        UserError: of the kind of what cannot be used.
    """
    pseudo = None if labels is None else read_pseudo_labels(labels)
    if hearing is None or config.distil.weight == 0:
        return open_training_data(folder, config, progress=False, pseudo=pseudo)
    return open_training_data(folder, config, False, pseudo, hearing.open(folder, config.data), hearing.foreign)
