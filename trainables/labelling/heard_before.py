"""What foreign models have heard of soundscapes to be labelled: their probes take it from the cache of embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from sed_model.audio.audio_files import content_digests
from sed_model.clips.embedding_build import entries_folder
from sed_model.clips.embedding_entry import entry_in, read_entry
from sed_model.model.checkpoint import LoadedModel
from sed_model.model.probe_model import HeardBefore, ProbeModel

Entries = Mapping[str, Path]
"""Folder of what was heard, by the `ProbeModel.key` of the probes that it is for."""


NOTHING_HEARD: Entries = MappingProxyType({})


def entries_of(members: Sequence[LoadedModel]) -> Entries:
    """Where what the members' foreign models have heard would lie, by the files that they were fitted to."""
    folders: dict[str, Path] = {}
    for one in members:
        if isinstance(one.model, ProbeModel) and one.lineage.foreign:
            settings, sha256 = one.config.data, one.lineage.foreign[0].sha256
            folder = entries_folder(settings, one.model.description, sha256, one.model.columns.tolist())
            folders[one.model.key] = folder
    return folders


def digests_of(entries: Entries, root: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Of what the files hold, by name; of none where there is nothing to look up."""
    if not any(folder.is_dir() for folder in entries.values()):
        return {}
    return dict(zip(names, content_digests(root, names), strict=True))


def remember(members: Sequence[LoadedModel], entries: Entries, digest: bytes | None) -> None:
    """Tell the probes what has been heard of the recording that they score next; the rest they hear themselves."""
    for one in members:
        if isinstance(model := one.model, ProbeModel):
            folder = entries.get(model.key)
            model.before = None if folder is None or digest is None else _before(entry_in(folder, digest), model)


def _before(path: Path, model: ProbeModel) -> HeardBefore | None:
    """Of the whole windows; None where nothing is there, or nothing of use."""
    try:
        entry = read_entry(path)
    except ValueError:
        return None
    features = np.concatenate([entry.embeddings, entry.logits], axis=1).astype(np.float32)
    if features.shape[1] != model.weight.shape[1]:
        return None
    is_whole = entry.ends_s - entry.starts_s > model.description.window_s - 1 / model.description.sample_rate_hz
    return HeardBefore(entry.starts_s[is_whole], features[is_whole])
