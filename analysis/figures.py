"""Typed tables -> interactive figures of one search. Computes nothing that a reader would want to know.

The page fills in var(--ink) and the like, light or dark. Names from tables are escaped: plotly reads some HTML.
"""

import html
from collections.abc import Iterable, Sequence

import numpy as np
import optuna
import pandas as pd
import plotly.graph_objects as go

from analysis.curves import StageSpan
from analysis.plots import BLUE, GREEN, GREY, ORANGE, SCORE_LABEL, STATUS_COLOUR, VERMILLION
from sed_model.core.texts import shown

INK, FAINT = "var(--ink)", "var(--faint)"
STATUS_SYMBOL = {"complete": "circle", "pruned": "triangle-down", "running": "square", "failed": "x"}
MAX_LABEL = 22
ROW_PX = 26


def label(text: object, n_most: int = MAX_LABEL) -> str:
    """A name as plotly shows it literally, cut to `n_most` characters."""
    return html.escape(shown(text, n_most), quote=False)


def blank(x_title: str, y_title: str, height_px: int = 360) -> go.Figure:
    """An empty figure in the style of the report: as wide as its box, no title of its own."""
    axis = {"gridcolor": FAINT, "zerolinecolor": FAINT, "linecolor": FAINT, "automargin": True}
    return go.Figure(
        layout={
            "template": go.layout.Template(),
            "height": height_px,
            "margin": {"l": 8, "r": 8, "t": 12, "b": 8},
            "font": {"color": INK, "size": 12, "family": "system-ui, sans-serif"},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
            "hoverlabel": {"bgcolor": "var(--paper)", "font": {"color": INK}},
            "xaxis": axis | {"title": {"text": x_title}},
            "yaxis": axis | {"title": {"text": y_title}},
        }
    )


def rows(figure: go.Figure, names: Iterable[object]) -> None:
    """Names on the y axis at 0, 1, .. from the top. By place: two long names that are alike once cut stay apart."""
    ticks = [label(name) for name in names]
    figure.update_yaxes(tickvals=list(range(len(ticks))), ticktext=ticks, range=[len(ticks) - 0.4, -0.6])


def intervals(figure: go.Figure, places: pd.Series, bars: pd.DataFrame) -> None:
    """A horizontal bar from low to high at each place."""
    figure.add_scatter(
        x=[value for low, high in zip(bars["low"], bars["high"], strict=True) for value in (low, high, None)],
        y=[value for place in places for value in (place, place, None)],
        mode="lines",
        line={"color": GREY, "width": 5},
        opacity=0.7,
        name="95 % interval",
        hoverinfo="x",
    )


def history_figure(history: pd.DataFrame) -> go.Figure:
    """Each trial's score and the best so far; takes `curves.history`."""
    figure = blank("trial number", SCORE_LABEL)
    _dots(figure, history, "number", "macro_auc")
    figure.add_scatter(
        x=_floats(history["number"]),
        y=_floats(history["best_so_far"]),
        mode="lines",
        line={"shape": "hv", "color": INK, "width": 2},
        name="best so far",
    )
    return figure


def curves_figure(curves: pd.DataFrame, spans: Sequence[StageSpan], rungs: pd.DataFrame, n_best: int = 3) -> go.Figure:
    """One line per trial over the global epochs, the best in colour; stages shaded, rungs dotted."""
    figure = blank("epoch (all stages)", SCORE_LABEL, 420)
    curves = curves.dropna(subset="macro_auc")
    scores = curves[curves["status"] != "failed"].groupby("trial_id")["macro_auc"].max()
    best = list(scores.nlargest(n_best).index)
    others = curves[~curves["trial_id"].isin(best)]
    x, y = _with_gaps(others)
    figure.add_scatter(
        x=x, y=y, mode="lines", line={"color": GREY, "width": 1}, opacity=0.45, name="other trials", hoverinfo="skip"
    )
    stopped = curves[curves["status"] == "pruned"].groupby("trial_id").tail(1)
    _marks(figure, stopped, "epoch", "macro_auc", ("pruned", ORANGE, "triangle-down", 7))
    for trial_id, colour in zip(best, (BLUE, VERMILLION, GREEN), strict=False):
        trial = curves[curves["trial_id"] == trial_id]
        figure.add_scatter(
            x=_floats(trial["epoch"]),
            y=_floats(trial["macro_auc"]),
            mode="lines+markers",
            line={"color": colour, "width": 2.5},
            marker={"size": 5},
            name=label(trial_id),
        )
    for index, span in enumerate(spans):
        figure.add_vrect(
            x0=span.start - 0.5, x1=span.end + 0.5, fillcolor=GREY, opacity=0.1 if index % 2 == 0 else 0, line_width=0
        )
        figure.add_annotation(
            x=(span.start + span.end) / 2, y=0, yref="paper", yanchor="bottom", text=label(span.stage), showarrow=False
        )
    for epoch in rungs["epoch"]:
        figure.add_vline(x=epoch, line={"dash": "dot", "color": ORANGE, "width": 1})
    return figure


def ranking_figure(ranking: pd.DataFrame, spread: pd.DataFrame | None, top: int = 10) -> go.Figure:
    """The best trials with their bootstrap intervals; takes `rank_trials` and `bootstrap_spread`."""
    shown = ranking[ranking["rank"].notna()].head(top)
    figure = blank(SCORE_LABEL, "", 90 + ROW_PX * max(3, len(shown)))
    places = dict(zip(shown["trial_id"], range(len(shown)), strict=True))
    if spread is not None:
        bars = spread[spread["trial_id"].isin(places)]
        intervals(figure, bars["trial_id"].map(places), bars)
        ends = [*bars["low"], *bars["high"], *shown["macro_auc"]]
        figure.update_xaxes(range=[min(ends) - 0.01, max(ends) + 0.01])
    _dots(figure, shown.assign(place=shown["trial_id"].map(places)), "macro_auc", "place")
    rows(figure, [f"{row['rank']}. {row['trial_id']}" for row in shown.to_dict("records")])
    return figure


def importance_figure(importance: pd.DataFrame) -> go.Figure:
    """A bar a setting with its error bar, pale where chance reaches as far; takes `importance_by_parameter`."""
    figure = blank("share of importance (0 to 1)", "", 100 + ROW_PX * max(2, len(importance)))
    places = list(range(len(importance)))
    above = (importance["importance"] > importance["chance"]).tolist()
    low, high = (importance["importance"] - importance["low"]), (importance["high"] - importance["importance"])
    figure.add_bar(
        x=_floats(importance["importance"]),
        y=places,
        orientation="h",
        name="importance, 5 to 95 % of resamples",
        marker={"color": BLUE, "opacity": [0.95 if it else 0.35 for it in above]},
        error_x={
            "type": "data",
            "array": _floats(high.clip(lower=0)),
            "arrayminus": _floats(low.clip(lower=0)),
            "color": INK,
            "thickness": 1.5,
        },
    )
    figure.add_scatter(
        x=_floats(importance["chance"].clip(upper=1)),
        y=places,
        mode="markers",
        marker={"symbol": "line-ns", "size": 16, "line": {"color": VERMILLION, "width": 3}},
        name="chance reaches this",
    )
    figure.update_xaxes(range=[0, 1.02])
    rows(figure, importance["parameter"])
    return figure


def pareto_figure(front: pd.DataFrame) -> go.Figure:
    """Score against inference cost with the front as a line; takes `pareto_front`."""
    figure = blank("CPU time a window (ms)", SCORE_LABEL)
    _dots(figure, front, "cpu_ms_per_window", "macro_auc")
    best = front[front["on_front"]]
    figure.add_scatter(
        x=_floats(best["cpu_ms_per_window"]),
        y=_floats(best["macro_auc"]),
        text=[label(name) for name in best["trial_id"]],
        mode="lines",
        line={"shape": "hv", "color": INK, "width": 2},
        name="Pareto front",
    )
    return figure


def slice_figure(table: pd.DataFrame, is_log: bool) -> go.Figure:
    """The scores against one setting; takes the rows of one parameter of `slice_table`."""
    figure = blank("", SCORE_LABEL, 260)
    _dots(figure, table, "value", "macro_auc")
    is_text = pd.to_numeric(table["text"], errors="coerce").isna().any()
    if is_text:
        places = table.drop_duplicates("value").sort_values("value")
        figure.update_xaxes(tickvals=_floats(places["value"]), ticktext=[label(text, 14) for text in places["text"]])
    elif is_log and (table["value"] > 0).all():
        figure.update_xaxes(log_axis(table["value"]))
    figure.update_layout(showlegend=False)
    return figure


def contour_figure(study: optuna.Study, names: Sequence[str]) -> go.Figure:
    """Optuna's picture of how the score depends on two settings together."""
    drawn = optuna.visualization.plot_contour(study, params=list(names), target_name=SCORE_LABEL)
    axes = sorted(names)  # as Optuna puts them
    figure = blank(label(axes[0]), label(axes[1]), 400)
    for trace in drawn.data:
        trace.update(showlegend=False)
        if trace.type == "contour":
            trace.update(
                colorscale="Viridis",
                reversescale=False,
                opacity=0.75,
                colorbar={"title": {"text": "AUC"}, "thickness": 12, "tickfont": {"color": INK}},
            )
        else:
            trace.update(marker={"color": "var(--ink)", "size": 6, "line": {"width": 1, "color": "var(--paper)"}})
        figure.add_trace(trace)
    for name, source in (("xaxis", drawn.layout.xaxis), ("yaxis", drawn.layout.yaxis)):
        figure.layout[name].update(type=source.type, range=source.range)
        if source.type == "log":
            figure.layout[name].update(log_axis(pd.Series([10.0**end for end in source.range])))
    return figure


def parallel_figure(table: pd.DataFrame, names: list[str]) -> go.Figure:
    """Each trial as a line across the settings, in the colour of its fifth of the scores; takes `parallel_table`."""
    table = table[table["parameter"].isin(names)].sort_values("parameter", key=lambda column: column.map(names.index))
    figure = blank("", "", 420)
    scores = table.groupby("trial_id")["macro_auc"].first()
    fifth = pd.Series(np.ceil(scores.rank(method="first", pct=True) * 5).astype(int), index=scores.index)
    words = ("worst fifth of the trials", "second", "third", "fourth", "best fifth")
    for group, colour in enumerate((GREY, "#56B4E9", GREEN, ORANGE, VERMILLION), start=1):
        lines = table[table["trial_id"].map(fifth) == group]
        if lines.empty:
            continue
        x, y, text = [], [], []
        for trial_id, line in lines.groupby("trial_id", sort=False):
            x += [*map(names.index, line["parameter"]), None]
            y += [*line["position"], None]
            text += [f"{label(trial_id)}: {label(value)}" for value in line["text"]] + [None]
        figure.add_scatter(
            x=x,
            y=y,
            text=text,
            hoverinfo="text",
            mode="lines+markers",
            line={"color": colour, "width": 0.8 + 0.3 * group},
            marker={"size": 4},
            opacity=0.35 + 0.12 * group,
            name=words[group - 1],
        )
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=[label(name, 16) for name in names], tickangle=-40)
    figure.update_yaxes(tickvals=[-0.1, 0, 1], ticktext=["not active", "least", "greatest"])
    return figure


def _dots(figure: go.Figure, table: pd.DataFrame, x: str, y: str) -> None:
    """A dot a trial, in the colour and shape of its status."""
    for status, colour in STATUS_COLOUR.items():
        chosen = table[table["status"] == status]
        if len(chosen):
            _marks(figure, chosen, x, y, (status, colour, STATUS_SYMBOL[status], 10))


def _marks(figure: go.Figure, table: pd.DataFrame, x: str, y: str, style: tuple[str, str, str, int]) -> None:
    name, colour, symbol, size = style
    figure.add_scatter(
        x=_values(table[x]),
        y=_values(table[y]),
        text=[label(trial) for trial in table["trial_id"]],
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": size, "line": {"width": 1, "color": "var(--paper)"}},
        name=name,
    )


def _with_gaps(curves: pd.DataFrame) -> tuple[list[float | None], list[float | None]]:
    """All trials as one broken line: thousands of traces would be slow."""
    x: list[float | None] = []
    y: list[float | None] = []
    for _, trial in curves.groupby("trial_id", sort=False):
        x += [*_floats(trial["epoch"]), None]
        y += [*_floats(trial["macro_auc"]), None]
    return x, y


def _values(column: pd.Series) -> list[float] | list[str]:
    return _floats(column) if pd.api.types.is_numeric_dtype(column) else column.tolist()


def _floats(column: pd.Series) -> list[float]:
    values: list[float] = column.astype("float64").round(6).tolist()
    return values


def log_axis(values: pd.Series) -> dict[str, object]:
    """A logarithmic axis whose numbers do not run into one another: 2 and 5 between powers of ten only over a few."""
    decades = float(np.log10(values.max() / values.min()))
    return {"type": "log", "dtick": "D2" if decades < 2.5 else 1, "exponentformat": "power"}
