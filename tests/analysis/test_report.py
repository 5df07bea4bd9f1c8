"""The report as a file: what it says of runs good and bad, and that strangers' text stays text."""

import html
import json
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from analysis.report import main
from tests.analysis.conftest import (
    FLOATS,
    HOSTILE_CLASSES,
    HOSTILE_ERROR,
    HOSTILE_STAGE,
    HOSTILE_VALUES,
    curve_rows,
    oof_rows,
    trial_rows,
    write_hostile_run,
    write_run,
    write_table,
)
from tests.hostile import Outcome


class Elements(HTMLParser):
    """Names of the elements, and the text outside of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data


def page_of(*runs: Path) -> str:
    out = runs[0].parent / "page.html"
    main([word for run in runs for word in ("--run", str(run))] + ["--out", str(out)])
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(hostile_run: Path) -> str:
    return page_of(hostile_run)


def test_text_of_tables_stays_text(page: str) -> None:
    elements = Elements(page)

    # Ours: one with each figure, plotly.js and report.js; the name of the class opens none.
    assert elements.names.count("script") == page.count('<div class="plot"') + 2
    for name in ("b", "img", "svg"):
        assert name not in elements.names
    settings = ("<svg onload=alert(4)>", *HOSTILE_VALUES[:3])
    for text in (*HOSTILE_CLASSES, HOSTILE_ERROR, HOSTILE_STAGE, *settings, "Seed <b>0.", "<b>torch </script><b>2"):
        assert text in elements.text


def drawn(page: str) -> str:
    """The figures as plotly reads them."""
    texts = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.dumps([json.loads(text) for text in texts])


def test_names_in_figures_are_escaped_for_plotly(page: str) -> None:
    figures = drawn(page)
    assert "&lt;script&gt;" in figures
    for element in ("script", "/script", "svg", "img", "a ", "b>"):
        assert f"<{element}" not in figures


def test_the_summary_names_winner_failures_and_what_is_noise(page: str) -> None:
    text = Elements(page).text

    assert "7 trials (3 complete, 2 pruned, 1 failed, 1 running), 14 epochs" in text
    assert "The best is trial_0003 with a macro ROC-AUC of 0.8500" in text
    assert f"1 trial failed: {HOSTILE_ERROR}." in text
    assert "5 trials with a score are too few to tell which settings mattered." in text


def test_settings_are_counted_among_the_top_and_within_noise(tmp_path: Path) -> None:
    run = write_run(tmp_path / "many")
    rows = [
        trial_rows()[0] | {"trial_id": f"trial_{n:04d}", "number": n, "macro_auc": 0.5 + n / 100,
                           "config.model.pool_type": "gem" if n >= 10 else "avg",
                           "config.model.drop_rate": 0.1 * (n % 2)}
        for n in range(20)
    ]  # fmt: skip
    write_table(run / "trials.parquet", rows)
    write_table(run / "curves.parquet", [curve_rows()[0]])

    text = Elements(page_of(run)).text

    # 20 // 3 trials are the top.
    assert "pool_type=gem is in 6 of the top 6 trials, and in 10 of all 20; its values differ clearly" in text
    assert re.search(r"drop_rate lies between .*the choice is within noise", text)


def test_windows_have_sounds_and_commands_are_there(page: str, hostile_run: Path) -> None:
    elements = Elements(page)

    assert elements.names.count("audio") >= 4
    assert f"python -m analysis.report --run {hostile_run}" in elements.text
    assert "python -m x --name '<b>'" in elements.text


def test_what_is_missing_comes_with_a_command_for_this_run(page: str, hostile_run: Path) -> None:
    run = shlex.quote(str(hostile_run))
    assert any(f"python -m trainables.{name} --run {run} " in html.unescape(page) for name in ("ensemble", "student"))


def test_frame_scores_are_drawn_where_they_are_stored(hostile_run: Path, tmp_path: Path) -> None:
    run = write_hostile_run(tmp_path)
    rows = [
        {"filename": row["filename"], "start_s": row["start_s"], "end_s": row["end_s"], "label": label,
         "frames_start_s": row["start_s"], "frames_end_s": row["end_s"], "scores": [0.125, 0.875]}
        for row in oof_rows(0.4) for label in HOSTILE_CLASSES
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), run / "trials" / "trial_0003" / "frames.parquet")

    page = page_of(run)

    assert "The lines are the scores of the frames, by trial_0003." in Elements(page).text
    assert '"y":[0.125,0.875,0.875]' in page


def test_without_the_data_the_section_says_so(tmp_path: Path) -> None:
    run = write_hostile_run(tmp_path)
    (tmp_path / "data").rename(tmp_path / "moved")

    text = Elements(page_of(run)).text

    assert f"The data folder {tmp_path / 'data'} is not here: no sound to show." in text


def test_recordings_that_libsndfile_cannot_read_are_named_and_the_others_are_played(tmp_path: Path) -> None:
    run = write_hostile_run(tmp_path)
    (tmp_path / "data" / "f0.ogg").write_bytes(b"RIFF, and what only training can read")

    elements = Elements(page_of(run))

    assert "f0.ogg cannot be shown: libsndfile alone, which plays sounds here, cannot read it (" in elements.text
    assert elements.names.count("audio") >= 1


def test_a_filename_cannot_lead_out_of_the_data_folder(tmp_path: Path) -> None:
    run = write_hostile_run(tmp_path)
    rows = [row | {"filename": f"../data/../{row['filename']}"} for row in oof_rows(0.4)]
    for file in (tmp_path / "data").iterdir():
        file.rename(tmp_path / file.name)
    write_table(
        run / "trials" / "trial_0003" / "oof.parquet", rows, HOSTILE_CLASSES, target=FLOATS, probabilities=FLOATS
    )
    for trial in ("trial_0000", "trial_0001"):
        (run / "trials" / trial / "oof.parquet").unlink()

    (run / "trials" / "trial_0003" / "frames.parquet").write_bytes(b"damaged")

    page = page_of(run)

    assert "it lies outside the data folder" in Elements(page).text
    assert "<audio" not in page
    assert re.search(r"scores of the window\. .*frames\.parquet: is damaged", Elements(page).text)


def keep(run: Path, chosen: Callable[[dict[str, object]], bool], **changes: object) -> None:
    rows = [row | changes for row in trial_rows() if chosen(row)]
    schema = pq.read_schema(run / "trials.parquet")
    pq.write_table(pa.Table.from_pylist(rows, schema), run / "trials.parquet")
    names = {row["trial_id"] for row in rows}
    curves = [row for row in curve_rows() if row["trial_id"] in names]
    pq.write_table(pa.Table.from_pylist(curves, pq.read_schema(run / "curves.parquet")), run / "curves.parquet")


def test_a_run_without_trials_has_a_report(tiny_run: Path) -> None:
    keep(tiny_run, lambda row: False)

    text = Elements(page_of(tiny_run)).text

    assert "The run has no trials yet." in text
    assert "No trial has a score: there is no ranking." in text


def test_a_run_whose_trials_all_failed_has_a_report(tiny_run: Path) -> None:
    keep(tiny_run, lambda row: row["trial_id"] == "trial_0004")

    text = Elements(page_of(tiny_run)).text

    assert "All trials failed: there is no model and nothing to rank." in text
    assert "1 trial failed: out of memory." in text


def test_a_run_of_one_trial_has_a_report(tiny_run: Path) -> None:
    keep(tiny_run, lambda row: row["trial_id"] == "trial_0003")

    assert "One trial with a score: there is nothing to compare it with." in Elements(page_of(tiny_run)).text


def test_two_runs_are_compared(hostile_run: Path, tmp_path: Path) -> None:
    other = write_hostile_run(tmp_path)
    rows = trial_rows()
    rows[3]["macro_auc"] = 0.95
    write_table(other / "trials.parquet", rows)

    page = page_of(hostile_run, other)

    text, anchors = Elements(page).text, re.findall(r'<h[23] id="([^"]*)"', page)
    assert len(anchors) == len(set(anchors))
    assert set(anchors) == set(re.findall(r'href="#([^"]*)"', page))
    assert "tiny (2) reaches 0.9500, tiny (1) 0.8500" in text
    assert "Settings in which the best trials differ" in text


@pytest.mark.parametrize(
    ("place", "reason"), [("no/page.html", "there is no folder"), ("trials", "is a folder"), ("link", "is a link")]
)
def test_a_place_that_cannot_be_is_told_before_the_work(
    tiny_run: Path, outcome: Outcome, place: str, reason: str
) -> None:
    (tiny_run / "link").symlink_to(tiny_run / "search.yaml")

    status, printed, message = outcome(lambda: main(["--run", str(tiny_run), "--out", str(tiny_run / place)]))

    assert (status, printed) == (2, "")
    assert reason in message


def test_the_place_of_the_report_as_json(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--run", str(tiny_run), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == str(tiny_run / "report.html")
    assert told["size_bytes"] == (tiny_run / "report.html").stat().st_size


def test_the_commands_of_a_report_fit_the_run(tmp_path: Path) -> None:
    """A student's run was no search, and training its configuration without its teacher would make another model."""
    student = write_run(tmp_path / "tiny-student-1")
    searched = Elements(page_of(student)).text
    record = yaml.safe_load((student / "search.yaml").read_text(encoding="utf-8"))
    record |= {"command": "python -m trainables.student --run tiny", "teacher": str(tmp_path / "tiny")}
    (student / "search.yaml").write_text(yaml.safe_dump(record), encoding="utf-8")
    taught = Elements(page_of(student)).text

    assert "--stage all" in searched
    assert "--out runs/final --epochs-scale 5" in searched
    assert "--stage all" not in taught
    assert re.search(r"How this run was started:\s+python -m trainables\.student --run tiny", taught)
