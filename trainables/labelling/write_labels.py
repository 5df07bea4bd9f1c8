"""From the members' predictions to pseudo-labels: join, smooth, apply the rules, and report what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sed_model.config.sed_config import Pseudo
from sed_model.core.parquet import read_parquet
from sed_model.labels import rules, worth
from sed_model.run_folder.member_scores import WINDOW_SCHEMA
from sed_model.scores import combine, smoothing
from trainables.labelling.members import joining
from trainables.labelling.plan import EnsemblePlan, Shard


def joined_windows(plan: EnsemblePlan, shards: Sequence[Shard], chosen: Sequence[bool] | None = None) -> pd.DataFrame:
    """The predictions of the members, joined and smoothed, as a table of `rules.label_table`; silent windows are 0.

    Of all members, or of those that are chosen; without the windows that none of these may label.
    """
    tables = [read_parquet(shard.part, WINDOW_SCHEMA) for shard in shards]
    whole = pa.concat_tables(table.replace_schema_metadata() for table in tables)
    windows = whole.select(WINDOW_SCHEMA.names).to_pandas(use_threads=False)
    by_member = np.stack(
        [_vectors(whole[name], len(plan.classes)) for name in whole.column_names[len(WINDOW_SCHEMA) :]]
    )
    weights = member_weights(plan, windows["filename"], chosen)
    if chosen is not None:
        labelled = weights.any(axis=0)
        windows, by_member, weights = (
            windows[labelled].reset_index(drop=True),
            by_member[:, labelled],
            weights[:, labelled],
        )
    joined = joining(plan.job.method, plan.config)(by_member, weights)
    joined = smoothing.smooth_files(joined, windows["filename"].tolist(), plan.config.inference.smoothing_centre)
    joined = smoothing.silence(joined, windows["rms"].to_numpy() <= plan.silence_rms)
    windows["disagreement"] = combine.disagreement(by_member, weights)
    windows["from_validation"] = windows["filename"].isin(plan.sources.from_validation)
    return rules.label_table(windows, joined, plan.classes)


def member_weights(plan: EnsemblePlan, filenames: pd.Series, chosen: Sequence[bool] | None = None) -> np.ndarray:
    """Of each member for each window [members, windows]: 0 for a recording that it trained on, or if not chosen."""
    members = plan.choice.members
    may_label = plan.sources.may_label
    everyone = (True,) * len(members)
    allowed = {name: may_label.get(name, everyone) for name in filenames.unique()}
    by_window = np.array([allowed[name] for name in filenames], bool).reshape(-1, len(members)).T
    if chosen is not None:
        by_window = by_window & np.array(chosen)[:, None]
    _, runs = np.unique([member.run for member in members], return_inverse=True)
    return combine.weights_by_window(np.array([member.weight for member in members]), runs, by_window)


def label_quality(plan: EnsemblePlan, shards: Sequence[Shard]) -> dict[str, Any] | None:
    """What the rules would make of the labelled soundscapes, against the truth; None without any."""
    truth = plan.data.soundscape_labels
    if truth is None or not shards:
        return None
    table = joined_windows(plan, shards)
    # Only numbers of rows are joined: a class may have the name of any column of the predictions.
    known = pd.DataFrame({"filename": [Path(path).name for path in truth["path"]], "end_s": truth["end_s"].to_numpy()})
    known["truth_row"] = range(len(known))
    for frame in (table, known):
        frame["end_ms"] = (frame["end_s"].astype(float) * 1000).round().astype(int)
    both = table.merge(known[["filename", "end_ms", "truth_row"]], on=["filename", "end_ms"])
    heard = worth.truth_of(truth, plan.classes)[both["truth_row"].to_numpy()]
    validated = any(member.validation["kind"] == "soundscapes" for member in plan.choice.members)
    note = "members were chosen by these soundscapes: too good" if validated else ""
    if plan.choice.label_sets():
        note = "by members that have not heard them"
    return {"note": note, **worth.quality(both, heard, plan.classes, plan.config.pseudo)}


def summary(
    plan: EnsemblePlan, labels: pd.DataFrame, counts: dict[str, int], bad: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """What was labelled, kept and skipped."""
    return {
        "soundscapes": len(plan.filenames),
        "left_out": dict(plan.sources.left_out),
        "unreadable": [{"filename": name, "reason": reason} for name, reason in bad],
        "windows": counts["windows"],
        "after_rule": counts,
        "pseudo_labels": len(labels),
        "from_validation": int(labels["from_validation"].sum()),
        "out_of_fold": len(plan.sources.may_label.keys() & set(plan.filenames)),
        "by_class": {str(label): int(count) for label, count in labels["primary_label"].value_counts().items()},
        "rules": plan.config.pseudo.model_dump(mode="json"),
    }


def print_result(labels: pd.DataFrame, counts: dict[str, int], rules: Pseudo, quality: dict[str, Any] | None) -> None:
    print(
        f"{counts['windows']} windows -> {len(labels)} pseudo-labels of {labels['primary_label'].nunique()} classes",
        flush=True,
    )
    best = f", and the best {rules.keep_top_share:.0%} of each class" if rules.keep_top_share else ""
    print(
        f"  after each rule: {counts['agreed']} (max_disagreement={rules.max_disagreement:g}), "
        f"{counts['confident']} (keep_window={rules.keep_window:g}{best}), "
        f"{counts['class_cap']} (max_per_class={rules.max_per_class}), "
        f"{counts['kept']} (max_share={rules.max_share:g} of the recordings)",
        flush=True,
    )
    by_class = labels["primary_label"].value_counts()
    if len(labels):
        print("  " + ", ".join(f"{label} {count}" for label, count in by_class.items()), flush=True)
    else:
        print("no window was sure enough to be kept; lower pseudo.keep_window, or train longer", flush=True)
    if marked := int(labels["from_validation"].sum()):
        print(f"{marked} of them are of files that a member was validated on (column from_validation)", flush=True)
    if quality:
        note = f" ({quality['note']})" if quality["note"] else ""
        print(f"the same rules on {quality['windows']} labelled windows{note}:", flush=True)
        print("\n".join(worth.lines(quality)), flush=True)


def _vectors(column: pa.ChunkedArray, n_classes: int) -> np.ndarray:
    chunks = [chunk.flatten().to_numpy().reshape(-1, n_classes) for chunk in column.chunks]
    return np.concatenate(chunks) if chunks else np.empty((0, n_classes), np.float32)
