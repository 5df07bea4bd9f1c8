"""PSDS by hand, and against the values of sed_scores_eval 0.0.4 (with pandas 2) on the same random scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.paper_metrics import Bootstrap
from analysis.psds import FrameScores, PsdsRules, find_runs, psds_parts, psds_tables

ONE = PsdsRules(dtc=0.5, gtc=0.5, cttc=None, alpha_ct=0.0, alpha_st=0.0)
LABELS = ["x", "y", "z"]


def scored(
    scores: np.ndarray, rows: list[tuple[str, float, float]], rules: PsdsRules = ONE
) -> tuple[float, list[float]]:
    """Of one file, frames of a second, classes a, b, ..: of all and by class."""
    truth = pd.DataFrame([("f", *row) for row in rows], columns=["file", "label", "start_s", "end_s"])
    frames = FrameScores(np.arange(len(scores) + 1.0), np.array(scores, float).reshape(len(scores), -1))
    labels = sorted(set(truth["label"]))
    of_all, by_class = psds_tables(psds_parts([("f", frames)], truth, labels, rules), rules, Bootstrap())
    return float(of_all[0]), by_class[:, 0].tolist()


def test_runs_are_detections_between_two_scores() -> None:
    runs = find_runs(np.array([1.0, 3.0, 2.0, 2.0, 1.0]))
    assert sorted(map(tuple, runs.tolist())) == [(0, 5, 1, -np.inf), (1, 2, 3, 2), (1, 4, 2, 1)]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_every_threshold_has_its_runs(scores: list[int]) -> None:
    runs = find_runs(np.array(scores, float))
    for threshold in set(scores):
        alive = runs[(runs[:, 3] < threshold) & (threshold <= runs[:, 2])]
        covered = sorted(frame for first, end, *_ in alive for frame in range(int(first), int(end)))
        assert covered == [place for place, score in enumerate(scores) if score >= threshold]


def test_perfect_scores_have_1() -> None:
    assert scored(np.array([0, 1, 1, 0, 0]), [("a", 1.0, 3.0)])[0] == 1.0


def test_events_that_are_found_behind_false_positives_count_from_their_rate_on() -> None:
    """An hour of frames with 25 false positives that score higher than the event: 1 from 25 on, of 100."""
    scores = np.zeros(3600)
    scores[100:3600:140] = 0.9
    scores[10:12] = 0.5
    assert scored(scores, [("a", 10.0, 12.0)])[0] == pytest.approx(0.75)


def test_a_detection_of_which_events_cover_too_little_is_false() -> None:
    scores = np.zeros(3600)
    scores[10:20] = 0.5
    assert scored(scores, [("a", 10.0, 14.0)])[0] == 0.0
    assert scored(scores, [("a", 10.0, 15.0)])[0] == 1.0


def test_an_event_of_which_detections_cover_too_little_is_not_found() -> None:
    scores = np.zeros(3600)
    scores[10:14] = 0.5
    assert scored(scores, [("a", 10.0, 19.0)])[0] == 0.0
    assert scored(scores, [("a", 10.0, 18.0)])[0] == 1.0


def test_cross_triggers_cost_beside_false_positives() -> None:
    """One false positive an hour, on 2 s of another class's 3,600 / 72 = 50 s: 1 + 0.5 x 72."""
    scores = np.zeros((3600, 2))
    scores[100:102, 0], scores[10:12, 0], scores[100:150, 1] = 0.9, 0.5, 0.5
    rules = PsdsRules(dtc=0.5, gtc=0.5, cttc=0.3, alpha_ct=0.5, alpha_st=0.0)
    assert scored(scores, [("a", 10.0, 12.0), ("b", 100.0, 150.0)], rules)[1] == pytest.approx([1 - 0.37, 1.0])


def test_the_spread_of_the_classes_is_taken_off() -> None:
    """One class found, three not: mean 1/4, standard deviation sqrt(3)/4, the mean less a half of it."""
    rules = PsdsRules(dtc=0.5, gtc=0.5, cttc=None, alpha_ct=0.0, alpha_st=0.5)
    scores = np.zeros((3600, 4))
    scores[10:12, 0] = 0.5
    rows = [(label, 10.0, 12.0) for label in "abcd"]
    assert scored(scores, rows, rules)[0] == pytest.approx(0.25 - 0.5 * np.sqrt(3) / 4)


def random_files(seed: int) -> tuple[list[tuple[str, FrameScores]], pd.DataFrame]:
    rng = np.random.default_rng(seed)
    files, rows = [], []
    for file in "abcd":
        noise = rng.random((304, 3)) * 0.8
        scores = np.mean([noise[shift : shift + 300] for shift in range(5)], axis=0)
        for place, label in enumerate(LABELS):
            for start_s in range(2, 28, 6):
                onset_s = start_s + round(float(rng.uniform(0, 2)), 2)
                rows.append((file, label, onset_s, round(onset_s + float(rng.uniform(0.3, 3)), 2)))
                hit = place if rng.random() < 0.8 else (place + 1) % 3
                first = int(onset_s * 10) + int(rng.integers(-2, 3))
                scores[first : int(rows[-1][3] * 10), hit] += float(rng.uniform(0.05, 0.3))
        files.append((file, FrameScores(np.round(np.arange(301) * 0.1, 6), np.round(scores, 2))))
    return files, pd.DataFrame(rows, columns=["file", "label", "start_s", "end_s"])


REFERENCE = {
    PsdsRules(0.7, 0.7, None, 0.0, 1.0, 3000.0): (0.2849379329, [0.3655, 0.4815, 0.277]),
    PsdsRules(0.5, 0.5, 0.3, 0.5, 1.0, 2000.0): (0.2397017137, [0.3031907825, 0.5482571836, 0.2561358822]),
}
"""Of all and by class."""


@pytest.mark.parametrize("rules", REFERENCE)
def test_random_scores_have_the_values_of_the_reference(rules: PsdsRules) -> None:
    files, truth = random_files(4)
    of_all, by_class = psds_tables(psds_parts(files, truth, LABELS, rules), rules, Bootstrap(n_resamples=2))
    expected = REFERENCE[rules]
    assert of_all[0] == pytest.approx(expected[0], abs=1e-9)
    assert by_class[:, 0].tolist() == pytest.approx(expected[1], abs=1e-9)
