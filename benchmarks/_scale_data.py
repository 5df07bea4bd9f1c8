"""Many recordings and soundscapes: reading a data folder, the audio cache, and the label table of an ensemble."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
from _scale import N_CLASSES, N_MEMBERS, N_RECORDINGS, Points, rss_mb, timed

from sed_model.audio.cache import open_cache
from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.clips.training_data import open_training_data
from sed_model.config.sed_config import Data, SedConfig
from sed_model.core.files import write_json
from sed_model.core.parquet import write_parquet
from sed_model.data.recordings import read_data_folder
from sed_model.labels import rules
from sed_model.predict.window_scores import target_starts
from sed_model.run_folder.member_scores import WINDOW_SCHEMA
from trainables.labelling.plan import FILES_PER_SHARD, Shard
from trainables.labelling.write_labels import joined_windows

SOUNDSCAPE_S = 60.0
MEAN_RECORDING_S = 35
"""Of a recording of BirdCLEF; longer ones are cut at data.max_recording_s."""
SPARSENESS = 300
"""Of random predictions: two classes of a window are above 0.05."""
LABEL_RULES = {"pseudo.keep_class": 0.05, "pseudo.keep_window": 0.05, "pseudo.trim": 0.01, "pseudo.max_share": 10.0}
"""Of search_spaces/short.yaml: nearly all windows stay."""


def measure_folder(size: int, root: Path) -> Mapping[str, Points]:
    """Reading a data folder (once a process) and opening it for a trial (each trial); recordings of one second."""
    write_folder(root / "data", size)
    config = SedConfig().with_overrides({"data.cache_dir": str(root / "cache")})
    folder, read_s = timed(read_data_folder, root / "data")
    open_training_data(folder, config, progress=False)
    _, open_s = timed(open_training_data, folder, config, False)
    return {"data folder, read by a process": {size: read_s}, "data folder, opened by a trial": {size: open_s}}


def write_folder(root: Path, n_recordings: int) -> None:
    """Classes of very different size; all files are one file of a second."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True)
    soundfile.write(root / "one.wav", (3000 * rng.normal(size=8000)).astype(np.int16), 8000)
    classes = np.minimum((8 * rng.pareto(1.0, n_recordings)).astype(int), N_CLASSES - 1)
    classes[: 2 * N_CLASSES] = np.arange(2 * N_CLASSES) % N_CLASSES
    rows = ["primary_label,secondary_labels,filename,author,rating"]
    for number, label in enumerate(f"class{index:03d}" for index in classes):
        path = root / "train_audio" / label / f"{number:05d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(root / "one.wav", path)
        rows.append(f"{label},\"['']\",{label}/{path.name},author{rng.integers(3000)},{rng.integers(6)}")
    (root / "train.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def measure_cache(size: int, root: Path) -> Mapping[str, Points]:
    """Decoding ogg recordings of 35 s at 32 kHz into the audio cache."""
    write_recording(root / "one.ogg")
    paths = [f"{number:05d}.ogg" for number in range(size)]
    for path in paths:
        os.link(root / "one.ogg", root / path)
    before_mb = rss_mb()
    _, build_s = timed(open_cache, root, paths, 32_000, Data(cache_dir=root / "cache"), False)
    return {
        "audio cache, build": {size: build_s},
        "audio cache, size": {size: sum(file.stat().st_size for file in (root / "cache").rglob("*")) / 1e9},
        "audio cache, memory of the build": {size: rss_mb(peak=True) - before_mb},
    }


def write_recording(path: Path) -> None:
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 32_000, 1) as file:
        for _ in range(MEAN_RECORDING_S):  # libsndfile's Vorbis crashes on long blocks
            file.write(0.1 * rng.normal(size=32_000))


def measure_labels(size: int, root: Path) -> Mapping[str, Points]:
    """From the members' predictions to the table of pseudo-labels, as the ensemble's driver makes it."""
    parts = root / "predictions"
    shards = [write_part(parts, first, min(FILES_PER_SHARD, size - first)) for first in range(0, size, FILES_PER_SHARD)]
    before_mb = rss_mb()
    _, seconds = timed(write_labels, shards, root)
    return {
        "ensemble, parts": {size: sum(shard.part.stat().st_size for shard in shards) / 1e6},
        "label table, made": {size: seconds},
        "label table, memory of the driver": {size: rss_mb(peak=True) - before_mb},
    }


def write_part(folder: Path, first: int, n_files: int) -> Shard:
    """What an actor of the ensemble writes, with invented predictions."""
    rng = np.random.default_rng(first)
    config = SedConfig()
    step_s = config.data.target_s * (1 - config.inference.overlap)
    starts_s = target_starts(SOUNDSCAPE_S, config.data.target_s, step_s).astype(np.float32)
    names = [f"{first + number:05d}.ogg" for number in range(n_files)]
    columns = [
        np.repeat(names, len(starts_s)),
        np.tile(starts_s, n_files),
        np.tile(starts_s + np.float32(config.data.target_s), n_files),
        np.full(n_files * len(starts_s), 0.1, np.float32),
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, WINDOW_SCHEMA, strict=True)]
    for _ in range(N_MEMBERS):
        rows = rng.random(n_files * len(starts_s) * N_CLASSES, np.float32) ** SPARSENESS
        arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(rows), N_CLASSES))
    members = [f"member_{number}" for number in range(N_MEMBERS)]
    shard = Shard(folder / f"part-{first // FILES_PER_SHARD:05d}.parquet", folder, tuple(names), step_s)
    write_parquet(shard.part, pa.Table.from_arrays(arrays, [*WINDOW_SCHEMA.names, *members]))
    return shard


def write_labels(shards: list[Shard], out: Path) -> None:
    classes = [f"class{index:03d}" for index in range(N_CLASSES)]
    config = SedConfig().with_overrides(LABEL_RULES)
    plan: Any = SimpleNamespace(
        classes=classes,
        config=config,
        silence_rms=config.inference.silence_rms,
        job=SimpleNamespace(method="mean"),
        choice=SimpleNamespace(members=[SimpleNamespace(weight=1.0)] * N_MEMBERS),
        sources=SimpleNamespace(may_label={}, from_validation=frozenset()),
    )
    labels, _ = rules.apply_rules(joined_windows(plan, shards), classes, config.pseudo, N_RECORDINGS)
    write_parquet(out / "pseudo_labels" / "part-00000.parquet", rules.to_arrow(labels, classes, N_MEMBERS))
    write_json(out / "members.json", {"members": [{"weights_sha256": "0"}]})


def measure_student(size: int, root: Path) -> Mapping[str, Points]:
    """What each trial of a student reads: the label table that `measure_labels` has left in `root`."""
    before_mb = rss_mb()
    _, seconds = timed(read_pseudo_labels, root)
    return {
        "label table, read by a student's trial": {size: seconds},
        "label table, memory of a student's trial": {size: rss_mb(peak=True) - before_mb},
    }
