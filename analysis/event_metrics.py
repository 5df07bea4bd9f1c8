"""The metrics that papers report of events with onset and offset, with bootstrap intervals over the files.

Event-based and segment-based F1: Mesaros, Heittola, Virtanen, Metrics for Polyphonic Sound Event Detection, 2016. Own
code, for sed_eval 0.2.1 needs pkg_resources, which setuptools no longer has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from analysis.paper_metrics import Bootstrap, file_weights, interval
from sed_model.run_folder.resampling import mean_of_classes

METRICS = {
    "event_f1": "event-based F1",
    "event_f1_micro": "event-based F1, micro",
    "segment_f1": "segment-based F1",
    "segment_f1_micro": "segment-based F1, micro",
}
"""Column -> what people call it; not micro: the mean of the classes."""
CLASS_METRICS = ("event_f1", "event_precision", "event_recall", "segment_f1")
ROUNDING_S = 1e-6
"""Times are read to the microsecond; 3.2 - 3.0 is more than 0.2."""


@dataclass(frozen=True)
class EventRules:
    """When a detection is right, in seconds.

    Attributes:
        onset_collar_s: so far it may begin from the event's onset.
        offset_collar_s: so far it may end from the event's offset, or
        offset_share: this share of the event's length, where that is more.
        segment_s: length of a segment.
    """

    onset_collar_s: float = 0.2
    offset_collar_s: float = 0.2
    offset_share: float = 0.2
    segment_s: float = 1.0


@dataclass(frozen=True)
class Counts:
    """Right detections, true ones and all detections, [files, classes] each: of events, or of segments."""

    right: np.ndarray
    true: np.ndarray
    found: np.ndarray

    def drawn(self, weights: np.ndarray) -> Counts:
        """The sums under each weighting of the files, [resamples, classes]."""
        return Counts(weights @ self.right, weights @ self.true, weights @ self.found)

    def f1(self) -> np.ndarray:
        """2 right / (true + found); NaN where there is neither."""
        return _ratio(2 * self.right, self.true + self.found)

    def micro_f1(self) -> np.ndarray:
        """The same over all classes, [resamples]."""
        return _ratio(2 * self.right.sum(axis=-1), (self.true + self.found).sum(axis=-1))


@dataclass(frozen=True)
class EventCounts:
    """What all metrics of events are made of."""

    files: tuple[str, ...]
    classes: tuple[str, ...]
    events: Counts
    segments: Counts

    def of_files(self, rows: np.ndarray) -> EventCounts:
        """Those of some files, by their places."""
        files = tuple(self.files[row] for row in rows)
        parts = (Counts(c.right[rows], c.true[rows], c.found[rows]) for c in (self.events, self.segments))
        return EventCounts(files, self.classes, *parts)


def count_events(
    truth: pd.DataFrame, detected: pd.DataFrame, files: Sequence[str], classes: Sequence[str], rules: EventRules
) -> EventCounts:
    """Count matches by file and class.

    Args:
        truth: file, label, start_s, end_s: a row an event.
        detected: the same of the detections.
    """
    counts = np.zeros((6, len(files), len(classes)), np.int64)
    row_of, column_of = ({name: place for place, name in enumerate(names)} for names in (files, classes))
    true_spans, found_spans = _spans(truth), _spans(detected)
    none = np.empty((0, 2))
    for key in true_spans.keys() | found_spans.keys():
        true, found = true_spans.get(key, none), found_spans.get(key, none)
        segments = [_segments(spans, rules.segment_s) for spans in (true, found)]
        counts[:, row_of[key[0]], column_of[key[1]]] = (
            *(n_matched(true, found, rules), len(true), len(found)),
            *(len(segments[0] & segments[1]), len(segments[0]), len(segments[1])),
        )
    return EventCounts(tuple(files), tuple(classes), Counts(*counts[:3]), Counts(*counts[3:]))


def n_matched(true: np.ndarray, found: np.ndarray, rules: EventRules) -> int:
    """The most pairs of a true event and a detection within the collars, each in one pair at most.

    Args:
        true: start and end of the events in seconds, [events, 2].
        found: those of the detections, [detections, 2].
    """
    found = found[np.argsort(found[:, 0])]
    collar_s = rules.onset_collar_s + ROUNDING_S
    first, end = (np.searchsorted(found[:, 0], true[:, 0] + shift_s) for shift_s in (-collar_s, collar_s))
    of_event = np.repeat(np.arange(len(true)), end - first)
    before = np.repeat(np.cumsum(end - first) - (end - first), end - first)  # pairs of the events before
    of_detection = np.repeat(first, end - first) + np.arange(len(of_event)) - before
    lengths_s = true[:, 1] - true[:, 0]
    allowed_s = np.maximum(rules.offset_collar_s, rules.offset_share * lengths_s) + ROUNDING_S
    near = np.abs(true[of_event, 1] - found[of_detection, 1]) <= allowed_s[of_event]
    pairs = of_event[near], of_detection[near]
    graph = csr_array((np.ones(len(pairs[0]), bool), pairs), shape=(len(true), len(found)))
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum()) if len(pairs[0]) else 0


def metric_table(counts: EventCounts, bootstrap: Bootstrap) -> pd.DataFrame:
    """A row a metric: metric, value, low, high, n_classes (that it is the mean of; NaN for micro).

    A class with neither an event nor a detection does not count. Intervals of a single file are NaN.
    """
    weights = file_weights(len(counts.files), bootstrap)
    rows: list[tuple[str, float, float, float, float]] = []
    for name, drawn in (("event_f1", counts.events.drawn(weights)), ("segment_f1", counts.segments.drawn(weights))):
        by_class = drawn.f1()
        n_classes = float((~np.isnan(by_class[0])).sum())
        rows.append((name, *interval(mean_of_classes(by_class), bootstrap.confidence), n_classes))
        rows.append((f"{name}_micro", *interval(drawn.micro_f1(), bootstrap.confidence), math.nan))
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n_classes"])


def class_metrics(counts: EventCounts, bootstrap: Bootstrap) -> pd.DataFrame:
    """A row a class, by event-based F1, the worst first: label, n_events, n_detections, n_right, and value, _low and
    _high of each of CLASS_METRICS; NaN where it is not defined.
    """
    weights = file_weights(len(counts.files), bootstrap)
    events, segments = counts.events.drawn(weights), counts.segments.drawn(weights)
    columns = {"n_events": counts.events.true, "n_detections": counts.events.found, "n_right": counts.events.right}
    table = pd.DataFrame({"label": counts.classes} | {name: values.sum(axis=0) for name, values in columns.items()})
    precision, recall = _ratio(events.right, events.found), _ratio(events.right, events.true)
    for name, values in zip(CLASS_METRICS, (events.f1(), precision, recall, segments.f1()), strict=True):
        intervals = [interval(column, bootstrap.confidence) for column in values.T]
        table[[name, f"{name}_low", f"{name}_high"]] = np.array(intervals).reshape(-1, 3)
    return table.sort_values(["event_f1", "label"], na_position="last", ignore_index=True)


def site_metrics(counts: EventCounts, sites: Sequence[str], bootstrap: Bootstrap) -> pd.DataFrame:
    """A row a site, in order: site, n_files, and value, low and high of each metric; empty without sites.

    Args:
        sites: of each file; empty where it is not known.
    """
    rows = []
    for site in sorted(set(sites) - {""}):
        part = counts.of_files(np.flatnonzero(np.asarray(sites, dtype=object) == site))
        values: dict[str, object] = {"site": site, "n_files": len(part.files)}
        for row in metric_table(part, bootstrap).to_dict("records"):
            name = str(row["metric"])
            values |= {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
        rows.append(values)
    return pd.DataFrame(rows)


def _spans(events: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Start and end in seconds, [events, 2], by file and class."""
    spans: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for file, label, start_s, end_s in events[["file", "label", "start_s", "end_s"]].itertuples(index=False):
        spans.setdefault((file, label), []).append((start_s, end_s))
    return {key: np.array(values) for key, values in spans.items()}


def _segments(spans: np.ndarray, segment_s: float) -> set[int]:
    """The numbers of the segments that an event reaches into."""
    firsts = np.floor((spans[:, 0] + ROUNDING_S) / segment_s).astype(int)
    ends = np.ceil((spans[:, 1] - ROUNDING_S) / segment_s).astype(int)
    return {number for first, end in zip(firsts, ends, strict=True) for number in range(first, end)}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
