"""What is drawn, read back from the axes: positions, labels and what stands out."""

from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from analysis.costs import pareto_front
from analysis.curves import history, learning_curves, stage_spans
from analysis.importance import importance_by_parameter
from analysis.plots import (
    draw_history,
    draw_importance,
    draw_learning_curves,
    draw_pareto,
    draw_ranking,
)
from analysis.ranks import bootstrap_spread, rank_trials
from analysis.tables import Run, read_run


@pytest.fixture
def axes() -> Axes:
    return Figure(layout="constrained").subplots()


def legend_of(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_history_draws_the_best_so_far(tiny_run: Path, axes: Axes) -> None:
    draw_history(history(read_run(tiny_run)), axes)

    assert axes.lines[0].get_ydata().tolist() == [0.70, 0.80, 0.80, 0.85, 0.85]
    assert legend_of(axes) == ["complete", "pruned", "best so far"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("trial number", "macro ROC-AUC")


def test_learning_curves_draw_pruned_trials_fainter_than_the_best(tiny_run: Path, axes: Axes) -> None:
    curves = learning_curves(read_run(tiny_run))

    draw_learning_curves(curves, stage_spans(curves), axes, n_best=2)

    assert legend_of(axes) == ["trial_0001", "trial_0003"]
    alphas = {tuple(line.get_xdata()): line.get_alpha() for line in axes.lines if line.get_marker() == "None"}
    assert alphas[(0.0,)] < alphas[(0.0, 1.0, 2.0, 3.0)]
    assert [text.get_text() for text in axes.texts] == ["pretrain_ce", "train_bce"]


def test_the_ranking_has_the_best_on_top_with_its_interval(run: Run, axes: Axes) -> None:
    draw_ranking(rank_trials(run), bootstrap_spread(run, ["trial_0003", "trial_0001"]), axes, top=3)

    assert [label.get_text() for label in axes.get_yticklabels()] == ["1. trial_0003", "2. trial_0001", "3. trial_0000"]
    assert axes.yaxis.get_inverted()
    assert "95 % interval" in legend_of(axes)


def test_a_ranking_without_spread_is_drawn(tiny_run: Path, axes: Axes) -> None:
    draw_ranking(rank_trials(read_run(tiny_run)), None, axes)

    assert legend_of(axes) == ["complete", "pruned"]


def test_a_setting_below_chance_is_pale(tiny_run: Path, axes: Axes) -> None:
    importance = importance_by_parameter(read_run(tiny_run), n_resamples=2)
    importance["chance"] = [0.0, *[1.0] * (len(importance) - 1)]

    draw_importance(importance, axes)

    alphas = [to_rgba(bar.get_facecolor())[3] for bar in axes.patches]
    assert alphas[0] > 0.8
    assert max(alphas[1:]) < 0.5


def test_an_empty_importance_says_so(tiny_run: Path, axes: Axes) -> None:
    draw_importance(importance_by_parameter(read_run(tiny_run)).head(0), axes)

    assert axes.texts[0].get_text() == "too few scored trials to tell"


def test_the_pareto_front_is_joined_and_named(tiny_run: Path, axes: Axes) -> None:
    draw_pareto(pareto_front(read_run(tiny_run)), axes)

    assert [text.get_text() for text in axes.texts] == ["trial_0002", "trial_0000", "trial_0001", "trial_0003"]
    assert axes.get_xlabel() == "CPU time a window (ms)"
