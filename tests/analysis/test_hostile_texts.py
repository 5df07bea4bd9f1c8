"""What people see: hostile names stay text in figures, pages and terminals, and commands end with one message."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis import ranking, report
from analysis.compare import unique_names
from analysis.curves import StageSpan, learning_curves
from analysis.figures import blank, label
from analysis.page import figure_json
from analysis.plots import draw_learning_curves, draw_ranking
from analysis.ranks import rank_trials
from analysis.tables import read_run
from sed_model.core.texts import shown
from tests.analysis.hostile_run import N_TRIALS, TRIALS, put_column, unprintable
from tests.hostile import Outcome, drawn, in_time, put_in_place, truncated

HOSTILE = ["</script><script>alert(1)</script>", "<!--", "javascript:alert(1)", "&lt;b&gt;", "\u2028", "x" * 1_000_000]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_names_in_figures_end_no_element_and_are_text_for_plotly(text: str) -> None:
    figure = blank(label(text), label(text))
    figure.add_scatter(x=[1], y=[1], text=[label(text)], name=label(text))
    drawn_json = figure_json(figure)

    assert re.search("[<>]", drawn_json) is None
    assert re.search("[<>]", json.loads(drawn_json)["data"][0]["name"]) is None
    assert len(drawn_json) < 5_000


@drawn
@given(text=st.text() | st.text("<>/!-&;'\"\\script\0\x1b\u2028\ud800", max_size=30))
def test_any_name_is_printable_short_and_text_for_plotly(text: str) -> None:
    figure = blank(label(text), "")
    assert unprintable(shown(text)) == ""
    assert re.search("[<>]", figure_json(figure)) is None
    figure_json(figure).encode()


def test_hostile_names_are_drawn_letter_by_letter(own_run: Path) -> None:
    read = read_run(own_run)
    ranked = rank_trials(read)
    for text in ("$x^$", "$\\frac$", "$", "a" * 100_000, "{\\x}"):
        figure = Figure()
        left, right = figure.subplots(1, 2)
        draw_ranking(ranked.assign(trial_id=[f"{text}{n}" for n in range(len(ranked))]), None, left)
        draw_learning_curves(learning_curves(read).assign(trial_id=text), [StageSpan(text, 0, 1)], right)
        with in_time():
            FigureCanvasAgg(figure).draw()


def test_a_run_with_hostile_texts_prints_them_escaped(own_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("error", "\x1b]0;x\x07\n[/x]" + "y" * 2_000_000), ("stage", "[/x]\x1b[31m")):
        put_column(own_run / TRIALS, name, [text] * N_TRIALS)
    with in_time():
        ranking.main(["--run", str(own_run)])
    out = capsys.readouterr().out
    assert unprintable(out) == ""
    assert "failed: trial_0004: \\x1b]0;x\\x07\\n[/x]yyy" in out.replace("\n", "")
    assert len(out) < 10_000


@pytest.mark.parametrize(
    ("names", "unique"),
    [
        (["a", "a", "a (1)"], ["a (1)", "a (2)", "a (1) (1)"]),
        (["label", "range"], ["label (1)", "range (1)"]),
        (["", ""], [" (1)", " (2)"]),
    ],
)
def test_runs_of_hostile_names_stay_apart(names: list[str], unique: list[str]) -> None:
    assert unique_names(names) == unique


@pytest.mark.parametrize("command", [ranking.main, report.main], ids=["ranking", "report"])
def test_the_commands_leave_with_2_and_one_message(
    own_run: Path, command: Callable[[list[str]], None], outcome: Outcome
) -> None:
    before = sorted(own_run.parent.rglob("*"))
    put_in_place(own_run / "search.yaml", os.mkfifo)
    truncated(own_run / TRIALS, 50)
    status, _, message = outcome(lambda: command(["--run", str(own_run)]))
    assert (status, message.count("problems in this run folder")) == (2, 1)
    assert "search.yaml" in message
    assert TRIALS in message
    assert sorted(own_run.parent.rglob("*")) == before
