"""Score detected events against true ones, and frame scores by PSDS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import psds
from analysis.event_metrics import (
    CLASS_METRICS,
    METRICS,
    EventRules,
    class_metrics,
    count_events,
    metric_table,
    site_metrics,
)
from analysis.paper_metrics import Bootstrap
from analysis.score_tables import Scored, check_sites
from sed_model.core import cli
from sed_model.core.soundscape_names import SITE
from sed_model.core.texts import counted, printable
from sed_model.data.frame_scores import classes_of, frame_tables, read_frame_scores
from sed_model.data.near_names import LabelFinder
from sed_model.data.scored_events import ScoredEvents, read_scored_events


@dataclass(frozen=True)
class EventJob:
    """What to score.

    Attributes:
        events: tables of detections, and folders of them.
        truth: the same of the true events.
        label_column: of the classes; None: the one that is called like one.
        sites: its first group is the site in a file's name; None: as the competitions name files.
        frame_scores: folder of their tables; None: there is no PSDS.
        data: folder whose taxonomy.csv says what classes are called; None: labels are those of the detections.
    """

    events: tuple[Path, ...]
    truth: tuple[Path, ...]
    rules: EventRules
    label_column: str | None = None
    sites: re.Pattern[str] | None = None
    frame_scores: Path | None = None
    data: Path | None = None


def score(job: EventJob, bootstrap: Bootstrap) -> Scored:
    """Score, and say what was left out."""
    read = read_scored_events(job.events, job.truth, job.label_column, job.sites or SITE, job.data)
    check_sites(job.sites, read.sites, read.files)
    for note in read.notes:
        cli.say(f"data: {note}")
    if job.data is None and len(read.detected) and set(read.truth["label"]).isdisjoint(read.detected["label"]):
        cli.say("data: no class has both an event and a detection; --data DIR reads the names of DIR/taxonomy.csv")
    if read.left_out:
        cli.say(f"left out:\n{printable(read.left_out.report())}")
    counts = count_events(read.truth, read.detected, read.files, read.classes, job.rules)
    tables = {
        "metrics": metric_table(counts, bootstrap),
        "sites": site_metrics(counts, read.sites, bootstrap),
        "classes": class_metrics(counts, bootstrap),
    }
    if job.frame_scores:
        tables |= with_psds(tables, read, job.frame_scores, bootstrap)
    more = psds.METRICS if job.frame_scores else {}
    numbers = {"n_events": len(read.truth), "n_detections": len(read.detected), "n_files": len(read.files)}
    size = ", ".join(counted(numbers[f"n_{thing}s"], thing) for thing in ("event", "detection", "file"))
    return Scored(
        tables=tables,
        names=METRICS | more,
        site_names=METRICS,
        site_counts={"n_files": "files"},
        class_names={"event_f1": "event F1", "event_precision": "precision", "event_recall": "recall"},
        class_counts={"n_events": "events", "n_detections": "detections", "n_right": "right"},
        class_metrics=(*CLASS_METRICS, *more),
        size=f"{size}, {len(read.classes)} classes",
        head={
            "events": [str(path) for path in job.events],
            "truth": [str(path) for path in job.truth],
            "frame_scores": str(job.frame_scores) if job.frame_scores else None,
            "seed": bootstrap.seed,
            "rules": asdict(job.rules),
            **numbers,
            "notes": list(read.notes),
            "left_out": read.left_out.report().splitlines(),
        },
    )


def with_psds(
    tables: dict[str, pd.DataFrame], read: ScoredEvents, folder: Path, bootstrap: Bootstrap
) -> dict[str, pd.DataFrame]:
    """The tables of metrics and of classes with the PSDS of frame scores; a class without an event has none."""
    metrics, classes = tables["metrics"], tables["classes"]
    paths, labels = frame_tables(folder, read.files), sorted(set(read.truth["label"]))
    finder = LabelFinder(classes_of(paths))
    columns = [finder.find(label)[0] for label in labels]
    if absent := [label for label in labels if label not in finder]:
        cli.say(f"data: classes without a column of frame scores, whose PSDS is 0: {len(absent)}")

    def files() -> Iterator[tuple[str, psds.FrameScores]]:
        for name, path in paths.items():
            yield name, psds.FrameScores(*read_frame_scores(path, columns))

    for name, rules in psds.SCENARIOS.items():
        of_all, of_class = psds.psds_tables(psds.psds_parts(files(), read.truth, labels, rules), rules, bootstrap)
        row = pd.DataFrame([(name, *of_all, len(labels))], columns=list(metrics.columns))
        metrics = pd.concat([metrics, row], ignore_index=True)
        names = [name, f"{name}_low", f"{name}_high"]
        found = pd.DataFrame(np.array(of_class).reshape(-1, 3), columns=names).assign(label=labels)
        classes = classes.merge(found, on="label", how="left")
    return {"metrics": metrics, "classes": classes}
