"""Typed tables -> interactive figures of what the best model can do, and of several runs side by side."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from analysis.figures import FAINT, INK, ROW_PX, blank, intervals, label, rows
from analysis.plots import BLUE, GREEN, GREY, ORANGE, SCORE_LABEL, VERMILLION

N_CLASSES = 30
N_CONFUSED = 20
MAX_IN_LEGEND = 12
"""Labels; more would take the page, and the pointer tells them."""
RUN_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, "#CC79A7", "#56B4E9", GREY)


def classes_figure(classes: pd.DataFrame) -> go.Figure:
    """The worst classes with their intervals; takes `class_table`."""
    shown = classes.dropna(subset="auc").head(N_CLASSES)
    figure = blank("ROC-AUC of the class", "", 90 + ROW_PX * max(2, len(shown)))
    bars = shown.assign(place=range(len(shown))).dropna(subset=["low", "high"])
    intervals(figure, bars["place"], bars)
    figure.add_scatter(
        x=shown["auc"].tolist(),
        y=list(range(len(shown))),
        mode="markers",
        marker={"color": BLUE, "size": 9},
        name="ROC-AUC",
    )
    figure.add_vline(x=0.5, line={"dash": "dot", "color": VERMILLION})
    figure.update_xaxes(range=[min(0.45, shown["low"].min() - 0.02, shown["auc"].min() - 0.02), 1.02])
    rows(figure, (f"{row['label'][:16]} ({row['n_positive']})" for row in shown.to_dict("records")))
    return figure


def reliability_figure(table: pd.DataFrame) -> go.Figure:
    """How often a class was there against the probability it was given; takes `reliability`."""
    figure = blank("probability given", "share that was there", 380)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dash", "color": GREY}, name="as it should be", hoverinfo="skip"
    )
    figure.add_scatter(
        x=table["mean_probability"].tolist(),
        y=table["share_present"].tolist(),
        text=[f"{n} pairs of window and class" for n in table["n"]],
        mode="lines+markers",
        line={"color": BLUE, "width": 2},
        marker={"size": 8},
        name="the model",
    )
    figure.update_xaxes(range=[-0.02, 1.02])
    figure.update_yaxes(range=[-0.02, 1.05])
    return figure


def confusion_figure(confusions: pd.DataFrame) -> go.Figure:
    """Shares of the top class for each class that was there alone; takes `confusions`. The most confused ones only."""
    wrong = confusions[confusions["present"] != confusions["top_class"]]
    names = list(wrong.groupby("present")["n"].sum().nlargest(N_CONFUSED).index)
    names += [name for name in confusions["present"].unique() if name not in names][: max(0, N_CONFUSED - len(names))]
    order = [*names, *(name for name in dict.fromkeys(wrong["top_class"]) if name not in names)][: N_CONFUSED + 10]
    shares = confusions.pivot_table(index="present", columns="top_class", values="share", fill_value=0.0)
    shares = shares.reindex(index=names, columns=order, fill_value=0.0)
    figure = blank("class with the highest score", "", 160 + ROW_PX * len(names))
    figure.add_heatmap(
        z=shares.to_numpy().round(3).tolist(),
        x=list(range(len(order))),
        y=list(range(len(names))),
        colorscale=[[0, "var(--paper)"], [1, BLUE]],
        zmin=0,
        zmax=1,
        xgap=1,
        ygap=1,
        colorbar={"title": {"text": "share"}, "thickness": 12, "tickfont": {"color": INK}},
    )
    # Places instead of names: two names that are alike once cut would share a row.
    figure.update_xaxes(tickvals=list(range(len(order))), ticktext=[label(name, 14) for name in order], tickangle=-50)
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=[label(name, 14) for name in names], autorange="reversed"
    )
    return figure


def change_figure(changes: pd.DataFrame) -> go.Figure:
    """What each class gained from the pseudo-labels; takes `teacher_and_student`. The greatest changes only."""
    scored = changes.dropna(subset="gain")
    shown = scored.loc[scored["gain"].abs().nlargest(N_CLASSES).index].sort_values("gain")
    figure = blank("change of ROC-AUC", "", 90 + ROW_PX * max(2, len(shown)))
    figure.add_bar(
        x=shown["gain"].tolist(),
        y=list(range(len(shown))),
        orientation="h",
        marker={"color": [GREEN if gain > 0 else VERMILLION for gain in shown["gain"]]},
        showlegend=False,
    )
    figure.update_xaxes(zerolinecolor=INK)
    rows(figure, (f"{row['label'][:16]} ({row['n_labels']})" for row in shown.to_dict("records")))
    return figure


def progress_figure(histories: Mapping[str, pd.DataFrame]) -> go.Figure:
    """The best score so far of several runs; takes `curves.history` by the name of the run."""
    figure = blank("trial number", f"best {SCORE_LABEL} so far")
    for colour, (name, history) in zip(_repeated(len(histories)), histories.items(), strict=True):
        figure.add_scatter(
            x=history["number"].astype("float64").tolist(),
            y=history["best_so_far"].tolist(),
            mode="lines+markers" if len(history) < 50 else "lines",
            line={"shape": "hv", "color": colour, "width": 2},
            name=label(name),
        )
    return figure


def class_comparison_figure(table: pd.DataFrame, runs: list[str]) -> go.Figure:
    """ROC-AUC of each class in several runs; takes `compare.classes_side_by_side`."""
    shown = table.head(N_CLASSES)
    figure = blank("ROC-AUC of the class", "", 90 + ROW_PX * max(2, len(shown)))
    for colour, run in zip(_repeated(len(runs)), runs, strict=True):
        figure.add_scatter(
            x=shown[run].tolist(),
            y=list(range(len(shown))),
            mode="markers",
            marker={"color": colour, "size": 9},
            name=label(run),
        )
    rows(figure, shown["label"])
    return figure


def window_figure(picture: str, seconds: tuple[float, float], ticks: Mapping[float, str]) -> go.Figure:
    """A log-mel picture with an axis of seconds and of kilohertz; scores go on the second y axis, 0 to 1.

    Args:
        picture: a data URI, lowest frequency at the bottom.
        ticks: height in the picture (0..1) -> frequency as text.
    """
    start_s, end_s = seconds
    figure = blank("time in the recording (s)", "frequency (kHz)", 300)
    figure.add_layout_image(
        source=picture, xref="x", yref="y", x=start_s, y=1, sizex=end_s - start_s, sizey=1, sizing="stretch",
        layer="below",
    )  # fmt: skip
    # An axis without a trace has no extent, and its lines none either.
    figure.add_scatter(x=[start_s], y=[0], mode="markers", opacity=0, showlegend=False, hoverinfo="skip")
    figure.update_xaxes(range=[start_s, end_s], showgrid=False)
    figure.update_yaxes(range=[0, 1], tickvals=list(ticks), ticktext=list(ticks.values()), showgrid=False)
    figure.update_layout(
        yaxis2={
            "overlaying": "y", "side": "right", "range": [0, 1.02], "tickvals": [0, 0.5, 1], "title": {"text": "score"},
            "showgrid": False,
            "automargin": True, "linecolor": FAINT,
        },
        hovermode="x unified",
        showlegend=True,
    )  # fmt: skip
    return figure


def map_figure(recordings: pd.DataFrame) -> go.Figure:
    """A dot for each recording that has a place, coloured by its label; takes `alike.recordings_frame`."""
    labels = recordings["primary_label"].value_counts(sort=False).sort_index()
    figure = blank("", "", 520)
    for place, name in enumerate(labels.index):
        dots = recordings[recordings["primary_label"] == name]
        figure.add_scatter(
            x=dots["x"].round(3).tolist(),
            y=dots["y"].round(3).tolist(),
            mode="markers",
            marker={"color": _hue(place), "size": 7, "opacity": 0.8, "line": {"width": 0.5, "color": INK}},
            name=label(name),
            text=[f"{label(file, 80)}<br>{label(name, 40)}" for file in dots["filename"]],
            hoverinfo="text",
        )
    figure.update_layout(showlegend=len(labels) <= MAX_IN_LEGEND, hovermode="closest")
    figure.update_xaxes(showticklabels=False, zeroline=False)
    figure.update_yaxes(showticklabels=False, zeroline=False)
    return figure


def _hue(place: int) -> str:
    """Colours of neighbouring places far apart, however many there are; light and dark pages both show them."""
    return f"hsl({place * 137.508 % 360:.0f}, {(70, 45)[place % 2]}%, {(45, 60, 52)[place % 3]}%)"


def _repeated(n: int) -> list[str]:
    return [RUN_COLOURS[index % len(RUN_COLOURS)] for index in range(n)]
