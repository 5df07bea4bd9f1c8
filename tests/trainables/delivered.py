"""What a search leaves that delivers finalists, without one: models with random weights for each part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sed_model.config.sed_config import SedConfig
from sed_model.data.recordings import DataFolder
from sed_model.data.splits import split
from sed_model.model.checkpoint import read_lineage
from sed_model.run_folder.delivered import Delivered, Finalist, Member, write_delivered
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.run_tables import trial_id
from tests.models import save_random_model


def write_delivered_run(
    folder: Path, base: SedConfig, data: DataFolder, n_parts: int = 2, numbers: tuple[int, ...] = (1, 0, 2)
) -> RunFolder:
    """A run with finalists of `n_parts`, the best first; trial_0002 is left out."""
    run = RunFolder(folder)
    run.write_search({"space_name": "tiny", "data": {"folder": str(data.root), "fingerprint": data.fingerprint}})
    flat = {f"config.{name}": value for name, value in base.flat().items()}
    rows = [{"trial_id": trial_id(n), "number": n, "status": "complete", "macro_auc": 0.5} for n in sorted(numbers)]
    run.write_tables([row | flat for row in rows], [])
    finalists = tuple(_finalist(run, base, data, number, n_parts) for number in numbers)
    scores: dict[str, Any] = {"macro_auc": 0.6, "score": 0.6, "se": 0.1, "lead": None}
    write_delivered(run.path, Delivered(n_parts=n_parts, n_files=n_parts, finalists=finalists, **scores))
    return run


def _finalist(run: RunFolder, base: SedConfig, data: DataFolder, number: int, n_parts: int) -> Finalist:
    seed = 100 * base.seed + number
    facts: dict[str, Any] = {"data_fingerprint": data.fingerprint, "classes": data.classes}
    facts["split"] = split(data, base.data).record
    save_random_model(run.trial(number), base, seed, metrics={"macro_auc": 0.5}, **facts)
    members = []
    for part in range(n_parts):
        config = base.with_overrides({"data.soundscape_folds": n_parts, "data.fold": part})
        facts["split"] = split(data, config.data).record
        of_part = save_random_model(
            run.refit(number, True, part), config, seed + 10 * part, metrics={"macro_auc": 0.5}, **facts
        )
        place = of_part.relative_to(run.path).as_posix()
        members.append(Member(folder=place, weights_sha256=read_lineage(of_part).weights_sha256))
    scores: dict[str, Any] = {"macro_auc": 0.5, "se": 0.1, "is_default": number == 0, "lead": None}
    return Finalist(trial_id=trial_id(number), is_delivered=number != 2, members=tuple(members), **scores)
