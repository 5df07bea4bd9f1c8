"""An ensemble before Ray: which trials are its members, which soundscapes it labels, and by which rules."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sed_model.audio_files import AUDIO_SUFFIXES
from sed_model.checkpoint import Lineage, load_model, read_lineage
from sed_model.config import Inference, SedConfig
from sed_model.errors import CheckpointError, ConfigError, DataError
from sed_model.recordings import DataFolder, read_data_folder
from sed_model.splits import unlabelled_soundscapes
from trainables.runs import RunFolder, best_trials

OVERRIDABLE = ("inference.", "pseudo.", "data.on_bad_audio")
"""What may be set anew for an ensemble; the rest belongs to the models."""


@dataclass(frozen=True)
class EnsembleJob:
    """What to label with what. `soundscapes` None: the unlabelled ones of the data folder.

    `overrides` replaces rules of the members' configuration (OVERRIDABLE).
    """

    run_dir: Path
    data_dir: Path
    out: Path
    soundscapes: Path | None = None
    top_k: int = 5
    method: str = "mean"
    workers: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """A trial in the ensemble; all members have equal weight."""

    trial_id: str
    weight: float
    macro_auc: float
    stage: str
    weights_sha256: str


@dataclass(frozen=True)
class PredictionRules:
    """What decides a prediction: the members' and the soundscapes' folders, how members are joined; where it goes."""

    members: tuple[Path, ...]
    root: Path
    method: str
    inference: Inference
    parts: Path


@dataclass(frozen=True)
class EnsemblePlan:
    """An ensemble whose input is right. `config` has the rules that make predictions into labels."""

    job: EnsembleJob
    members: tuple[Member, ...]
    classes: tuple[str, ...]
    config: SedConfig
    rules: PredictionRules
    filenames: tuple[str, ...]
    n_recordings: int


def plan_ensemble(job: EnsembleJob) -> EnsemblePlan:
    """Choose the members and list the soundscapes.

    Raises:
        ConfigError: an override is refused.
        DataError: there is nothing to label.
        CheckpointError: no trial has a model, a model is damaged, or the members do not fit together.
    """
    members, lineages = choose_members(job)
    folders = tuple(job.run_dir / "trials" / member.trial_id for member in members)
    # All of them, so that a damaged one is found here.
    configs = [load_model(folder).config for folder in folders]
    config = with_rules(configs[0], job.overrides)
    data = read_data_folder(job.data_dir, config.data.target_s)
    root, filenames = soundscape_files(job, data)
    parts = job.out / "predictions" / prediction_key(job, members, config, root, filenames)
    rules = PredictionRules(folders, root, job.method, config.inference, parts)
    return EnsemblePlan(job, tuple(members), lineages[0].classes, config, rules, tuple(filenames), len(data.recordings))


def with_rules(config: SedConfig, overrides: Mapping[str, Any]) -> SedConfig:
    """The first member's configuration with the rules of this ensemble.

    Raises:
        ConfigError: a key that decided the training, or a value that is refused.
    """
    foreign = [name for name in overrides if not name.startswith(OVERRIDABLE)]
    if foreign:
        raise ConfigError(
            f"--set {foreign[0]}: belongs to the trained models; what an ensemble can set begins with "
            f"{', '.join(OVERRIDABLE)}."
        )
    return config.with_overrides(overrides)


def choose_members(job: EnsembleJob) -> tuple[list[Member], list[Lineage]]:
    """The best trials; every one has to know the same classes and the same data."""
    run = RunFolder(job.run_dir)
    best = best_trials(run.read_trials(), job.top_k)
    if not best:
        raise CheckpointError(f"{run.path}: no trial with a model; run a search first.")
    lineages = [read_lineage(run.path / "trials" / row["trial_id"]) for row in best]
    for row, lineage in zip(best, lineages, strict=True):
        for name in ("classes", "data_fingerprint"):
            if getattr(lineage, name) != getattr(lineages[0], name):
                raise CheckpointError(f"{row['trial_id']}: its {name} differ from those of {best[0]['trial_id']}.")
        for name in ("config.front_end.sample_rate_hz", "config.data.target_s"):
            if row[name] != best[0][name]:
                raise CheckpointError(
                    f"{row['trial_id']}: its {name}={row[name]} differs from {best[0][name]} of {best[0]['trial_id']}; "
                    "an ensemble needs one; lower --top-k or fix the key in the search."
                )
    members = [
        Member(row["trial_id"], 1 / len(best), row["macro_auc"], lineage.stage, lineage.weights_sha256)
        for row, lineage in zip(best, lineages, strict=True)
    ]
    return members, lineages


def soundscape_files(job: EnsembleJob, data: DataFolder) -> tuple[Path, list[str]]:
    """The folder of the soundscapes and their names in it. Labelled ones are left out: they validate."""
    unlabelled = [Path(path).name for path in unlabelled_soundscapes(data)]
    if job.soundscapes is None:
        root, filenames = job.data_dir / "train_soundscapes", unlabelled
    else:
        root = job.soundscapes
        if not root.is_dir():
            raise DataError(f"--soundscapes {root}: no such folder; give a folder of audio files.")
        # By name, since a copy of a labelled soundscape is one too.
        labelled = {Path(path).name for path in data.soundscapes} - set(unlabelled)
        names = sorted(path.name for path in root.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())
        filenames = [name for name in names if name not in labelled]
        if len(filenames) < len(names):
            print(f"{len(names) - len(filenames)} labelled soundscapes are left out: they validate", flush=True)
    if not filenames:
        raise DataError(
            f"{root}: holds no unlabelled soundscape ({', '.join(sorted(AUDIO_SUFFIXES))}); give another folder."
        )
    return root, filenames


def prediction_key(
    job: EnsembleJob, members: Sequence[Member], config: SedConfig, root: Path, filenames: Sequence[str]
) -> str:
    """Names the predictions by all that decides them, so that a restart takes up only its own."""
    facts = {
        "members": [member.weights_sha256 for member in members],
        "method": job.method,
        "inference": config.inference.model_dump(mode="json"),
        "files": [(name, (root / name).stat().st_size) for name in filenames],
    }
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()
