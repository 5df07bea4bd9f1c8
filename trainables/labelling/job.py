"""The ensemble job: share soundscapes out over actors, join the members' predictions, apply the label rules."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch

from sed_model.audio.odd_lengths import OddLength, odd_lines
from sed_model.audio.windows import decode_as_cached
from sed_model.core.errors import AudioError
from sed_model.core.files import write_json
from sed_model.core.parquet import write_parquet
from sed_model.core.texts import counted
from sed_model.labels import rules
from sed_model.model.checkpoint import LoadedModel
from sed_model.model.devices import Runtime, prediction_runtime
from sed_model.predict.window_scores import predict_soundscape, target_starts, window_rms
from sed_model.run_folder.folder import labels_of_part
from sed_model.run_folder.member_scores import WINDOW_SCHEMA, part_facts
from trainables.labelling.heard_before import NOTHING_HEARD, Entries, digests_of, remember
from trainables.labelling.members import table_lines
from trainables.labelling.plan import EnsemblePlan, PredictionRules, Shard, members_record
from trainables.labelling.write_labels import joined_windows, label_quality, print_result, summary
from trainables.on_ray.actors import Options, actor_pool, place_here, place_on, progress_line
from trainables.on_ray.cluster import cluster_nodes
from trainables.on_ray.node_check import nodes_with

KILLED = "a process that predicts soundscapes {}; lower --workers. What is predicted is kept: the same command goes on."
GPUS_PER_WORKER = 0.25
LISTED_BAD_FILES = 10
SCORE_KEYS = ("inference.frame_share", "inference.silence_rms")
"""What a score is made with; members are chosen by scores of their validation."""


def label_soundscapes(plan: EnsemblePlan) -> None:
    """Predict every soundscape, then keep the confident windows as pseudo-labels. Ray has to run.

    Raises:
        AudioError: no soundscape can be read; or any cannot, and the job is to fail then.
    """
    shards, labelled = plan.shards(), plan.labelled_shards()
    n_known = sum(len(shard.filenames) for shard in labelled)
    compared = f", and {n_known} labelled ones to compare with" if n_known else ""
    n_members, method = len(plan.choice.members), plan.job.method
    print(
        f"ensemble of {n_members} ({method}); {counted(len(plan.filenames), 'soundscape')} to label{compared}",
        flush=True,
    )
    print("\n".join(table_lines(plan.choice)), flush=True)
    if changed := {name: value for name, value in plan.rules.inference.items() if name in SCORE_KEYS}:
        given = ", ".join(f"{name}={value}" for name, value in changed.items())
        print(f"members were chosen by scores with their own settings; soundscapes are scored with {given}", flush=True)
    for reason, count in plan.sources.left_out.items():
        print(f"{count} files are left out: {reason}", flush=True)
    remove_stale(plan.rules.parts)
    predict_shards(plan, [*labelled, *shards])
    bad = [file for shard in shards for file in _bad_files(shard.part)]
    report_bad(bad, plan)
    report_odd(shards)
    write_sets(plan, shards)
    whole = plan.choice.whole()
    if whole is not None:
        print(
            f"labels for whom all labelled soundscapes validate: by the {sum(whole)} members that have heard none",
            flush=True,
        )
    labels, counts = write_labels(plan, shards, plan.job.out, whole)
    quality = label_quality(plan, labelled)
    write_json(plan.job.out / "summary.json", summary(plan, labels, counts, bad) | {"labelled": quality})
    print_result(labels, counts, plan.config.pseudo, quality)


def write_sets(plan: EnsemblePlan, shards: Sequence[Shard]) -> None:
    """The labels for students of each part of the labelled soundscapes, by members that have not heard it."""
    sets = plan.choice.label_sets()
    if (earlier := labels_of_part(plan.job.out)).is_dir():
        shutil.rmtree(earlier)
    for part, chosen in sets.items():
        labels, _ = write_labels(plan, shards, labels_of_part(plan.job.out, part), chosen)
        print(
            f"labels for part {part} of the labelled soundscapes: {len(labels)}, by the {sum(chosen)} members that "
            "have not heard it",
            flush=True,
        )


def write_labels(
    plan: EnsemblePlan, shards: Sequence[Shard], out: Path, chosen: Sequence[bool] | None = None
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Write pseudo_labels/ and members.json: of all members, or of the chosen ones."""
    table = joined_windows(plan, shards, chosen)
    labels, counts = rules.apply_rules(table, plan.classes, plan.config.pseudo, len(plan.data.recordings))
    n_members = len(plan.choice.members) if chosen is None else sum(chosen)
    write_parquet(out / "pseudo_labels" / "part-00000.parquet", rules.to_arrow(labels, plan.classes, n_members))
    write_json(out / "members.json", members_record(plan, chosen))
    return labels, counts


def report_bad(bad: Sequence[tuple[str, str]], plan: EnsemblePlan) -> None:
    """Say which files cannot be read.

    Raises:
        AudioError: there are any and the job is to fail then, or there are no others.
    """
    if not bad:
        return
    lines = [f"  {name}: {reason}" for name, reason in bad[:LISTED_BAD_FILES]]
    if len(bad) > LISTED_BAD_FILES:
        lines.append(f"  and {len(bad) - LISTED_BAD_FILES} more, in summary.json")
    message = f"{len(bad)} of {len(plan.filenames)} soundscapes cannot be read:\n" + "\n".join(lines)
    if plan.job.fail_on_bad_audio:
        raise AudioError(f"{message}\nRemove them, or leave out --fail-on-bad-audio.")
    if len(bad) == len(plan.filenames):
        raise AudioError(f"{message}\nGive a folder of readable audio.")
    print(message, flush=True)


def report_odd(shards: Sequence[Shard]) -> None:
    """Say how many files are read although their headers do not tell their lengths."""
    odd = [one for shard in shards for one in _odd_files(shard.part)]
    for line in odd_lines(odd, sum(len(shard.filenames) for shard in shards)):
        print(line, flush=True)


def remove_stale(parts: Path) -> None:
    """Remove the predictions of earlier ensembles, and nothing else that may lie in the folder."""
    for folder in parts.parent.glob("*"):
        if folder != parts and re.fullmatch("[0-9a-f]{16}", folder.name) and folder.is_dir():
            shutil.rmtree(folder)


def predict_shards(plan: EnsemblePlan, shards: Sequence[Shard]) -> None:
    """Predict the shards that have no part file yet.

    Raises:
        TrainingError: an actor dies again and again.
    """
    missing = [shard for shard in shards if not shard.part.is_file()]
    if len(missing) < len(shards):
        print(f"{len(shards) - len(missing)} of {len(shards)} parts are there already", flush=True)
    if not missing:
        return
    places = actor_options(plan.rules, [missing[0].root, missing[-1].root], plan.job.gpus_per_worker)
    n_actors = min(len(missing), plan.job.workers or len(places), len(places))
    start_s = time.monotonic()
    n_files, n_done = sum(len(shard.filenames) for shard in missing), 0

    def start(place: Options) -> Any:
        return _LabelWorker.options(**place).remote(plan.rules)  # type: ignore[attr-defined]

    with actor_pool(start, places[:n_actors], KILLED) as pool:
        for n_predicted in pool.map_unordered(lambda worker, shard: worker.label.remote(shard), missing):
            n_done += n_predicted
            print(progress_line("predicted", n_done, n_files, start_s), flush=True)


def actor_options(rules: PredictionRules, roots: Sequence[Path], gpus: float | None) -> list[Options]:
    """A place for each actor, on the machines that see soundscapes, members and parts, or else on this one.

    One for each CPU; on machines with GPUs one for each `gpus` of a GPU (None: GPUS_PER_WORKER; 0: use none).
    """
    share = GPUS_PER_WORKER if gpus is None else gpus
    seeing = nodes_with(cluster_nodes(), rules.parts, [*roots, *rules.members, *rules.teachers])
    places: list[Options] = []
    for node in seeing:
        on_gpus = int(node.gpus / share + 1e-6) if share else 0
        count = min(on_gpus, int(node.cpus)) or int(node.cpus)
        places += [place_on(node.id, 1, share if on_gpus else 0)] * count
    return places or [place_here()]


@ray.remote
class _LabelWorker:
    """Holds the members and predicts shards, each into a file of its own."""

    def __init__(self, rules: PredictionRules) -> None:
        torch.set_num_threads(1)
        self.members, self.entries = rules.load(), rules.entries
        self.runtime = prediction_runtime(self.members[0].config.optim)
        for member in self.members:
            self.runtime.place(member.model)

    def label(self, shard: Shard) -> int:
        """Write the part; how many files it is about comes back."""
        write_parquet(shard.part, predict_shard(self.members, shard, self.runtime, self.entries))
        return len(shard.filenames)


def predict_shard(
    members: Sequence[LoadedModel], shard: Shard, runtime: Runtime, entries: Entries = NOTHING_HEARD
) -> pa.Table:
    """Each member's probabilities for every window; bad files with reasons, and odd ones, are in the metadata."""
    n_classes = len(members[0].lineage.classes)
    vectors = pa.list_(pa.float32(), n_classes)
    schema = pa.schema([*WINDOW_SCHEMA, *((f"member_{number}", vectors) for number in range(len(members)))])
    tables, bad = [], []
    odd: list[OddLength] = []
    digests = digests_of(entries, shard.root, shard.filenames)
    for name in shard.filenames:
        remember(members, entries, digests.get(name))
        try:
            columns = predict_file(members, shard.root / name, shard.step_s, runtime, odd.append)
            columns["filename"] = [name] * len(columns["start_s"])  # with the folders that it is in below the root
        except AudioError as error:
            bad.append((name, str(error)))
            continue
        by_member = columns.pop("by_member")
        arrays = [pa.array(columns[field.name], field.type) for field in WINDOW_SCHEMA]
        arrays += [pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), n_classes) for rows in by_member]
        tables.append(pa.Table.from_arrays(arrays, schema=schema))
    table = pa.concat_tables(tables) if tables else schema.empty_table()
    notes = {"bad": json.dumps(bad), "odd": json.dumps([asdict(one) for one in odd])}
    return table.replace_schema_metadata(notes | part_facts(members[0].lineage.classes, shard.root))


def predict_file(
    members: Sequence[LoadedModel],
    path: Path,
    step_s: float,
    runtime: Runtime,
    on_odd: Callable[[OddLength], None],
) -> dict[str, Any]:
    """The windows of one soundscape, decoded once: filename, start_s, end_s, rms [windows] and by_member.

    Raises:
        UnreadableAudioError: the file cannot be decoded.
    """
    config = members[0].config
    rate, target_s = config.front_end.sample_rate_hz, config.data.target_s
    waveform = decode_as_cached(path, rate, on_odd)
    starts_s = target_starts(len(waveform) / rate, target_s, step_s)
    return {
        "filename": [path.name] * len(starts_s),
        "start_s": starts_s.astype(np.float32),
        "end_s": (starts_s + target_s).astype(np.float32),
        "rms": window_rms(waveform, starts_s, target_s, rate),
        "by_member": predict_soundscape(members, waveform, starts_s, runtime),
    }


def _bad_files(path: Path) -> Iterator[tuple[str, str]]:
    metadata = pq.read_schema(path).metadata or {}
    yield from json.loads(metadata.get(b"bad", b"[]"))


def _odd_files(path: Path) -> Iterator[OddLength]:
    metadata = pq.read_schema(path).metadata or {}
    yield from (OddLength(**one) for one in json.loads(metadata.get(b"odd", b"[]")))
