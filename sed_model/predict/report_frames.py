"""Frame scores of the validation windows that a model tells best and worst: for people to look at."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from numpy.typing import NDArray

from sed_model.audio.decoding import UnreadableAudioError
from sed_model.audio.windows import decode_as_cached
from sed_model.core.parquet import write_parquet
from sed_model.model.checkpoint import LoadedModel, load_model
from sed_model.model.devices import Runtime, choose_runtime
from sed_model.predict.window_scores import predict_members
from sed_model.run_folder.metrics import POSITIVE_FROM
from sed_model.run_folder.predictions import FRAMES_FILE, FRAMES_SCHEMA, read_predictions
from sed_model.scores.overlap import FRAME_S, average_overlaps, hearing

N_EACH = 8


def write_frame_scores(folder: Path, root: Path) -> None:
    """Write frames.parquet beside the model in `folder`, from its oof.parquet and the recordings under `root`.

    One row per window and class: the classes that are there, and the one with the highest score. The equally long
    frames of `scores` lie between `frames_start_s` and `frames_end_s`. Recordings that cannot be read are left out.

    Raises:
        CheckpointError: model or predictions are missing or damaged.
    """
    loaded, oof = load_model(folder), read_predictions(folder)
    runtime = choose_runtime(loaded.config.optim)
    runtime.place(loaded.model)
    rows: list[dict[str, Any]] = []
    for row in telling_windows(oof.targets, oof.probabilities, oof.files):
        filename, start_s, end_s = oof.windows[row]
        try:
            frames, frames_start_s = _frames(loaded, runtime, root / filename, start_s, end_s)
        except UnreadableAudioError:
            continue
        shown = [*np.flatnonzero(oof.targets[row] >= POSITIVE_FROM), oof.probabilities[row].argmax()]
        rows += [
            {
                "filename": filename,
                "start_s": start_s,
                "end_s": end_s,
                "label": loaded.lineage.classes[column],
                "frames_start_s": frames_start_s,
                "frames_end_s": frames_start_s + len(frames) * FRAME_S,
                "scores": frames[:, column].tolist(),
            }
            for column in dict.fromkeys(shown)
        ]
    write_parquet(folder / FRAMES_FILE, pa.Table.from_pylist(rows, FRAMES_SCHEMA))


def telling_windows(
    targets: Float[np.ndarray, "n k"], probabilities: Float[np.ndarray, "n k"], files: list[str], n_each: int = N_EACH
) -> list[int]:
    """Rows of the windows with the greatest and the least margins, at most one a file and end.

    The margin is the lowest probability of a class that is there, minus the highest of one that is not.
    """
    there = targets >= POSITIVE_FROM
    margin = np.where(there, probabilities, np.inf).min(1) - np.where(there, -np.inf, probabilities).max(1)
    order = np.flatnonzero(np.isfinite(margin))[np.argsort(-margin[np.isfinite(margin)], kind="stable")]
    return list(dict.fromkeys([*_one_a_file(order, files, n_each), *_one_a_file(order[::-1], files, n_each)]))


def _one_a_file(order: NDArray[np.int64], files: list[str], n_most: int) -> list[int]:
    first: dict[str, int] = {}
    for row in order.tolist():
        first.setdefault(files[row], row)
    return list(first.values())[:n_most]


def _frames(
    loaded: LoadedModel, runtime: Runtime, path: Path, start_s: float, end_s: float
) -> tuple[NDArray[np.float32], float]:
    """Probabilities [frames, classes] over the window around the target, and where it starts.

    They are what the target's score is made of: each frame is averaged over the windows that hear the target.
    """
    data, rate = loaded.config.data, loaded.config.front_end.sample_rate_hz
    # Times in the table are rounded, and there are windows of two lengths.
    target_s = min((data.target_s, data.window_s), key=lambda length_s: abs(length_s - (end_s - start_s)))
    waveform = decode_as_cached(path, rate)
    duration_s = len(waveform) / rate
    heard = hearing(np.array([start_s]), target_s, duration_s, data.window_s)
    member = replace(loaded, config=loaded.config.with_overrides({"data.target_s": target_s}))
    scores = predict_members([member], waveform, heard.heard_s, runtime)[0]
    context_s = float(scores.contexts_s[heard.own[0]])
    # The frames whose centres lie in it.
    first, end = (math.ceil(second / FRAME_S - 0.5 - 1e-6) for second in (context_s, context_s + data.window_s))
    return average_overlaps(scores, duration_s)[first:end], first * FRAME_S
