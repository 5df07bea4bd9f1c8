"""What a data folder takes on this machine before its first trial."""

from __future__ import annotations

from pathlib import Path

from sed_model.audio.cache_build import SPARE_BYTES, CachePlan, estimated_bytes
from sed_model.config.sed_config import SedConfig
from sed_model.data.recordings import read_configured
from trainables.machine.advice import Finding, data
from trainables.machine.facts import Machine


def data_finding(root: Path, machine: Machine, config: SedConfig | None = None) -> Finding:
    """The room that its decoded audio takes: recordings and labelled soundscapes, as the default settings decode them.

    Raises:
        DataError: the folder cannot be used.
    """
    config = SedConfig() if config is None else config
    folder = read_configured(root, config.data)
    labels = folder.soundscape_labels
    paths = {*folder.recordings["path"], *(() if labels is None else labels["path"])}
    plan = CachePlan(root, tuple(sorted(paths)), config.front_end.sample_rate_hz, config.data.max_recording_s)
    place = next(place for place in machine.places if place.what == "audio cache")
    return data(len(paths), estimated_bytes(plan) + SPARE_BYTES, place)
