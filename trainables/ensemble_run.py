"""The ensemble job: share soundscapes out over actors, join the members' predictions, apply the label rules."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from ray.util import ActorPool
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sed_model import pseudo
from sed_model.checkpoint import LoadedModel, load_model
from sed_model.config import SedConfig
from sed_model.decoding import decode
from sed_model.devices import Runtime, choose_runtime
from sed_model.errors import AudioError
from sed_model.files import write_json, write_parquet
from sed_model.predict import predict_soundscape, target_starts, window_rms
from trainables.cluster import cluster_nodes
from trainables.ensemble_plan import EnsemblePlan, PredictionRules
from trainables.node_check import nodes_with

FILES_PER_SHARD = 8
PREDICTION_SCHEMA = pa.schema(
    [
        ("filename", pa.string()),
        ("start_s", pa.float32()),
        ("end_s", pa.float32()),
        ("probabilities", pa.list_(pa.float32())),
        ("disagreement", pa.float32()),
    ]
)


def label_soundscapes(plan: EnsemblePlan) -> None:
    """Predict every soundscape, then keep the confident windows as pseudo-labels. Ray has to run.

    Raises:
        AudioError: soundscapes cannot be read and `data.on_bad_audio` is "fail".
    """
    names = ", ".join(f"{member.trial_id} ({member.macro_auc:.4f})" for member in plan.members)
    filenames, parts = plan.filenames, plan.rules.parts
    print(f"ensemble of {len(plan.members)}: {names}; {len(filenames)} soundscapes", flush=True)
    remove_stale(parts)
    shards = [filenames[first : first + FILES_PER_SHARD] for first in range(0, len(filenames), FILES_PER_SHARD)]
    bad = predict_shards(plan.rules, shards, plan.job.workers)
    if bad and plan.config.data.on_bad_audio == "fail":
        lines = "\n".join(f"  {name}: {reason}" for name, reason in bad)
        raise AudioError(
            f"{len(bad)} soundscapes cannot be read:\n{lines}\nRemove them, or add --set data.on_bad_audio=skip."
        )
    table = pd.concat([_read_part(parts / part_name(index)) for index in range(len(shards))], ignore_index=True)
    labels = select_labels(table, plan.classes, plan.config, plan.n_recordings)
    write_labels(plan, labels)
    write_json(plan.job.out / "summary.json", summary(table, labels, bad, len(filenames)))
    print(
        f"{len(table)} windows -> {len(labels)} pseudo-labels of {labels['primary_label'].nunique()} classes"
        + (f"; {len(bad)} unreadable soundscapes skipped" if bad else ""),
        flush=True,
    )


def remove_stale(parts: Path) -> None:
    """Remove the predictions of earlier ensembles, and nothing else that may lie in the folder."""
    for folder in parts.parent.glob("*"):
        if folder != parts and re.fullmatch("[0-9a-f]{16}", folder.name) and folder.is_dir():
            shutil.rmtree(folder)


def predict_shards(
    rules: PredictionRules, shards: Sequence[Sequence[str]], workers: int | None
) -> list[tuple[str, str]]:
    """Predict the shards that have no part file yet; the unreadable files with their reasons come back."""
    parts = rules.parts
    missing = [index for index in range(len(shards)) if not (parts / part_name(index)).is_file()]
    if len(missing) < len(shards):
        print(f"{len(shards) - len(missing)} of {len(shards)} parts are there already", flush=True)
    places = actor_options(rules)
    n_actors = min(len(missing), workers or len(places), len(places))
    actors = [_LabelWorker.options(**place).remote(rules) for place in places[:n_actors]]  # type: ignore[attr-defined]
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


def actor_options(rules: PredictionRules) -> list[dict[str, Any]]:
    """A place for each actor: the CPUs of the machines that see soundscapes, members and parts, or else this one."""
    seeing = nodes_with(cluster_nodes(), rules.parts, [rules.root, *rules.members])
    places = [(node.id, 1) for node in seeing for _ in range(int(node.cpus))]
    return [
        {"num_cpus": cpus, "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False)}
        for node_id, cpus in places or [(ray.get_runtime_context().get_node_id(), 0)]
    ]


def part_name(index: int) -> str:
    return f"part-{index:05d}.parquet"


@ray.remote(num_cpus=1)
class _LabelWorker:
    """Holds the members and labels shards, each into a file of its own."""

    def __init__(self, rules: PredictionRules) -> None:
        torch.set_num_threads(1)
        self.rules = rules
        self.members = [load_model(folder) for folder in rules.members]
        self.runtime = choose_runtime(self.members[0].config.optim)
        for member in self.members:
            self.runtime.place(member.model)

    def label(self, index: int, filenames: Sequence[str]) -> tuple[int, int]:
        """Write part `index`; its number and how many files it is about come back."""
        tables, bad = [], []
        for name in filenames:
            try:
                tables.append(predict_file(self.members, name, self.rules, self.runtime))
            except AudioError as error:
                bad.append((name, str(error)))
        rows = [row for table in tables for row in table]
        schema = PREDICTION_SCHEMA.with_metadata({"bad": json.dumps(bad)})
        write_parquet(self.rules.parts / part_name(index), pa.Table.from_pylist(rows, schema))
        return index, len(filenames)


def predict_file(
    members: Sequence[LoadedModel], filename: str, rules: PredictionRules, runtime: Runtime
) -> list[dict[str, Any]]:
    """Joined and smoothed predictions for every window of one soundscape; silent windows are 0."""
    config, inference = members[0].config, rules.inference
    rate, target_s = config.front_end.sample_rate_hz, config.data.target_s
    waveform = decode(rules.root / filename, rate)
    starts_s = target_starts(len(waveform) / rate, target_s, target_s * (1 - inference.overlap))
    by_member = predict_soundscape(members, waveform, starts_s, runtime)
    silent = window_rms(waveform, starts_s, target_s, rate) <= inference.silence_rms
    joined = pseudo.smooth(pseudo.combine(by_member, rules.method), inference.smoothing_centre)
    joined = pseudo.silence(joined, silent)
    spread = pseudo.disagreement(by_member)
    return [
        {
            "filename": filename,
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


def write_labels(plan: EnsemblePlan, labels: pd.DataFrame) -> None:
    out, classes, members = plan.job.out, plan.classes, plan.members
    write_parquet(out / "pseudo_labels" / part_name(0), pseudo.to_arrow(labels, classes, len(members)))
    write_json(
        out / "members.json",
        {"method": plan.job.method, "classes": list(classes), "members": [asdict(member) for member in members]},
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
