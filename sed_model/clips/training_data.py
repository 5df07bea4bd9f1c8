"""A data folder opened for training: its tables, which rows train and validate, and the decoded audio."""

from __future__ import annotations

from dataclasses import dataclass

from sed_model.audio.cache import AudioCache, open_cache
from sed_model.clips.embeddings import EmbeddingSource
from sed_model.clips.pseudo_clips import PseudoLabels, PseudoSource
from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import ConfigError, DataError
from sed_model.data.leaks import check_sources
from sed_model.data.recordings import DataFolder
from sed_model.data.splits import Split, split
from sed_model.model.checkpoint import Lineage
from sed_model.teacher.description import ForeignModel


@dataclass(frozen=True)
class TrainingData:
    """A data folder opened for training: tables, split and decoded audio.

    A student has pseudo-labels, and who learns from a foreign model its embeddings.
    """

    folder: DataFolder
    split: Split
    cache: AudioCache
    pseudo: PseudoSource | None = None
    embeddings: EmbeddingSource | None = None
    heard_by: ForeignModel | None = None
    """Whose the embeddings are."""

    def foreign(self, config: SedConfig) -> tuple[ForeignModel, ...]:
        """The models of others that a training learns from."""
        of_labels = self.pseudo.labels.foreign if self.pseudo else ()
        of_frames = (self.heard_by,) if self.heard_by and self.teacher(config) else ()
        return tuple(dict.fromkeys((*of_labels, *of_frames)))

    def teacher(self, config: SedConfig) -> EmbeddingSource | None:
        """The embeddings, where the configuration asks for them."""
        return self.embeddings if config.distil.weight > 0 else None

    @property
    def bad_paths(self) -> frozenset[str]:
        return frozenset(bad.path for bad in self.cache.bad)


def n_training_recordings(folder: DataFolder, config: SedConfig) -> int:
    """Recordings that an epoch draws from, unreadable ones included.

    Raises:
        DataError: the folder cannot be split as the configuration says.
    """
    return len(split(folder, config.data).train)


def open_training_data(
    folder: DataFolder,
    config: SedConfig,
    progress: bool = True,
    pseudo: PseudoLabels | None = None,
    embeddings: EmbeddingSource | None = None,
    heard_by: ForeignModel | None = None,
) -> TrainingData:
    """Split the folder and decode what training and validation need (once; later calls map the decoded audio).

    Raises:
        DataError: a pseudo-labelled window is of a labelled soundscape.
        AudioError: files cannot be decoded, and `data.on_bad_audio` is "fail".
    """
    parts = split(folder, config.data)
    paths = list(folder.recordings["path"])
    if parts.kind == "soundscapes" and folder.soundscape_labels is not None:
        paths += sorted(folder.soundscape_labels["path"].unique())
    cache = open_cache(folder.root, paths, config.front_end.sample_rate_hz, config.data, progress)
    source = None if pseudo is None else open_pseudo_source(folder, pseudo, config, progress)
    return TrainingData(folder, parts, cache, source, embeddings, heard_by)


def open_pseudo_source(folder: DataFolder, pseudo: PseudoLabels, config: SedConfig, progress: bool) -> PseudoSource:
    """Decode the soundscapes of the pseudo-labels. Labelled ones validate: nothing may learn from them."""
    pseudo = pseudo.inside(folder.soundscapes_name)
    paths = set(pseudo.paths)
    labelled = paths & set(() if folder.soundscape_labels is None else folder.soundscape_labels["path"])
    missing = paths - set(folder.soundscapes)
    if labelled or missing:
        path, problem = (min(labelled), "is labelled") if labelled else (min(missing), "is not in the data folder")
        raise DataError(f"pseudo-labels: {path} {problem}; make the pseudo-labels again on this data.")
    rate = config.front_end.sample_rate_hz
    return PseudoSource(pseudo, open_cache(folder.root, sorted(paths), rate, config.data, progress))


def check_distil(weight: float, has_embeddings: bool) -> None:
    """Whether there is a teacher where one is asked for.

    Args:
        weight: `distil.weight`, or the highest that may be drawn.

    Raises:
        ConfigError: there is none.
    """
    if weight > 0 and not has_embeddings:
        raise ConfigError(
            f"distil.weight={weight:g}: needs the embeddings of a teacher; give a run of python -m trainables.probe by "
            "--teacher, or set distil.weight=0."
        )


def check_events(weight: float, folder: DataFolder) -> None:
    """Whether there are events where their times are asked for.

    Args:
        weight: `loss.strong_weight`, or the highest that may be drawn.

    Raises:
        ConfigError: there are none.
    """
    if weight > 0 and (folder.soundscape_events is None or folder.soundscape_labels is None):
        missing = "labels" if folder.soundscape_labels is None else "events"
        raise ConfigError(
            f"loss.strong_weight={weight:g}: needs labelled soundscapes and the times of their events, but "
            f"{folder.root} has no train_soundscapes_{missing}.csv; make it with python -m "
            "sed_model.import_annotations, or set loss.strong_weight=0."
        )


def check_leaks(data: TrainingData, parent: Lineage | None, name: str = "") -> None:
    """Whether the parent, and who made the pseudo-labels, were trained on nothing that validates here.

    Args:
        name: of the parent, for the message (default: that of its stage).

    Raises:
        CheckpointError: they were, or may have been; the message names the repair.
    """
    sources = [] if parent is None else [parent.as_source(name or f"the {parent.stage} model")]
    if data.pseudo is not None:
        sources += data.pseudo.labels.sources()
    check_sources(sources, data.split, data.folder)
