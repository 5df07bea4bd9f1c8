"""Which trials are better than others: the leaderboard, the best of it, and the front of score and cost.

The score is that of the metric that the search went by, which the rows tell: see `window_metrics.metric_of`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sed_model.run_folder.run_tables import TRIAL_FIELDS
from sed_model.run_folder.window_metrics import MACRO_AUC, metric_in, metric_of

if TYPE_CHECKING:
    import pandas as pd


def rank(trials: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The leaderboard: best score first, at equal scores complete before running before pruned; failed trials last.

    Finalists that were trained again come first, by the mean of their new scores: the best of many single scores owes
    something to luck. It shows the configuration keys that differ between trials, without the prefix "config.".
    """
    import pandas as pd  # half a second, which `trainables.runs list` can do without

    frame = pd.DataFrame([dict(row) for row in trials])
    metric = metric_of(trials)
    known = [*frame.columns, *TRIAL_FIELDS.names, metric, f"{metric}_se"]
    frame = frame.reindex(columns=list(dict.fromkeys(known)))
    frame["on_front"] = on_front(trials)
    varied = [name for name in frame.columns if name.startswith("config.") and _varies(frame[name])]
    frame = in_order(frame)
    refits = ["refit_mean", "refit_sd", "n_refits"] if frame["refit_mean"].notna().any() else []
    columns = [
        "trial_id",
        "status",
        metric,
        f"{metric}_se",
        *([] if metric == MACRO_AUC else [MACRO_AUC]),
        *refits,
        "stage",
        "epoch",
        "epochs",
        "duration_s",
        "params_m",
        "cpu_ms_per_window",
        "drawn_by",
        "on_front",
    ]
    board = frame[[*columns, *varied]].rename(columns=lambda name: name.removeprefix("config."))
    board.insert(0, "rank", range(1, len(board) + 1))
    return board.reset_index(drop=True)


def in_order(trials: pd.DataFrame) -> pd.DataFrame:
    """The rows in the order of `rank`."""
    metric = metric_in(trials.columns)
    keys = trials[["refit_mean", metric, "number"]].astype("float64").assign(failed=trials["status"] == "failed")
    keys["place"] = trials["status"].map({"complete": 0, "running": 1, "pruned": 2, "failed": 3})
    names = ["failed", "refit_mean", metric, "place", "number"]
    return trials.loc[keys.sort_values(names, ascending=[True, False, False, True, True], kind="stable").index]


def best_trials(trials: Sequence[Mapping[Any, Any]], k: int) -> list[dict[str, Any]]:
    """The k best trials that have a model, in the order of the leaderboard.

    That order is one of the models in the trials' folders: `refit_mean` is there only where such a model is of a whole
    training (`refit.write_spread`, `finalists.deliver_mean`), so a pruned finalist is ranked by its own score.
    """
    metric = metric_of(trials)
    ended = [dict(row) for row in trials if row["status"] in ("complete", "pruned")]
    scored = [row for row in ended if not _missing(row.get(metric))]
    return sorted(scored, key=lambda row: _merit(row, metric))[:k]


def finalists(trials: Sequence[Mapping[Any, Any]], k: int) -> list[dict[str, Any]]:
    """The k best by their own scores, as the search saw them: a trial that came later may outdo earlier finalists."""
    return best_trials([{**row, "refit_mean": None} for row in trials], k)


def _merit(row: Mapping[str, Any], metric: str) -> tuple[Any, ...]:
    mean: Any = row.get("refit_mean")
    return (
        _missing(mean),
        0.0 if _missing(mean) else -mean,
        -row[metric],
        row["status"] != "complete",
        row["number"],
    )


def on_front(trials: Sequence[Mapping[Any, Any]]) -> list[bool]:
    """Whether no other trial scores higher at no more CPU time a window, or as high at less."""
    metric = metric_of(trials)
    points: list[tuple[Any, Any]] = [(row.get("cpu_ms_per_window"), row.get(metric)) for row in trials]
    valid = [
        (cost, score)
        for (cost, score), row in zip(points, trials, strict=True)
        if row["status"] != "failed" and not (_missing(cost) or _missing(score))
    ]
    front: set[tuple[float, float]] = set()
    highest = -math.inf
    for cost, score in sorted(valid, key=lambda point: (point[0], -point[1])):
        if score > highest:
            front.add((cost, score))
            highest = score
    return [point in front and row["status"] != "failed" for point, row in zip(points, trials, strict=True)]


def _varies(column: pd.Series) -> bool:
    return len({None if _missing(value) else value for value in column}) > 1


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
