"""Whether a search fits its data, and what it is told of them before trials start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from sed_model.clips.dataset import TrainingClips, n_batches
from sed_model.clips.pseudo_clips import PseudoLabels
from sed_model.clips.samplers import batch_size_for, with_batch_size
from sed_model.clips.training_data import TrainingData, n_training_recordings, open_training_data
from sed_model.clips.validation_windows import ValidationWindows
from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import ConfigError, DataError
from sed_model.data.coverage import check_coverage, coverage
from sed_model.data.recordings import DataFolder
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.split_record import SplitRecord
from sed_model.run_folder.window_metrics import MACRO_AUC, score
from trainables.spaces.search_space import SearchSpace


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
    data: DataFolder,
    config: SedConfig,
    stage: str,
    labels: PseudoLabels | None = None,
    tell_score: bool = True,
    metric: str = MACRO_AUC,
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
    score(metric, windows.targets, np.zeros(windows.targets.shape))  # no class may be in as many windows as it needs
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
        whole = split.soundscape_folds and theirs.kind == "soundscapes" and not theirs.soundscape_folds
        repair = "write trials_in_parts: false into search of the space" if whole else f"add {theirs.settings}"
        raise DataError(
            f"{what}: was validated on {theirs}, here {split} validates: scores do not compare; {repair}, or leave it "
            "out."
        )


def _asks_for_folds(record: Mapping[str, Any]) -> bool:
    base = record.get("base")
    data = base.get("data") if isinstance(base, dict) else None
    return isinstance(data, dict) and data.get("validation") == "folds"
