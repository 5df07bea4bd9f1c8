"""Event-based and segment-based F1, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.event_metrics import EventRules, class_metrics, count_events, metric_table, n_matched, site_metrics
from analysis.paper_metrics import Bootstrap

PLAIN = Bootstrap(0)
Row = tuple[str, str, float, float]


def table(rows: Sequence[Row]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["file", "label", "start_s", "end_s"])


def matched(true: Sequence[tuple[float, float]], found: Sequence[tuple[float, float]], **rules: float) -> int:
    return n_matched(np.array(true).reshape(-1, 2), np.array(found).reshape(-1, 2), EventRules(**rules))


@pytest.mark.parametrize(("shift_s", "right"), [(0.19, 1), (-0.19, 1), (0.2, 1), (0.21, 0), (-0.21, 0)])
def test_an_onset_may_be_off_by_the_collar(shift_s: float, right: int) -> None:
    assert matched([(3.0, 4.0)], [(3.0 + shift_s, 4.0)]) == right


@pytest.mark.parametrize(("end_s", "right"), [(10.9, 1), (9.1, 1), (11.01, 0), (8.99, 0)])
def test_the_offset_of_a_long_event_may_be_off_by_a_share_of_its_length(end_s: float, right: int) -> None:
    assert matched([(5.0, 10.0)], [(5.0, end_s)]) == right


def test_the_collars_are_the_users() -> None:
    assert matched([(3.0, 4.0)], [(3.4, 4.0)], onset_collar_s=0.5) == 1
    assert matched([(3.0, 4.0)], [(3.0, 4.4)], offset_collar_s=0.5) == 1
    assert matched([(3.0, 4.0)], [(3.0, 4.4)], offset_share=0.5) == 1


def test_one_detection_is_right_for_one_event_only() -> None:
    assert matched([(1.0, 2.0), (1.1, 2.1)], [(1.05, 2.05)]) == 1


def test_as_many_pairs_as_can_be_are_matched() -> None:
    """The first event could take either detection, the second one only the first."""
    assert matched([(1.1, 2.0), (0.9, 2.0)], [(1.0, 2.0), (1.25, 2.0)]) == 2


spans = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20)).map(lambda t: (t[0] / 10, (t[0] + t[1]) / 10)))


@given(spans, spans)
def test_no_more_pairs_than_either_side_has_and_all_with_itself(
    true: list[tuple[float, float]], found: list[tuple[float, float]]
) -> None:
    assert matched(true, true) == len(true)
    assert matched(true, found) <= min(len(true), len(found))


def test_the_mean_of_the_classes_and_the_micro_f1() -> None:
    """wren: 1 right of 1 and 1; robin: 1 right of 3 events and 1 detection, 2 x 1 / 4."""
    truth = table([("a", "wren", 1, 2), ("a", "robin", 1, 2), ("a", "robin", 5, 6), ("b", "robin", 1, 2)])
    detected = table([("a", "wren", 1.1, 2), ("a", "robin", 1, 2)])
    counts = count_events(truth, detected, ["a", "b"], ["robin", "wren"], EventRules())
    found = metric_table(counts, PLAIN).set_index("metric")
    assert found["value"]["event_f1"] == (1.0 + 0.5) / 2
    assert found["value"]["event_f1_micro"] == 2 * 2 / (4 + 2)
    assert found["n_classes"]["event_f1"] == 2
    by_class = class_metrics(counts, PLAIN).set_index("label")
    assert list(by_class.index) == ["robin", "wren"]
    assert by_class.loc["robin", ["event_precision", "event_recall"]].tolist() == [1.0, 1 / 3]
    assert by_class.loc["robin", ["n_events", "n_detections", "n_right"]].tolist() == [3, 1, 1]


def test_segments_are_counted_once_however_many_events_are_in_them() -> None:
    """True: seconds 0, 1 and 4; found: 1, 2, 3: one of three and three."""
    truth = table([("a", "wren", 0.5, 1.2), ("a", "wren", 1.5, 2.0), ("a", "wren", 4.0, 5.0)])
    detected = table([("a", "wren", 1.9, 4.0)])
    counts = count_events(truth, detected, ["a"], ["wren"], EventRules())
    assert metric_table(counts, PLAIN).set_index("metric")["value"]["segment_f1"] == pytest.approx(1 / 3)
    half = count_events(truth, detected, ["a"], ["wren"], EventRules(segment_s=0.5))
    assert half.segments.true.item() == 5  # 1, 2, 3; 8, 9


def test_detections_of_a_class_without_events_count_against_the_mean() -> None:
    truth, detected = table([("a", "wren", 1, 2)]), table([("a", "wren", 1, 2), ("a", "owl", 1, 2)])
    counts = count_events(truth, detected, ["a"], ["owl", "wren"], EventRules())
    assert metric_table(counts, PLAIN)["value"][0] == 0.5


def test_a_class_with_neither_events_nor_detections_is_left_out_of_the_mean() -> None:
    rows = table([("a", "wren", 1, 2)])
    found = metric_table(count_events(rows, rows, ["a"], ["owl", "wren"], EventRules()), PLAIN)
    assert found.loc[0, ["value", "n_classes"]].tolist() == [1.0, 1.0]


def test_intervals_are_over_files_and_one_file_has_none() -> None:
    truth = table([(file, "wren", 1, 2) for file in "abcd"])
    detected = table([(file, "wren", 1, 2) for file in "ab"])
    counts = count_events(truth, detected, list("abcd"), ["wren"], EventRules())
    low, high = metric_table(counts, PLAIN).loc[0, ["low", "high"]]
    assert 0 <= low < 2 / 3 < high <= 1
    one = counts.of_files(np.array([0]))
    assert metric_table(one, PLAIN)["low"].isna().all()


def test_sites_have_metrics_of_their_own() -> None:
    rows = table([("H01_1", "wren", 1, 2), ("H02_1", "wren", 1, 2)])
    counts = count_events(rows, rows[:1], ["H01_1", "H02_1", "x"], ["wren"], EventRules())
    sites = site_metrics(counts, ["H01", "H02", ""], PLAIN)
    assert sites[["site", "n_files", "event_f1"]].to_numpy().tolist() == [["H01", 1, 1.0], ["H02", 1, 0.0]]
