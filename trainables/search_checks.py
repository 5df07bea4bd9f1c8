"""Checks of a search's input, before Ray starts; each raises a UserError that names what is wrong and the repair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sed_model.backbones import Backbone, HubError
from sed_model.config import SedConfig
from sed_model.dataset import TrainingClips, ValidationWindows, n_batches
from sed_model.errors import ConfigError, DataError
from sed_model.paths import LONGEST_NAME, check_folder
from sed_model.pseudo_clips import PseudoLabels
from sed_model.recordings import DataFolder
from sed_model.samplers import batch_size_for, with_batch_size
from sed_model.stages import check_stage_names
from sed_model.training_data import n_training_recordings, open_training_data
from trainables.driver_lock import HOLDER_FILE, LOCK_FILE
from trainables.runs import RunFolder
from trainables.search_space import SearchSpace
from trainables.teacher import Teacher

JOB_COPY = "working_dir_files"
"""Ray's folder for what `ray job submit --working-dir` uploads."""


def check_place(out: Path, name: str | None) -> None:
    """Whether run folders can go to `out`, and `name` is a plain folder name."""
    if name is not None and (name != Path(name).name or name in ("", ".", "..")):
        raise ConfigError(f"--name {name!r}: is no plain folder name; leave out slashes and dots, and use --out DIR.")
    if name is not None and not (name.isprintable() and len(name.encode(errors="replace")) <= LONGEST_NAME):
        raise ConfigError(f"--name {name!r:.80}: is no folder name; give up to {LONGEST_NAME} printable characters.")
    if JOB_COPY in out.parts:
        raise ConfigError(
            f"--out {out}: is in the copy of the code that Ray makes for a job, and deletes; give an absolute path."
        )
    check_folder(out, "--out")


def check_workers(n_workers: int, dashboard: bool) -> None:
    """Ray frees the workers of a stopped trial through its dashboard: without one the search would hang."""
    if n_workers > 0 and not dashboard:
        raise ConfigError(
            "--no-dashboard: Ray Train workers of stopped trials are freed through the dashboard; leave it on, or add "
            "--workers-per-trial 0."
        )


def check_unused(run: RunFolder) -> None:
    """
    Raises:
        ConfigError: there is a run of that name, or something else.
    """
    if run.path.exists() and not (run.path.is_dir() and all(map(_is_lock, run.path.iterdir()))):
        raise ConfigError(
            f"{run.path} exists; choose another --name, or go on with it: --resume --name {run.path.name}."
        )


def _is_lock(path: Path) -> bool:
    """A search that is killed before it writes anything leaves its lock."""
    return path.name in (LOCK_FILE, HOLDER_FILE)


def check_method(space: SearchSpace) -> None:
    """A Gaussian process and NSGA-II model what all trials have in common, and draw all else independently."""
    conditional = [parameter.key for parameter in space.parameters if parameter.when]
    if space.search.searcher in ("gp", "nsga2") and conditional:
        parents = sorted({c.parent for parameter in space.parameters for c in parameter.when})
        raise ConfigError(
            f"searcher {space.search.searcher} takes no parameters that only some trials have: "
            f"{', '.join(conditional)}; fix {', '.join(parents)} with --set, or use --searcher optuna."
        )


def check_stages(stages: tuple[str, ...], teacher: Teacher | None) -> None:
    check_stage_names(stages)
    if teacher is not None:
        return
    if "pseudo" in stages:
        raise ConfigError(
            f"stages {','.join(stages)}: pseudo needs the pseudo-labels of a run; leave it out, or name the run "
            "with --teacher runs/NAME."
        )
    if stages[0] != "pretrain_ce":
        raise ConfigError(f"stages {','.join(stages)}: a search starts with pretrain_ce; put it first.")


def check_backbones(space: SearchSpace) -> None:
    """Build every backbone of the space: unknown names and missing weights show here, and downloads happen once."""
    choices = [p.distribution.probes() for p in space.parameters if p.key == "model.backbone"]
    problems = []
    for name in choices[0] if choices else (space.base.model.backbone,):
        try:
            Backbone(space.base.with_overrides({"model.backbone": name}).model, in_channels=1)
        except HubError as error:
            problems.append(str(error))
            break  # it would not be reached for the others either, after a minute of retries each
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))


def front_ends(space: SearchSpace) -> list[SedConfig]:
    """The base, once for each sample rate of the space: what the audio caches differ by."""
    rates = [p.distribution.probes() for p in space.parameters if p.key == "front_end.sample_rate_hz"]
    if not rates:
        return [space.base]
    return [space.config({"front_end.sample_rate_hz": rate}) for rate in rates[0]]


def with_known_batch(space: SearchSpace, data: DataFolder, n_workers: int) -> SearchSpace:
    """The space with the number of clips that a step takes in its base, and a line that tells it.

    Raises:
        ConfigError: a number that is given or drawn does not fit the recordings or the workers; or null is drawn, which
            is another number for other data.
    """
    name = "optim.batch_size"
    n_clips = n_training_recordings(data, space.base)
    drawn = next((p.distribution.probes() for p in space.parameters if p.key == name), ())
    if None in drawn:
        raise ConfigError(f"space.{name}: null stands for a number that depends on the data; list numbers.")
    base = with_batch_size(space.base, n_clips, n_workers)
    for value in drawn:
        batch_size_for(n_clips, space.base.with_overrides({name: value}), n_workers)
    sizes = [int(value) for value in drawn] or [batch_size_for(n_clips, base, n_workers)]
    print(batch_line(sizes, n_clips), flush=True)
    return replace(space, base=base)


def batch_line(batch_sizes: Sequence[int], n_clips: int) -> str:
    """What a step takes, and how many of them an epoch has; several numbers are those that a search draws."""
    steps = [n_batches(n_clips, size) for size in batch_sizes]
    sizes = ", ".join(map(str, batch_sizes))
    return f"batch: {sizes} clips a step: {', '.join(map(str, steps))} steps an epoch of {n_clips} recordings"


def check_data(data: DataFolder, config: SedConfig, stage: str, labels: PseudoLabels | None = None) -> str:
    """Decode the audio (once, for all trials), and open what training and validation read.

    Returns:
        What validates: folds or soundscapes.
    """
    training = open_training_data(data, config, pseudo=labels)
    if training.cache.bad:
        print(f"data: {len(training.cache.bad)} unreadable audio files are skipped", flush=True)
    if training.pseudo and (n_silent := len(training.pseudo.labels) - len(training.pseudo.audible())):
        print(
            f"data: {n_silent} of {len(training.pseudo.labels)} pseudo-labelled windows are left out: unreadable, or "
            f"beyond data.max_recording_s={config.data.max_recording_s:g}",
            flush=True,
        )
    TrainingClips(training, config, stage)
    ValidationWindows(training, config)
    return training.split.kind


def check_same_data(run: RunFolder, record: Mapping[str, Any], data: DataFolder) -> None:
    """Scores of two data sets must not share a leaderboard."""
    if record["data"]["fingerprint"] != data.fingerprint:
        raise DataError(
            f"{data.root}: is not the data that {run.path.name} was started with (tables, labels, or names or content "
            "of audio files differ; or an earlier release started it, which saw their sizes alone); restore it, or "
            "start a new search."
        )
