"""The ensemble job: choose members, share soundscapes out over actors, join the predictions, apply the label rules."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from ray.util import ActorPool

from sed_model import pseudo
from sed_model.checkpoint import Lineage, LoadedModel, load_model, read_lineage
from sed_model.config import SedConfig
from sed_model.decoding import decode
from sed_model.devices import choose_runtime
from sed_model.errors import AudioError, CheckpointError, DataError
from sed_model.files import write_json, write_parquet
from sed_model.predict import predict_soundscape, target_starts, window_rms
from sed_model.recordings import read_data_folder
from sed_model.splits import unlabelled_soundscapes
from trainables.runs import RunFolder, best_trials

FILES_PER_SHARD = 8
AUDIO_SUFFIXES = {".ogg", ".flac", ".wav", ".mp3"}
PREDICTION_SCHEMA = pa.schema(
    [
        ("filename", pa.string()),
        ("start_s", pa.float32()),
        ("end_s", pa.float32()),
        ("probabilities", pa.list_(pa.float32())),
        ("disagreement", pa.float32()),
    ]
)


@dataclass(frozen=True)
class EnsembleJob:
    """What to label with what. `soundscapes` None: the unlabelled ones of the data folder."""

    run_dir: Path
    data_dir: Path
    out: Path
    soundscapes: Path | None = None
    top_k: int = 5
    method: str = "mean"
    workers: int | None = None


@dataclass(frozen=True)
class Member:
    """A trial in the ensemble; all members have equal weight."""

    trial_id: str
    weight: float
    macro_auc: float
    stage: str
    weights_sha256: str


def label_soundscapes(job: EnsembleJob) -> None:
    """Predict every soundscape, then keep the confident windows as pseudo-labels.

    Raises:
        DataError: there is nothing to label.
        CheckpointError: no trial has a model, or the members do not fit together.
        AudioError: soundscapes cannot be read and `data.on_bad_audio` is "fail".
    """
    members, lineages = choose_members(job)
    folders = [RunFolder(job.run_dir).path / "trials" / member.trial_id for member in members]
    config = load_model(folders[0]).config
    root, filenames = soundscape_files(job, config)
    names = ", ".join(f"{member.trial_id} ({member.macro_auc:.4f})" for member in members)
    print(f"ensemble of {len(members)}: {names}; {len(filenames)} soundscapes", flush=True)
    classes = lineages[0].classes
    key = prediction_key(job, members, config, root, filenames)
    parts = job.out / "predictions" / key
    for stale in (job.out / "predictions").glob("*"):
        if stale != parts:
            shutil.rmtree(stale)
    shards = [filenames[first : first + FILES_PER_SHARD] for first in range(0, len(filenames), FILES_PER_SHARD)]
    bad = predict_shards(job, folders, root, shards, parts)
    if bad and config.data.on_bad_audio == "fail":
        lines = "\n".join(f"  {name}: {reason}" for name, reason in bad)
        raise AudioError(
            f"{len(bad)} soundscapes cannot be read:\n{lines}\nRemove them, or train with data.on_bad_audio=skip."
        )
    table = pd.concat([_read_part(parts / part_name(index)) for index in range(len(shards))], ignore_index=True)
    n_real = len(read_data_folder(job.data_dir, config.data.target_s).recordings)
    labels = select_labels(table, classes, config, n_real)
    write_labels(job, labels, classes, members)
    write_json(job.out / "summary.json", summary(table, labels, bad, len(filenames)))
    print(
        f"{len(table)} windows -> {len(labels)} pseudo-labels of {labels['primary_label'].nunique()} classes"
        + (f"; {len(bad)} unreadable soundscapes skipped" if bad else ""),
        flush=True,
    )


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


def soundscape_files(job: EnsembleJob, config: SedConfig) -> tuple[Path, list[str]]:
    """The folder of the soundscapes and their names in it. Labelled ones are left out: they validate."""
    if job.soundscapes is None:
        data = read_data_folder(job.data_dir, config.data.target_s)
        filenames = [str(Path(path).name) for path in unlabelled_soundscapes(data)]
        root = job.data_dir / "train_soundscapes"
    else:
        root = job.soundscapes
        if not root.is_dir():
            raise DataError(f"--soundscapes {root}: no such folder; give a folder of audio files.")
        filenames = sorted(path.name for path in root.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES)
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


def predict_shards(
    job: EnsembleJob, folders: Sequence[Path], root: Path, shards: Sequence[Sequence[str]], parts: Path
) -> list[tuple[str, str]]:
    """Predict the shards that have no part file yet; the unreadable files with their reasons come back."""
    missing = [index for index in range(len(shards)) if not (parts / part_name(index)).is_file()]
    if len(missing) < len(shards):
        print(f"{len(shards) - len(missing)} of {len(shards)} parts are there already", flush=True)
    cpus = int(ray.cluster_resources().get("CPU", 1))
    n_actors = min(len(missing), job.workers or cpus)
    actors = [_LabelWorker.remote(folders, root, job.method, parts) for _ in range(n_actors)]  # type: ignore[attr-defined]
    start_s = time.monotonic()
    done = 0
    if actors:
        pool = ActorPool(actors)
        for index, n_files in pool.map_unordered(lambda actor, i: actor.label.remote(i, shards[i]), missing):
            done += n_files
            rate = done / (time.monotonic() - start_s)
            left = sum(len(shards[i]) for i in missing) - done
            print(f"part {index + 1}/{len(shards)}  {rate:.1f} files/s  {left / rate:.0f} s left", flush=True)
    for actor in actors:
        ray.kill(actor)
    return [bad for index in range(len(shards)) for bad in _bad_files(parts / part_name(index))]


def part_name(index: int) -> str:
    return f"part-{index:05d}.parquet"


@ray.remote(num_cpus=1)
class _LabelWorker:
    """Holds the members and labels shards, each into a file of its own."""

    def __init__(self, folders: Sequence[Path], root: Path, method: str, parts: Path) -> None:
        torch.set_num_threads(1)
        self.members = [load_model(folder) for folder in folders]
        self.runtime = choose_runtime(self.members[0].config.optim)
        for member in self.members:
            self.runtime.place(member.model)
        self.root, self.method, self.parts = root, method, parts

    def label(self, index: int, filenames: Sequence[str]) -> tuple[int, int]:
        """Write part `index`; its number and how many files it is about come back."""
        tables, bad = [], []
        for name in filenames:
            try:
                tables.append(predict_file(self.members, self.root / name, self.method, self.runtime))
            except AudioError as error:
                bad.append((name, str(error)))
        rows = [row for table in tables for row in table]
        schema = PREDICTION_SCHEMA.with_metadata({"bad": json.dumps(bad)})
        write_parquet(self.parts / part_name(index), pa.Table.from_pylist(rows, schema))
        return index, len(filenames)


def predict_file(members: Sequence[LoadedModel], path: Path, method: str, runtime: Any) -> list[dict[str, Any]]:
    """Joined and smoothed predictions for every window of one soundscape; silent windows are 0."""
    config = members[0].config
    rate, target_s = config.front_end.sample_rate_hz, config.data.target_s
    waveform = decode(path, rate)
    starts_s = target_starts(len(waveform) / rate, target_s, target_s * (1 - config.inference.overlap))
    by_member = predict_soundscape(members, waveform, starts_s, runtime)
    silent = window_rms(waveform, starts_s, target_s, rate) <= config.inference.silence_rms
    joined = pseudo.smooth(pseudo.combine(by_member, method), config.inference.smoothing_centre)
    joined = pseudo.silence(joined, silent)
    spread = pseudo.disagreement(by_member)
    return [
        {
            "filename": path.name,
            "start_s": float(start_s),
            "end_s": float(start_s) + target_s,
            "probabilities": row.tolist(),
            "disagreement": float(std),
        }
        for start_s, row, std in zip(starts_s, joined, spread, strict=True)
    ]


def select_labels(table: pd.DataFrame, classes: Sequence[str], config: SedConfig, n_real: int) -> pd.DataFrame:
    """The rules of `pseudo`: confident windows, at most `max_share` for each real recording, classes in turn."""
    probabilities = np.asarray(table["probabilities"].tolist(), np.float32).reshape(len(table), len(classes))
    labels = pseudo.label_table(table, probabilities, classes)
    kept = pseudo.keep_confident(labels, classes, config.pseudo)
    return pseudo.cap_balanced(kept, int(config.pseudo.max_share * n_real))


def write_labels(job: EnsembleJob, labels: pd.DataFrame, classes: Sequence[str], members: Sequence[Member]) -> None:
    write_parquet(job.out / "pseudo_labels" / part_name(0), pseudo.to_arrow(labels, classes, len(members)))
    write_json(
        job.out / "members.json",
        {"method": job.method, "classes": list(classes), "members": [asdict(member) for member in members]},
    )


def summary(table: pd.DataFrame, labels: pd.DataFrame, bad: Sequence[tuple[str, str]], n_files: int) -> dict[str, Any]:
    """What was labelled, kept and skipped."""
    return {
        "soundscapes": n_files,
        "unreadable": [{"filename": name, "reason": reason} for name, reason in bad],
        "windows": len(table),
        "pseudo_labels": len(labels),
        "by_class": {str(label): int(count) for label, count in labels["primary_label"].value_counts().items()},
    }


def _read_part(path: Path) -> pd.DataFrame:
    return pq.read_table(path).to_pandas()


def _bad_files(path: Path) -> Iterator[tuple[str, str]]:
    metadata = pq.read_schema(path).metadata or {}
    yield from json.loads(metadata.get(b"bad", b"[]"))
