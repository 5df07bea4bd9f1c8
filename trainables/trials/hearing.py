"""A data folder opened for a trial that may learn from labels, and from what a foreign model heard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sed_model.clips.embedding_cache import EmbeddingCache, open_embeddings
from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.clips.training_data import TrainingData, open_training_data
from sed_model.config.sed_config import Data, SedConfig
from sed_model.data.recordings import DataFolder
from sed_model.teacher.description import TeacherDescription, foreign_model


@dataclass(frozen=True)
class Hearing:
    """A foreign model that has heard the data: its description, and which of its logits are kept."""

    description: TeacherDescription
    columns: tuple[int, ...]

    def open(self, folder: DataFolder, settings: Data) -> EmbeddingCache:
        """What it heard in the recordings and soundscapes; what is not there yet is heard."""
        paths = (*folder.recordings["path"], *folder.soundscapes)
        return open_embeddings(folder.root, paths, self.description, settings, self.columns, progress=False)


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
    heard, heard_by = hearing.open(folder, config.data), foreign_model(hearing.description)
    return open_training_data(folder, config, False, pseudo, heard, heard_by)
