"""Polyphonic sound detection scores (PSDS) of frame scores, over all thresholds at once, as DCASE reports them.

Bilen et al., A Framework for the Robust Evaluation of Sound Event Detection, 2020; Ebbers, Serizel, Haeb-Umbach,
Threshold-Independent Evaluation of Sound Event Detection Scores, 2022. Own code: sed_scores_eval 0.0.4, which gives
the same values, has to be compiled, fails with pandas 3 and needs pkg_resources, which setuptools no longer has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from analysis.paper_metrics import Bootstrap, file_weights, interval

HOUR_S = 3600.0
DECIMALS = 6
"""Of seconds: an overlap of exactly the share that is asked for is enough, whatever binary fractions make of it."""


@dataclass(frozen=True)
class PsdsRules:
    """Which detections are right, and what wrong ones cost.

    Attributes:
        dtc: share of a detection that events of its class have to cover; else it is a false positive.
        gtc: share of an event that such detections have to cover; then it is found.
        cttc: share of a false positive that events of another class have to cover: a cross trigger; None: none is.
        alpha_ct: what cross triggers cost beside false positives.
        alpha_st: what the spread of the classes costs: this often their standard deviation.
        max_efpr: up to so many effective false positives an hour.
    """

    dtc: float
    gtc: float
    cttc: float | None
    alpha_ct: float
    alpha_st: float
    max_efpr: float = 100.0


SCENARIOS = {
    "psds1": PsdsRules(0.7, 0.7, None, 0.0, 1.0),
    "psds2": PsdsRules(0.1, 0.1, 0.3, 0.5, 1.0),
}
"""Of DCASE's task 4 since 2021: react fast; tell classes apart."""
METRICS = {"psds1": "PSDS1", "psds2": "PSDS2"}


@dataclass(frozen=True)
class FrameScores:
    """Scores of a file.

    Attributes:
        edges_s: where frames begin and end, [frames + 1], rising.
        scores: [frames, classes].
    """

    edges_s: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class _Changes:
    """What changes for a class as the threshold falls to a score: of all files, by falling score.

    Attributes:
        scores, files: [changes]; `files` are places of files.
        found, false: events found and false positives more, [changes].
        crossed: false positives more that events of each class cover, [changes, classes].
    """

    scores: np.ndarray
    files: np.ndarray
    found: np.ndarray
    false: np.ndarray
    crossed: sparse.csr_array


_ARRAYS = ("scores", "files", "found", "false")


@dataclass(frozen=True)
class PsdsParts:
    """What a score is made of: changes by class; events and seconds of events, [files, classes]; seconds of files."""

    classes: tuple[str, ...]
    changes: tuple[_Changes, ...]
    n_events: np.ndarray
    events_s: np.ndarray
    files_s: np.ndarray


def psds_parts(
    files: Iterable[tuple[str, FrameScores]], truth: pd.DataFrame, classes: Sequence[str], rules: PsdsRules
) -> PsdsParts:
    """Go once through the frame scores.

    Args:
        files: name and scores of each file, with a column for each class.
        truth: file, label, start_s, end_s: a row an event; all classes have some.
    """
    column_of = {label: place for place, label in enumerate(classes)}
    events_of = {str(name): events for name, events in truth.groupby("file")}
    changes: list[list[_Changes]] = [[] for _ in classes]
    n_events, events_s, files_s = [], [], []
    for place, (name, frames) in enumerate(files):
        events = events_of.get(name, truth.iloc[:0])
        spans = events[["start_s", "end_s"]].to_numpy(float).reshape(-1, 2)
        columns = events["label"].map(column_of).to_numpy(int)
        covered_s = _covered_s(frames.edges_s, spans, columns, len(classes))
        for column, of_class in enumerate(changes):
            runs = find_runs(frames.scores[:, column])
            of_class.append(_changes(runs, frames.edges_s, covered_s, spans[columns == column], (column, place), rules))
        n_events.append(np.bincount(columns, minlength=len(classes)))
        events_s.append(np.bincount(columns, np.diff(spans).ravel(), len(classes)))
        files_s.append(frames.edges_s[-1] - frames.edges_s[0])
    joined = tuple(_joined(parts) for parts in changes)
    return PsdsParts(tuple(classes), joined, np.array(n_events), np.array(events_s), np.array(files_s))


def psds_tables(parts: PsdsParts, rules: PsdsRules, bootstrap: Bootstrap) -> tuple[np.ndarray, np.ndarray]:
    """Value, low and high of the score, [3], and those of each class without the cost of spread, [classes, 3].

    A class of which a resample has no event does not count in it.
    """
    drawn, by_class = [], []
    for weights in file_weights(len(parts.files_s), bootstrap):
        curves = _curves(parts, rules, weights)
        areas = {column: _area([curve], 0.0, rules.max_efpr) for column, curve in curves.items()}
        drawn.append(_area(list(curves.values()), rules.alpha_st, rules.max_efpr))
        by_class.append([areas.get(column, np.nan) for column in range(len(parts.classes))])
    columns = np.array(by_class).T
    return (
        np.array(interval(np.array(drawn), bootstrap.confidence)),
        np.array([interval(column, bootstrap.confidence) for column in columns]).reshape(-1, 3),
    )


def find_runs(scores: np.ndarray) -> np.ndarray:
    """Every stretch of frames that is a detection at some threshold, [runs, 4]: first frame, end, birth, death.

    It is one while death < threshold <= birth, for a frame counts whose score is at least the threshold. There are no
    more runs than frames, however many thresholds.
    """
    runs: list[tuple[float, float, float, float]] = []
    rising: list[tuple[int, float]] = []
    for place, score in enumerate([*scores.tolist(), -np.inf]):
        first = place
        while rising and rising[-1][1] > score:
            first, birth = rising.pop()
            runs.append((first, place, birth, max(score, rising[-1][1]) if rising else score))
        if not rising or rising[-1][1] < score:
            rising.append((first, score))
    return np.array(runs, float).reshape(-1, 4)


def _covered_s(edges_s: np.ndarray, spans: np.ndarray, columns: np.ndarray, n_classes: int) -> np.ndarray:
    """Seconds of each class's events before each edge, [edges, classes]."""
    covered_s = np.zeros((len(edges_s), n_classes))
    for (start_s, end_s), column in zip(spans, columns, strict=True):
        covered_s[:, column] += np.clip(edges_s, start_s, end_s) - start_s
    return covered_s


def _changes(
    runs: np.ndarray,
    edges_s: np.ndarray,
    covered_s: np.ndarray,
    events: np.ndarray,
    place: tuple[int, int],
    rules: PsdsRules,
) -> _Changes:
    """Of one class in one file.

    Args:
        events: start and end of its events, [events, 2].
        place: the numbers of the class and of the file.
    """
    first, end = runs[:, :2].astype(int).T
    lengths_s = edges_s[end] - edges_s[first]
    overlaps_s = covered_s[end] - covered_s[first]
    right = _reaches(overlaps_s[:, place[0]], rules.dtc * lengths_s)
    crossed = np.zeros(overlaps_s.shape, np.int64)
    if rules.cttc is not None:
        crossed[~right] = _reaches(overlaps_s[~right], rules.cttc * lengths_s[~right, None])
    births, deaths, false = runs[:, 2], runs[:, 3], (~right).astype(np.int64)
    scores, found = [births, deaths], [np.zeros(2 * len(runs), np.int64)]
    for start_s, end_s in events:
        near = np.clip(edges_s[end], start_s, end_s) - np.clip(edges_s[first], start_s, end_s)
        hits = right & (near > 0)
        event_scores, changes = _found(runs[hits], near[hits], rules.gtc * (end_s - start_s))
        scores.append(event_scores)
        found.append(changes)
    all_scores, n_runs = np.concatenate(scores), len(runs)
    rest = np.zeros(len(all_scores) - 2 * n_runs, np.int64)
    covers = sparse.csr_array(crossed)
    return _Changes(
        all_scores,
        np.full(len(all_scores), place[1]),
        np.concatenate(found),
        np.concatenate([false, -false, rest]),
        sparse.vstack([covers, -covers, sparse.csr_array((len(rest), crossed.shape[1]), dtype=np.int64)], "csr"),
    )


def _found(runs: np.ndarray, overlaps_s: np.ndarray, needed_s: float) -> tuple[np.ndarray, np.ndarray]:
    """At which scores an event begins (1) or ceases (-1) to be found: when right detections cover enough of it."""
    scores = np.concatenate([runs[:, 2], runs[:, 3]])
    levels, place = np.unique(-scores, return_inverse=True)
    covered_s = np.cumsum(np.bincount(place, np.concatenate([overlaps_s, -overlaps_s]), len(levels)))
    return -levels, np.diff(_reaches(covered_s, needed_s).astype(np.int64), prepend=0)


def _reaches(overlaps_s: np.ndarray, needed_s: np.ndarray | float) -> np.ndarray:
    return np.round(overlaps_s, DECIMALS) >= np.round(needed_s, DECIMALS)


def _joined(parts: Sequence[_Changes]) -> _Changes:
    """By falling score, without what changes nothing."""
    values = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    values["crossed"] = sparse.vstack([part.crossed for part in parts], "csr")
    counts = (values["found"] != 0) | (values["false"] != 0)
    counts &= np.isfinite(values["scores"])
    order = np.flatnonzero(counts)[np.argsort(-values["scores"][counts], kind="stable")]
    return _Changes(**{name: value[order] for name, value in values.items()})


Curve = tuple[np.ndarray, np.ndarray]
"""Effective false positives an hour, rising, and the share of events that is found from there on."""


def _curves(parts: PsdsParts, rules: PsdsRules, weights: np.ndarray) -> Mapping[int, Curve]:
    """The curve of each class that has an event, by its place; `weights`: how often each file counts."""
    n_events, events_s = weights @ parts.n_events, weights @ parts.events_s
    there = np.flatnonzero(n_events > 0)
    hours = weights @ parts.files_s / HOUR_S
    curves = {}
    for column in there:
        changes = parts.changes[column]
        drawn = weights[changes.files]
        false = drawn * changes.false / hours
        if rules.alpha_ct and len(there) > 1:
            others = there[there != column]
            costs = np.zeros(len(parts.classes))
            costs[others] = rules.alpha_ct * HOUR_S / events_s[others] / len(others)
            false = false + drawn * (changes.crossed @ costs)
        last = np.flatnonzero(np.diff(changes.scores, append=-np.inf) < 0)  # of the changes at one score
        found = np.cumsum(drawn * changes.found)[last] / n_events[column]
        curves[int(column)] = _best(np.cumsum(false)[last], found, rules.max_efpr)
    return curves


def _best(false: np.ndarray, found: np.ndarray, max_efpr: float) -> Curve:
    """The most that is found with so many false positives or fewer: where it rises."""
    false = np.round(false, 9)  # sums of changes up and down
    order = np.lexsort((-found, false))
    order = order[false[order] <= max_efpr]
    best = np.maximum.accumulate(np.concatenate([[0.0], found[order]]))
    rises = np.flatnonzero(best[1:] > best[:-1])
    return np.concatenate([[0.0], false[order][rises]]), np.concatenate([[0.0], best[1:][rises]])


def _area(curves: Sequence[Curve], alpha_st: float, max_efpr: float) -> float:
    """The mean below the classes' mean less their spread, 0..1; NaN without a class."""
    if not curves:
        return float("nan")
    edges = np.unique(np.concatenate([false for false, _ in curves]))
    found = np.array([best[np.searchsorted(false, edges, side="right") - 1] for false, best in curves])
    height = np.maximum(found.mean(axis=0) - alpha_st * found.std(axis=0), 0)
    return float(height @ np.diff(edges, append=max_efpr) / max_efpr)
