"""Hears recordings in a process of its own, to be killed: CACHE ROOT DESCRIPTION (as JSON)."""

from __future__ import annotations

import sys
from pathlib import Path

from sed_model.config.sed_config import Data
from sed_model.teacher.description import TeacherDescription
from trainables.labelling.embed import EmbedPlan, embed_files


def main(cache: str, root: str, description: str) -> None:
    paths = tuple(sorted(path.name for path in Path(root).iterdir()))
    teacher = TeacherDescription.model_validate_json(description)
    print(len(embed_files(EmbedPlan(Path(root), paths, teacher, (0,), Data(cache_dir=Path(cache))))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
