"""The leaderboard for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sed_model.core.texts import counted
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.line_to_beat import line_to_beat
from sed_model.run_folder.window_metrics import metric_in
from trainables.spaces.search_space import SearchSpace


def leaderboard_text(board: pd.DataFrame, space: SearchSpace, n_rows: int = 10) -> str:
    """The top of the leaderboard for a terminal: scores (`se`: the standard error), and the settings that differ.

    Settings stand under their last names. One that a trial's other settings leave without effect is shown as `-`.
    """
    metric = metric_in(board.columns)
    fixed = ["rank", "trial_id", "status", metric, "se", "epochs"]
    names = list(board.columns)
    settings = names[names.index("on_front") + 1 :]
    top = board.head(n_rows)
    top = top.assign(se=top[f"{metric}_se"].map("{:.3f}".format, na_action="ignore"))
    cost = space.search.cost
    if cost is not None:
        fixed[5:5] = [cost, "on_front"]
        top = top.assign(
            on_front=top["on_front"].map({True: "yes", False: ""}), **{cost: top[cost].map("{:.3g}".format)}
        )
    if "refit_mean" in top:
        fixed.insert(5, "refits")
        top = top.assign(refits=[refit_text(row) for row in top.to_dict("records")])
    shown = top[fixed].assign(
        **{metric: top[metric].map("{:.4f}".format, na_action="ignore")},
        epochs=top["epochs"].map("{:.0f}".format, na_action="ignore"),
        minutes=(top["duration_s"] / 60).map("{:.1f}".format, na_action="ignore"),
    )
    leaves = [name.rsplit(".", 1)[-1] for name in settings]
    for name, leaf in zip(settings, leaves, strict=True):
        title = leaf if leaves.count(leaf) == 1 else ".".join(name.rsplit(".", 2)[-2:])
        shown[title] = [setting_text(space, row, name) for row in top.to_dict("records")]
    return shown.astype(object).fillna("-").to_string(index=False)  # a column of numbers alone takes no text


def refit_text(row: Mapping[Any, Any]) -> str:
    """Mean and standard deviation of a finalist's scores, and their number."""
    if pd.isna(row["refit_mean"]):
        return "-"
    spread = "" if pd.isna(row["refit_sd"]) else f" +- {row['refit_sd']:.4f}"
    return f"{row['refit_mean']:.4f}{spread} ({row['n_refits']:.0f})"


def setting_text(space: SearchSpace, row: Mapping[Any, Any], name: str) -> str:
    drawn = {**space.base.flat(), **row}
    if not all(parameter.active(drawn) for parameter in space.parameters if parameter.key == name):
        return "-"
    return f"{row[name]:.3g}" if isinstance(row[name], float) else str(row[name])


def print_leaderboard(board: pd.DataFrame, space: SearchSpace, duration_s: float, run: RunFolder) -> None:
    """The leaderboard, and below it what the search had to beat, where it learned from a probe of a foreign model."""
    table = leaderboard_text(board, space)
    print(f"\nleaderboard ({counted(len(board), 'trial')}, {duration_s / 60:.1f} minutes)\n{table}\n", flush=True)
    splits = [row["split"] for row in run.read_trials(["split"])]
    if line := line_to_beat(run.path, run.read_search(), splits):
        print(f"{line}\n", flush=True)
