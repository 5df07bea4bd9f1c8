"""The score command: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.score import main
from sed_model.core.errors import ConfigError, DataError

SUBMISSION = "row_id,wren,robin\n" + "".join(
    f"H0{site}_2023042{day}_070000_{end_s},{0.9 - 0.1 * site},{end_s / 20}\n"
    for site in (1, 2)
    for day in (0, 1)
    for end_s in (5, 10)
)
TRUTH = "row_id,wren,robin\n" + "".join(
    f"H0{site}_2023042{day}_070000_{end_s},{int(site == 1)},{int(end_s == 5)}\n"
    for site in (1, 2)
    for day in (0, 1)
    for end_s in (5, 10)
)
"""The wren is found always, the robin never."""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "submission.csv").write_text(SUBMISSION)
    (tmp_path / "truth.csv").write_text(TRUTH)
    return ["--predictions", str(tmp_path / "submission.csv"), "--truth", str(tmp_path / "truth.csv")]


def test_metrics_sites_and_classes_are_printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    printed = capsys.readouterr().out
    assert "8 windows of 4 files, 2 classes" in printed
    assert [line.split("│")[2].strip() for line in printed.splitlines() if "macro AUC " in line and "│" in line] == [
        "0.5000"
    ]
    for part in ("cmAP (macro AP)", "cmAP5", "padded cmAP", "top-1 accuracy", "H01", "H02", "robin", "wren"):
        assert part in printed


def test_json_holds_everything_and_null_for_what_is_not_defined(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*words, "--out", str(tmp_path / "scores.json")])
    document = json.loads((tmp_path / "scores.json").read_text())
    assert {row["metric"]: row["value"] for row in document["metrics"]}["macro_auc"] == 0.5
    assert {row["label"]: row["auc"] for row in document["classes"]} == {"robin": 0.0, "wren": 1.0}
    assert {row["metric"]: row["value"] for row in document["metrics"]}["cmap5"] is None
    assert [row["site"] for row in document["sites"]] == ["H01", "H02"]
    assert (document["n_windows"], document["n_files"]) == (8, 4)
    assert capsys.readouterr().out.endswith("scores.json\n")


def test_csv_has_a_row_a_metric_of_all_sites_and_classes(words: list[str], tmp_path: Path) -> None:
    main([*words, "--out", str(tmp_path / "scores.csv")])
    table = pd.read_csv(tmp_path / "scores.csv").set_index(["level", "name", "metric"])["value"]
    assert table["class", "wren", "auc"] == 1.0
    assert table["site", "H01", "top1"] == 1.0
    assert len(table) == 5 + 2 * 5 + 2 * 2


def test_the_pattern_of_sites_is_the_users(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*words, "--sites", r"_(2023\d+)_"])
    printed = capsys.readouterr().out
    assert "20230420" in printed
    assert "H01" not in printed


def test_a_pattern_that_no_name_has_is_refused(words: list[str]) -> None:
    with pytest.raises(DataError, match="--sites X"):
        main([*words, "--sites", "X(.)"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--sites", "("], "is no regular expression"),
        (["--sites", "H"], "has 0 groups; put the site in one"),
        (["--seed", "-1"], "is not a whole number"),
    ],
)
def test_wrong_options_end_with_2(
    words: list[str], more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*words, *more])
    assert message in capsys.readouterr().err


def test_other_files_than_json_and_csv_are_refused_before_anything_is_read(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "truth.csv").unlink()
    with pytest.raises(ConfigError, match=r"name a \.json or a \.csv file"):
        main([*words, "--out", str(tmp_path / "scores.xlsx")])


def test_names_in_tables_are_data_on_the_terminal(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("submission.csv", "truth.csv"):
        path = tmp_path / name
        path.write_text(path.read_text().replace("wren", "[red]\x1b[31m"))
    main(words)
    printed = capsys.readouterr().out
    assert "[red]\\x1b[31m" in printed
    assert "\x1b" not in printed


EVENTS = "filename,onset_s,offset_s,label,score\nH01_20230420_070000.ogg,1.19,2.2,wren,0.9\n"


@pytest.fixture
def event_words(tmp_path: Path) -> list[str]:
    """One detection that is right, one event that is missed."""
    (tmp_path / "events" / "frame_scores").mkdir(parents=True)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "events" / "events.csv").write_text(EVENTS)
    track = "1.0\t2.0\twren\n3.0\t4.0\trobin\n5.0\t5.0\twren\n"
    (tmp_path / "annotations" / "H01_20230420_070000.txt").write_text(track)
    frames = "".join(f"{second}\t{second + 1}\t{int(second == 1)}\t0\n" for second in range(6))
    table = tmp_path / "events" / "frame_scores" / "H01_20230420_070000.tsv"
    table.write_text(f"onset\toffset\twren\trobin\n{frames}")
    return ["--events", str(tmp_path / "events"), "--truth", str(tmp_path / "annotations")]


def test_events_are_scored_and_what_is_left_out_is_told(
    event_words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(event_words)
    printed = capsys.readouterr().out
    assert "events without a length (1):" in printed
    assert "2 events, 1 detection, 1 file, 2 classes" in printed
    for name in ("event-based F1 ", "event-based F1, micro"):
        (line,) = (line for line in printed.splitlines() if name in line and line.count("│") == 5)
        assert line.split("│")[2].strip() == {"event-based F1 ": "0.5000"}.get(name, "0.6667")


def test_events_against_themselves_have_1(event_words: list[str], tmp_path: Path) -> None:
    main(["--events", event_words[3], "--truth", event_words[3], "--out", str(tmp_path / "scores.json")])
    document = json.loads((tmp_path / "scores.json").read_text())
    assert [row["value"] for row in document["metrics"]] == [1.0, 1.0, 1.0, 1.0]


def test_names_are_read_by_the_taxonomy_of_the_data_folder(
    event_words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One event and one detection that is right; without the taxonomy it is of another class, and that is told."""
    (tmp_path / "annotations" / "H01_20230420_070000.txt").write_text("1.0\t2.0\tEurasian Wren\n")
    (tmp_path / "taxonomy.csv").write_text("primary_label,common_name\nwren,Eurasian Wren\n")
    main(event_words)
    assert "--data DIR reads the names of DIR/taxonomy.csv" in capsys.readouterr().out
    out = tmp_path / "scores.json"
    main([*event_words, "--data", str(tmp_path), "--out", str(out)])
    assert "labels read as: Eurasian Wren = wren (1)" in capsys.readouterr().out
    values = {row["metric"]: row["value"] for row in json.loads(out.read_text())["metrics"]}
    assert values["event_f1"] == 1.0


def test_frame_scores_have_psds_of_all_and_by_class(event_words: list[str], tmp_path: Path) -> None:
    words = [*event_words, "--frame-scores", str(tmp_path / "events" / "frame_scores")]
    main([*words, "--out", str(tmp_path / "scores.csv")])
    table = pd.read_csv(tmp_path / "scores.csv").set_index(["level", "name", "metric"])["value"]
    assert (table["class", "wren", "psds1"], table["class", "robin", "psds1"]) == (1.0, 0.0)
    assert table["all"].droplevel(0)["psds1"] == 0.0  # mean 0.5 less the standard deviation, 0.5
    assert ("site", "H01", "event_f1") in table.index


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data", "a"], "--data is about events: give --events instead of --predictions"),
        (["--onset-collar-s", "1"], "--onset-collar-s is about events: give --events instead of --predictions"),
        (["--truth", "a", "b"], "one table of labels beside --predictions"),
        (["--events", "a"], "not allowed with argument --predictions"),
    ],
)
def test_options_of_events_are_refused_beside_a_submission(
    words: list[str], more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*words, *more])
    assert message in capsys.readouterr().err
