"""What an exported graph is compared with PyTorch on: real windows, and macro AUC on labelled train soundscapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from sed_model.audio.decoding import UnreadableAudioError, decode
from sed_model.core.errors import AudioError, DataError
from sed_model.data.recordings import DataFolder, read_configured
from sed_model.model.checkpoint import LoadedModel
from sed_model.model.devices import Runtime
from sed_model.predict.ensemble import Ensemble
from sed_model.predict.post_tuning import LabelledWindows
from sed_model.predict.postprocess import PostSettings, blend
from sed_model.predict.soundscapes import ScoreOptions, Task, score_soundscape
from sed_model.predict.tune_job import labelled_windows
from sed_model.predict.window_scores import contexts, probabilities_of, target_starts
from sed_model.run_folder.metrics import macro_auc

MAX_FILES = 16
MAX_FILE_S = 60.0
FP32 = Runtime(torch.device("cpu"), None, channels_last=False)
Images = tuple[Float32[Tensor, "windows channels mels frames"], Float32[Tensor, "windows 2"]]
"""Log-mel images of windows, and the targets' places in them."""


@dataclass(frozen=True)
class Labelled:
    """Labelled train soundscapes, none of them of the test."""

    windows: LabelledWindows
    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class CheckAudio:
    """Waveforms of files that are not labelled, and the labelled soundscapes (None where there are none)."""

    files: tuple[Float32[np.ndarray, " samples"], ...]
    labelled: Labelled | None


def find_check_audio(data_dir: Path, loaded: LoadedModel, need_labels: bool) -> CheckAudio:
    """Audio of a data folder; never its test soundscapes.

    Raises:
        DataError: the folder cannot be used, or has no labelled train soundscapes where they are needed.
        CheckpointError: its classes are not those of the model.
        AudioError: none of its audio can be read.
    """
    data = read_configured(data_dir, loaded.config.data)
    labelled = None
    if data.soundscape_labels is not None:
        windows, tasks = labelled_windows(data, Ensemble((loaded,)))
        labelled = Labelled(windows, tuple(tasks))
    elif need_labels:
        raise DataError(
            f"{data_dir}: int8 is judged by train_soundscapes_labels.csv, which is not there; label some soundscapes, "
            "or take --precision auto."
        )
    return CheckAudio(_some_waveforms(data, loaded.config.front_end.sample_rate_hz), labelled)


def _some_waveforms(data: DataFolder, rate_hz: int) -> tuple[Float32[np.ndarray, " samples"], ...]:
    """Of soundscapes without labels; of recordings where there are none."""
    labelled = set() if data.soundscape_labels is None else set(data.soundscape_labels["path"])
    paths = sorted(set(data.soundscapes) - labelled) or sorted(data.recordings["path"])
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, MAX_FILES).round().astype(int))]
    waveforms = []
    for path in chosen:
        try:
            waveforms.append(decode(data.root / path, rate_hz, MAX_FILE_S))
        except UnreadableAudioError:
            continue
    if not waveforms:
        raise AudioError(f"{data.root}: none of {len(chosen)} files can be read; give a folder of readable audio.")
    return tuple(waveforms)


def target_images(loaded: LoadedModel, waveforms: Sequence[Float32[np.ndarray, " samples"]]) -> list[Images]:
    """The images of all target windows of each waveform."""
    config = loaded.config
    result = []
    for waveform in waveforms:
        duration_s = len(waveform) / config.front_end.sample_rate_hz
        starts_s = target_starts(duration_s, config.data.target_s, config.data.target_s)
        clips, parts = contexts(waveform, starts_s, config)
        result.append((loaded.model.images(torch.from_numpy(clips)), parts))
    return result


@torch.no_grad()
def largest_difference(loaded: LoadedModel, graph: LoadedModel, batches: Sequence[Images]) -> float:
    """The largest difference between the two models' clip and frame probabilities; NaN where one predicts NaN."""
    loss, differences = loaded.lineage.loss, []
    # One window alone, too: batches of any size are promised.
    for images, targets in [(images[:1], targets[:1]) for images, targets in batches[:1]] + list(batches):
        for wanted, given in zip(loaded.model(images, targets), graph.model(images, targets), strict=True):
            both = [probabilities_of(logits.flatten(0, -2).numpy(), loss) for logits in (wanted, given)]
            differences.append(float(np.abs(both[0] - both[1]).max()))
    return float(np.max(differences))


def labelled_auc(model: LoadedModel, labelled: Labelled) -> float:
    """Macro AUC of one model by the default post-processing, in fp32 where the model is PyTorch's."""
    scores = [score_soundscape([model], task, ScoreOptions(), FP32) for task in labelled.tasks]
    probabilities = np.concatenate([blend(one.parts, PostSettings())[0] for one in scores])
    known = labelled.windows.labelled
    return macro_auc(labelled.windows.targets[known], probabilities[known])
