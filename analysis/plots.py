"""Draws the typed tables of this package on matplotlib axes; computes nothing and opens no window.

figure = Figure(layout="constrained")
draw_history(history(run), figure.subplots())
"""

import matplotlib.colors
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.curves import StageSpan
from sed_model.core.texts import shown

# Okabe and Ito's colours stay apart for every kind of colour vision; status has a marker of its own besides.
BLUE, ORANGE, GREEN, VERMILLION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8C8C8C"
STATUS_COLOUR = {"complete": BLUE, "pruned": ORANGE, "running": GREEN, "failed": VERMILLION}
STATUS_MARKER = {"complete": "o", "pruned": "v", "running": "s", "failed": "X"}
SCORE_LABEL = "macro ROC-AUC"
MAX_LABEL = 60


def literal(text: object) -> str:
    """A name as matplotlib draws it letter by letter: cut, and its dollars no formulas."""
    return shown(text, MAX_LABEL).replace("$", r"\$")


def draw_history(history: pd.DataFrame, axes: Axes) -> None:
    """Each trial's score over the search, and the best so far; takes `curves.history`."""
    _dots(history["number"], history["macro_auc"], history["status"], axes)
    axes.step(history["number"].astype(float), history["best_so_far"], where="post", color="black", label="best so far")
    axes.set(title="Scores in the order of the trials", xlabel="trial number", ylabel=SCORE_LABEL)
    _whole_numbers(axes)
    _legend(axes)


def draw_learning_curves(curves: pd.DataFrame, spans: list[StageSpan], axes: Axes, n_best: int = 3) -> None:
    """One line per trial over the global epochs, pruned trials faint up to where they were stopped, the best in colour.

    Takes `curves.learning_curves` and `curves.stage_spans`.
    """
    curves = curves.dropna(subset="macro_auc")
    finished = curves[curves["status"] != "failed"].groupby("trial_id")["macro_auc"].max()
    best = list(finished.nlargest(n_best).index)
    colours = dict(zip(best, (BLUE, VERMILLION, GREEN, ORANGE), strict=False))
    for trial_id, trial in curves.groupby("trial_id", sort=False):
        is_pruned = trial["status"].iloc[0] == "pruned"
        colour = colours.get(trial_id, GREY)
        faint = 0.35 if is_pruned and trial_id not in colours else 0.9
        epochs, scores = trial["epoch"].astype(float), trial["macro_auc"]
        label = literal(trial_id) if trial_id in colours else None
        axes.plot(epochs, scores, color=colour, alpha=faint, linewidth=2 if label else 1, label=label)
        if is_pruned:
            axes.plot(epochs.iloc[-1:], scores.iloc[-1:], marker="v", color=colour, alpha=max(faint, 0.5))
    for index, span in enumerate(spans):
        axes.axvspan(
            span.start - 0.5, span.end + 0.5, color="black", alpha=0.04 if index % 2 == 0 else 0.0, linewidth=0
        )
        axes.annotate(
            literal(span.stage),
            ((span.start + span.end) / 2, 1.01),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="bottom",
            fontsize="small",
        )
    axes.set_title("Learning curves (triangle: pruned)", pad=18)  # above the names of the stages
    axes.set(xlabel="epoch (global)", ylabel=SCORE_LABEL)
    _whole_numbers(axes)
    _legend(axes)


def draw_ranking(ranking: pd.DataFrame, spread: pd.DataFrame | None, axes: Axes, top: int = 10) -> None:
    """The best trials, best on top, with their bootstrap intervals; takes `rank_trials` and `bootstrap_spread`.

    The dot is the score of trials.parquet, the bar the interval of the score recomputed from the predictions.
    """
    ranked = ranking[ranking["rank"].notna()].head(top)
    places = dict(zip(ranked["trial_id"], range(len(ranked)), strict=True))
    _dots(ranked["macro_auc"], ranked["trial_id"].map(places), ranked["status"], axes)
    if spread is not None:
        with_place = spread[spread["trial_id"].isin(places)]
        heights = with_place["trial_id"].map(places)
        axes.hlines(heights, with_place["low"], with_place["high"], color=GREY, linewidth=3, label="95 % interval")
    axes.set_yticks(
        list(places.values()), [f"{rank}. {literal(name)}" for rank, name in zip(ranked["rank"], places, strict=True)]
    )
    axes.invert_yaxis()
    axes.set(title="Best trials", xlabel=SCORE_LABEL, ylabel="rank and trial")
    _legend(axes)


def draw_importance(importance: pd.DataFrame, axes: Axes) -> None:
    """A bar a setting with its error bar; pale where chance reaches as far. Takes `importance_by_parameter`."""
    if importance.empty:
        axes.annotate("too few scored trials to tell", (0.5, 0.5), xycoords="axes fraction", ha="center")
    for place, row in enumerate(importance.to_dict("records")):
        above_chance = row["importance"] > row["chance"]
        axes.barh(place, row["importance"], color=matplotlib.colors.to_rgba(BLUE, 0.9 if above_chance else 0.35))
        axes.hlines(place, row["low"], row["high"], color="black", linewidth=1.5)
        axes.vlines(min(row["chance"], 1.0), place - 0.4, place + 0.4, color=VERMILLION, linestyle="--")
    axes.set_yticks(range(len(importance)), [literal(name) for name in importance["parameter"]])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.set(
        title="Importance of the settings (line: 90 % of resamples; dashed: chance)",
        xlabel="share of importance (0 to 1)",
    )


def draw_pareto(front: pd.DataFrame, axes: Axes) -> None:
    """Score against inference cost, the trials worth their cost joined by a line; takes `pareto_front`."""
    _dots(front["cpu_ms_per_window"], front["macro_auc"], front["status"], axes)
    best = front[front["on_front"]]
    axes.step(best["cpu_ms_per_window"], best["macro_auc"], where="post", color="black", label="Pareto front")
    for row in best.to_dict("records"):
        axes.annotate(
            literal(row["trial_id"]),
            (row["cpu_ms_per_window"], row["macro_auc"]),
            xytext=(4, 4),
            textcoords="offset points",
        )
    axes.margins(0.2, 0.1)  # room for the last name
    axes.set(title="Score against cost", xlabel="CPU time a window (ms)", ylabel=SCORE_LABEL)
    _legend(axes)


def _dots(x: pd.Series, y: pd.Series, status: pd.Series, axes: Axes) -> None:
    """A dot a trial, in the colour and shape of its status."""
    for name, colour in STATUS_COLOUR.items():
        chosen = status == name
        if chosen.any():
            places = x[chosen].astype(float), y[chosen].astype(float)
            axes.scatter(*places, s=32, zorder=3, color=colour, marker=STATUS_MARKER[name], label=name)


def _whole_numbers(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _legend(axes: Axes) -> None:
    """Beside the axes: inside it would lie on the points of one run or another."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
