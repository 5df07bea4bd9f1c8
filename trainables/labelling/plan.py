"""An ensemble before Ray: which trials are its members, which soundscapes it labels, and by which rules."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sed_model.audio.audio_files import content_digests
from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import CheckpointError, ConfigError
from sed_model.data.recordings import DataFolder, read_configured
from sed_model.labels.rules import power_in_round
from sed_model.model.checkpoint import LoadedModel, foreign_of, load_model
from sed_model.predict.soundscapes import check_members_fit
from sed_model.run_folder.member_scores import LABELLED_PART, PART
from sed_model.teacher.description import ForeignModel
from trainables.labelling.candidates import EnsembleJob, find_candidates
from trainables.labelling.delivered_members import delivered_members
from trainables.labelling.heard_before import Entries, entries_of
from trainables.labelling.joined_runs import with_other_runs
from trainables.labelling.members import Choice, choose_members
from trainables.labelling.soundscapes import Sources, find_sources
from trainables.spaces.overrides import Use, check_used

OVERRIDABLE = ("inference.", "pseudo.")
"""What may be set anew for an ensemble; the rest belongs to the models."""
FILES_PER_SHARD = 8
PARTS_FORMAT = 4


@dataclass(frozen=True)
class Shard:
    """Some files of `root` that one actor predicts into the file `part`, a window every `step_s`."""

    part: Path
    root: Path
    filenames: tuple[str, ...]
    step_s: float


@dataclass(frozen=True)
class PredictionRules:
    """What actors need: the members' folders, and the settings of `inference.*` that replace theirs.

    `parts` is where the predictions lie; `teachers` are the files that probes hear with, and `entries` is where what
    these have heard before lies.
    """

    members: tuple[Path, ...]
    parts: Path
    inference: Mapping[str, Any] = field(default_factory=dict)
    teachers: tuple[Path, ...] = ()
    entries: Entries = field(default_factory=dict)

    def load(self) -> list[LoadedModel]:
        """The members, which score windows by these settings.

        Raises:
            CheckpointError: one is missing or damaged.
        """
        models = map(load_model, self.members)
        return [replace(one, config=one.config.with_overrides(self.inference)) for one in models]


@dataclass(frozen=True)
class EnsemblePlan:
    """An ensemble whose input is right. `config` has the rules that make predictions into labels, as they are for the
    round of students that learns from its members: the power has grown.

    Windows at or below `silence_rms` are silent for every member.
    """

    job: EnsembleJob
    choice: Choice
    classes: tuple[str, ...]
    config: SedConfig
    rules: PredictionRules
    sources: Sources
    data: DataFolder
    silence_rms: float
    foreign: tuple[ForeignModel, ...] = ()
    """Those that members hear with or have learned from."""

    @property
    def filenames(self) -> tuple[str, ...]:
        return self.sources.filenames

    def shards(self) -> list[Shard]:
        """The soundscapes to label."""
        target_s, overlap = self.config.data.target_s, self.config.inference.overlap
        return self._shards(PART, self.sources.root, self.filenames, target_s * (1 - overlap))

    def labelled_shards(self) -> list[Shard]:
        """The labelled soundscapes, which only tell how good the labels are, with windows where theirs are."""
        if self.data.soundscape_labels is None:
            return []
        names = [Path(path).name for path in sorted(set(self.data.soundscape_labels["path"]))]
        windows_a_target = max(1, round(1 / (1 - self.config.inference.overlap)))
        step_s = self.config.data.target_s / windows_a_target
        return self._shards(LABELLED_PART, self.data.root / self.data.soundscapes_name, names, step_s)

    def _shards(self, kind: str, root: Path, names: Sequence[str], step_s: float) -> list[Shard]:
        pieces = [tuple(names[first : first + FILES_PER_SHARD]) for first in range(0, len(names), FILES_PER_SHARD)]
        return [
            Shard(self.rules.parts / f"{kind}-{index:05d}.parquet", root, piece, step_s)
            for index, piece in enumerate(pieces)
        ]


def plan_ensemble(job: EnsembleJob) -> EnsemblePlan:
    """Choose the members and list the soundscapes.

    Raises:
        ConfigError: an override is refused, or a named member unknown.
        DataError: there is nothing to label, or the data folder has other classes than the members.
        CheckpointError: no trial has a model, a model is damaged, or the members do not fit together.
    """
    choice, config, data = _choice(job)
    choice = with_other_runs(choice, job)
    inference = {name: value for name, value in job.overrides.items() if name.startswith("inference.")}
    # All of them, so that a damaged one is found here.
    members = PredictionRules(choice.folders, job.out, inference).load()
    check_members_fit(members, [member.trial_id for member in choice.members])
    classes = members[0].lineage.classes
    if data.classes != classes:
        raise CheckpointError(
            f"{job.data_dir}: has {len(data.classes)} classes, other ones than the {len(classes)} of the members; "
            "restore the data of the search."
        )
    sources = find_sources(job, data, members)
    key = prediction_key(members, config, sources, data)
    teachers = {one.lineage.probe_of.path for one in members if one.lineage.probe_of is not None}
    parts = job.out / "predictions" / key
    rules = PredictionRules(choice.folders, parts, inference, tuple(sorted(teachers)), entries_of(members))
    power = power_in_round(1 + max(member.lineage.round for member in members), config.pseudo)
    config = config.with_overrides({"pseudo.power": power, "pseudo.power_growth": 1.0})
    silence_rms = min(member.config.inference.silence_rms for member in members)
    foreign = foreign_of([member.lineage for member in members])
    return EnsemblePlan(job, choice, classes, config, rules, sources, data, silence_rms, foreign)


def _choice(job: EnsembleJob) -> tuple[Choice, SedConfig, DataFolder]:
    """The members, the rules of the first one with those of this ensemble, and the data."""
    choice = delivered_members(job)
    if choice is not None:
        config = with_rules(load_model(choice.folders[0]).config, job.overrides, job.method)
        return choice, config, read_configured(job.data_dir, config.data)
    found = find_candidates(job)
    config = with_rules(load_model(found.candidates[0].folder).config, job.overrides, job.method)
    data = read_configured(job.data_dir, config.data)
    return choose_members(job, found, config, data), config, data


def with_rules(config: SedConfig, overrides: Mapping[str, Any], method: str) -> SedConfig:
    """The best member's configuration with the rules of this ensemble.

    Raises:
        ConfigError: a key that decided the training or that `method` ignores, or a value that is refused.
    """
    foreign = [name for name in overrides if not name.startswith(OVERRIDABLE)]
    if foreign:
        raise ConfigError(
            f"--set {foreign[0]}: belongs to the trained models; what an ensemble can set begins with "
            f"{', '.join(OVERRIDABLE)}."
            + (" Damaged soundscapes are skipped, or not: --fail-on-bad-audio." if "bad_audio" in foreign[0] else "")
        )
    changed = config.with_overrides(overrides)
    check_used(overrides, changed, Use("ensemble", (), method=method))
    return changed


def prediction_key(members: Sequence[LoadedModel], config: SedConfig, sources: Sources, data: DataFolder) -> str:
    """Names the predictions by all that decides them, so that a restart takes up only its own.

    Neither the way of joining members nor the label rules: they come afterwards, and another try costs nothing.
    """
    contents = content_digests(sources.root, sources.filenames)
    facts = {
        "format": PARTS_FORMAT,
        "members": [member.lineage.weights_sha256 for member in members],
        "scores": [(one.config.inference.frame_share, one.config.inference.silence_rms) for one in members],
        "overlap": config.inference.overlap,
        "files": [(name, digest.hex()) for name, digest in zip(sources.filenames, contents, strict=True)],
        "labelled": None if data.soundscape_labels is None else data.fingerprint,
    }
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()


def members_record(plan: EnsemblePlan, chosen: Sequence[bool] | None = None) -> dict[str, Any]:
    """What members.json holds, of all members or of those that are chosen."""
    labelled = plan.data.soundscape_labels
    members = list(itertools.compress(plan.choice.members, chosen or itertools.repeat(True)))
    by_soundscapes = any(member.validation["kind"] == "soundscapes" for member in members)
    validated = sorted(set(labelled["path"])) if by_soundscapes and labelled is not None else []
    return {
        "method": plan.job.method,
        "mean_exponent": plan.config.pseudo.mean_exponent,
        "classes": list(plan.classes),
        "members": [asdict(member) for member in members],
        "foreign": [one.model_dump() for one in plan.foreign],
        **plan.choice.facts,
        "validation_soundscapes": [Path(path).name for path in validated],
    }
