"""Which training recordings a foreign model hears alike: rows of recordings.parquet."""

from __future__ import annotations

from typing import Any

import numpy as np

from sed_model.clips.embeddings import EmbeddingSource
from sed_model.data.recordings import DataFolder
from sed_model.run_folder.recordings_table import MAX_TEXT
from sed_model.scores.embedding_map import map_of
from sed_model.scores.neighbours import Labelled, alike


def recordings_alike(folder: DataFolder, heard: EmbeddingSource, seed: int) -> list[dict[str, Any]]:
    """A row of RECORDING_FIELDS for each training recording that was heard, by its mean embedding; see there."""
    means = [heard.mean(path, 0.0, np.inf) for path in folder.recordings["path"]]
    is_heard = [mean is not None for mean in means]
    if not any(is_heard):
        return []
    embeddings = np.stack([mean for mean in means if mean is not None])
    table = folder.recordings[is_heard]
    paths, labels, authors = (table[name].tolist() for name in ("path", "primary_label", "author"))
    found = alike(embeddings, Labelled(labels, authors, table["secondary_labels"].tolist()))
    places: list[list[float | None]] = [
        [None, None] if np.isnan(x) else [float(x), float(y)] for x, y in map_of(embeddings, seed)
    ]
    return [
        {
            "filename": path,
            "primary_label": label,
            "author": author[:MAX_TEXT],
            "x": x,
            "y": y,
            "neighbour": None if one.nearest is None else paths[one.nearest],
            "neighbour_label": None if one.nearest is None else labels[one.nearest],
            "similarity": one.similarity,
            "same_label_share": one.same_label_share,
            "suggested_label": one.suggested_label,
        }
        for path, label, author, (x, y), one in zip(paths, labels, authors, places, found, strict=True)
    ]
