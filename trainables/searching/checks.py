"""Checks of a search's input, before Ray starts; each raises a UserError that names what is wrong and the repair."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sed_model.clips.dataset import TrainingClips, n_batches
from sed_model.clips.pseudo_clips import PseudoLabels
from sed_model.clips.samplers import batch_size_for, with_batch_size
from sed_model.clips.training_data import TrainingData, n_training_recordings, open_training_data
from sed_model.clips.validation_windows import ValidationWindows
from sed_model.config.sed_config import SedConfig, n_frames_in
from sed_model.config.stages import check_stage_names
from sed_model.core.errors import ConfigError, DataError
from sed_model.core.paths import LONGEST_NAME, check_folder
from sed_model.data.coverage import check_coverage, coverage
from sed_model.data.recordings import DataFolder
from sed_model.model.backbones import HubError
from sed_model.model.model_trial import try_model
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.split_record import SplitRecord
from trainables.keeping.driver_lock import HOLDER_FILE, LOCK_FILE
from trainables.searching.refit import changes_for
from trainables.spaces.search_space import SearchSpace
from trainables.trials.teacher import Teacher

SPLIT_KEYS = ("data.validation", "data.n_folds", "data.fold", "data.split_seed")
"""Keys that decide what validates."""
JOB_COPY = "working_dir_files"
"""Ray's folder for what `ray job submit --working-dir` uploads."""
SIZE_KEYS = ("front_end.n_mels", "front_end.hop_length", "front_end.sample_rate_hz", "data.window_s")
"""What the size of the images depends on."""


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


def check_metric(space: SearchSpace) -> None:
    """Validation losses compare only where all trials and all stages have the same loss."""
    if space.search.metric != "val_loss":
        return
    stages = space.search.stages
    of_stages = {f"stages.{name}.{key}" for name in stages for key in ("loss", "secondary_weight")}
    drawn = [p.key for p in space.parameters if p.key.startswith("loss.") or p.key in of_stages]
    if drawn:
        raise ConfigError(
            f"search.metric=val_loss: {', '.join(drawn)} {'is' if len(drawn) == 1 else 'are'} drawn, and losses that "
            "are worked out otherwise do not compare; use metric: macro_auc, or fix them with --set."
        )
    losses = [f"{name} {space.base.stages[name].loss}" for name in stages]
    if len({space.base.stages[name].loss for name in stages}) > 1:
        raise ConfigError(
            f"search.metric=val_loss: the stages have different losses ({', '.join(losses)}), which do not compare; "
            "use metric: macro_auc, or one loss in all stages, e.g. --set stages.pretrain_ce.loss=bce."
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


def check_top_k(top_k: int | None, pseudo_labels: bool, space: SearchSpace) -> None:
    """
    Raises:
        ConfigError: --top-k was given, and nothing follows the trials that would take the best.
    """
    if top_k and not pseudo_labels and not space.search.refit_folds:
        raise ConfigError(
            f"--top-k {top_k} with --no-pseudo-labels: would change nothing, for neither an ensemble nor --refit-folds "
            "takes the best trials; leave it out, or add --refit-folds 0,1,2."
        )


def check_one_split(space: SearchSpace) -> None:
    """Scores of trials that are validated on different recordings must not share a leaderboard."""
    drawn = [parameter.key for parameter in space.parameters if parameter.key in SPLIT_KEYS]
    if drawn:
        raise ConfigError(
            f"space: {', '.join(drawn)} cannot be searched: trials that are validated on different recordings do not "
            "compare; fix them with --set (--refit-folds trains the best on other folds)."
        )


def check_refit_folds(space: SearchSpace, split: SplitRecord, teacher: Teacher | None) -> None:
    """Whether the folds exist. A student starts from its teacher, which was trained on all folds but its own."""
    for fold in space.search.refit_folds:
        changes_for(space.base, split.kind, fold)
    others = [fold for fold in space.search.refit_folds if fold != split.fold]
    if teacher is not None and split.kind == "folds" and others:
        raise ConfigError(
            f"--refit-folds {','.join(map(str, others))}: a student starts from its teacher, which was trained on the "
            f"recordings that would validate; leave it out, or search anew on another fold."
        )


def check_backbones(space: SearchSpace) -> list[str]:
    """Try every backbone of the space once, on each size of image that the space has: downloads, too, happen once.

    Returns:
        What is left out because a backbone's family does not have it.

    Raises:
        ConfigError: the reasons of all that cannot work.
    """
    names = _probes(space).get("model.backbone", (space.base.model.backbone,))
    problems: dict[str, None] = {}
    notes: dict[str, None] = {}
    try:
        for name, sizes in itertools.product(names, image_sizes(space)):
            try:
                notes |= dict.fromkeys(try_model(sizes.with_overrides({"model.backbone": name})))
            except HubError:
                raise
            except ConfigError as error:
                problems[str(error)] = None
    except HubError as error:  # it would not be reached for the others either, after a minute of retries each
        problems[str(error)] = None
    if problems:
        raise ConfigError("\n".join(problems))
    return list(notes)


def image_sizes(space: SearchSpace) -> list[SedConfig]:
    """The base, once for each number of mels and frames of the space, with as many channels and drop path as it has."""
    probes = _probes(space)
    most = {"model.drop_path_rate": max, "model.multi_resolution": max}
    highest = {key: choose(probes[key]) for key, choose in most.items() if key in probes}
    keys = [key for key in SIZE_KEYS if key in probes]
    sizes: dict[tuple[int, int], SedConfig] = {}
    for values in itertools.product(*(probes[key] for key in keys)):
        try:
            config = space.config({**highest, **dict(zip(keys, values, strict=True))})
        except ConfigError:
            continue  # a combination that the space does not draw
        sizes.setdefault((config.front_end.n_mels, n_frames_in(config.data.window_s, config.front_end)), config)
    return list(sizes.values()) or [space.base]


def _probes(space: SearchSpace) -> dict[str, tuple[Any, ...]]:
    return {parameter.key: parameter.distribution.probes() for parameter in space.parameters}


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
    return f"batch: {sizes} clips per step: {', '.join(map(str, steps))} steps per epoch of {n_clips} recordings"


def check_data(
    data: DataFolder, config: SedConfig, stage: str, labels: PseudoLabels | None = None, tell_score: bool = True
) -> TrainingData:
    """Decode the audio (once, for all trials), open what training and validation read, and tell what the score covers.


    Raises:
        UserError: of the kind of what is wrong; a DataError where the score could never be defined.
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
    windows = ValidationWindows(training, config)
    covered = coverage(data, training.split, windows.targets, windows.paths)
    check_coverage(covered, data, len(windows))
    if tell_score:
        print(f"data: {covered}", flush=True)
    return training


def tell_data(data: DataFolder) -> None:
    """Print what the folder was taken for, and what is odd in it."""
    print(f"data: {data.root} is read as {data.layout}", flush=True)
    for note in data.notes:
        print(f"data: {note}", flush=True)


def check_same_data(run: RunFolder, record: Mapping[str, Any], data: DataFolder) -> None:
    """Scores of two data sets must not share a leaderboard."""
    if record["data"]["fingerprint"] != data.fingerprint:
        raise DataError(
            f"{data.root}: is not the data that {run.path.name} was started with (tables, labels, or names or content "
            "of audio files differ; or an earlier release started it, which saw their sizes alone); restore it, or "
            "start a new search."
        )


def check_same_split(what: str, record: Mapping[str, Any], split: SplitRecord) -> None:
    """Whether the search of `record` validates as one by `split` does; `what` names it in messages.

    Raises:
        DataError: it does not, or that cannot be told; soundscapes of the same data are the same.
    """
    known = record["data"].get("split")
    if known is None:
        if split.kind == "soundscapes" and not _asks_for_folds(record):
            return
        raise DataError(
            f"{what}: was begun by a version that did not record what validates, and drew folds by the seed: its "
            "scores do not compare with new ones; leave it out, or start a new search."
        )
    try:
        theirs = SplitRecord.model_validate(known)
    except ValidationError as error:
        raise DataError(f"{what}: data.split of its search.yaml is damaged ({error.errors()[0]['msg']}); restore the "
                        "file, or leave it out.") from None  # fmt: skip
    if theirs.digest != split.digest:
        raise DataError(
            f"{what}: was validated on {theirs}, here {split} validates: scores do not compare; add "
            f"{theirs.settings}, or leave it out."
        )


def _asks_for_folds(record: Mapping[str, Any]) -> bool:
    base = record.get("base")
    data = base.get("data") if isinstance(base, dict) else None
    return isinstance(data, dict) and data.get("validation") == "folds"
