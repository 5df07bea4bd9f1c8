"""What a teacher heard, looked up once a run: trials take it from there."""

from __future__ import annotations

from dataclasses import replace

from sed_model.config.sed_config import Data
from sed_model.data.recordings import DataFolder
from trainables.labelling.embed import EmbedPlan, embed_files
from trainables.trials.hearing import Hearing, paths_to_hear


def heard_once(hearing: Hearing, folder: DataFolder, settings: Data) -> Hearing:
    """The teacher with the index of what it heard; what is missing is heard on all CPUs of a Ray that runs.

    Raises:
        ConfigError: the teacher's file is not the one that the probe heard with.
        UserError: as `embed_files`.
    """
    hearing.description.check_file(hearing.sha256)
    plan = EmbedPlan(folder.root, paths_to_hear(folder), hearing.description, hearing.columns, settings)
    return replace(hearing, index=embed_files(plan).index)
