"""The clips that a probe is fitted to: training recordings as a whole, and windows of labelled soundscapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sed_model.clips.embedding_cache import EmbeddingCache
from sed_model.config.sed_config import SedConfig
from sed_model.config.training import Stage
from sed_model.core.errors import DataError
from sed_model.data.recordings import DataFolder
from sed_model.data.splits import Split
from sed_model.data.targets import TargetBuilder, Truth
from sed_model.train.probe import Clips

Row = tuple[tuple[np.ndarray, np.ndarray], Truth[Any], str]
"""Means of embeddings and logits, what is true, and the group."""


def probe_clips(folder: DataFolder, split: Split, config: SedConfig, heard: EmbeddingCache) -> Clips:
    """The clips of the training part of a split. Secondary labels of recordings are left open.

    Recordings are grouped by recordist where every class has several, else each is its own group.

    Raises:
        DataError: no recording of the training part was heard.
    """
    rows = list(_recordings(folder, split, config, heard))
    if not rows:
        raise DataError(f"{folder.root}: none of its {len(split.train)} training recordings could be heard.")
    scapes = list(_soundscapes(folder, split, heard))
    features, truths, groups = zip(*rows, *scapes, strict=True)
    embeddings, logits = (np.stack(values) for values in zip(*features, strict=True))
    return Clips(
        embeddings,
        logits,
        np.stack([truth.targets for truth in truths]).astype(np.float32),
        np.stack([truth.mask for truth in truths]),
        groups,
        np.repeat([not scapes, True], [len(rows), len(scapes)]),
    )


def _recordings(folder: DataFolder, split: Split, config: SedConfig, heard: EmbeddingCache) -> Iterator[Row]:
    table, builder = folder.recordings.iloc[split.train], TargetBuilder(folder.classes)
    by_author = table.groupby("primary_label")["author"].nunique().min() > 1
    for one in table.to_dict("records"):
        if (features := heard.clip(one["path"], 0.0, np.inf)) is not None:
            labels = one["primary_label"], one["secondary_labels"], one["rating"]
            truth = builder.for_recording(*labels, Stage(secondary_weight=0.0), config.data)
            yield features, truth, one["author" if by_author else "path"]


def _soundscapes(folder: DataFolder, split: Split, heard: EmbeddingCache) -> Iterator[Row]:
    if folder.soundscape_labels is None or not split.soundscapes_train:
        return
    builder = TargetBuilder(folder.classes)
    table = folder.soundscape_labels
    for one in table[table["path"].isin(split.soundscapes_train)].to_dict("records"):
        if (features := heard.clip(one["path"], one["start_s"], one["end_s"])) is not None:
            yield features, builder.for_soundscape([one[name] for name in folder.classes]), one["path"]
