"""How the scores grew: over the trials of a search, and over the epochs of a trial."""

from dataclasses import dataclass

import pandas as pd

from analysis.tables import Run


@dataclass(frozen=True)
class StageSpan:
    """A stage on the axis of global epochs; `start` is its first epoch, `end` its last, over all trials."""

    stage: str
    start: int
    end: int


def history(run: Run) -> pd.DataFrame:
    """The scored trials in the order they were started, with the best score so far.

    Returns:
        number, trial_id, status, macro_auc, best_so_far (of the trials that did not fail, NaN before the first one).
    """
    trials = run.trials[["number", "trial_id", "status", "macro_auc"]].dropna(subset="macro_auc")
    trials = trials.sort_values("number", ignore_index=True)
    counted = trials["macro_auc"].where(trials["status"] != "failed")
    return trials.assign(best_so_far=counted.cummax().ffill())


def learning_curves(run: Run) -> pd.DataFrame:
    """The epochs in order of trial and epoch, with each trial's number and status, and its best_so_far macro_auc."""
    about = run.trials[["trial_id", "number", "status"]]
    curves = run.curves.merge(about, on="trial_id", validate="many_to_one")
    curves = curves.sort_values(["number", "epoch"], ignore_index=True)
    return curves.assign(best_so_far=best_so_far(curves))


def best_so_far(curves: pd.DataFrame) -> pd.Series:
    """Each trial's best macro_auc up to each epoch, of comparable stages where the search recorded it.

    Args:
        curves: its epochs in order, with best_macro_auc.
    """
    return curves["best_macro_auc"].fillna(curves.groupby("trial_id")["macro_auc"].cummax())


def stage_spans(curves: pd.DataFrame) -> list[StageSpan]:
    """Where each stage lies on the axis of global epochs, in the order the stages ran."""
    spans = curves.groupby("stage")["epoch"].agg(["min", "max"]).sort_values("min")
    return [StageSpan(str(stage), int(row["min"]), int(row["max"])) for stage, row in spans.iterrows()]


def stage_gains(run: Run) -> pd.DataFrame:
    """What each stage added to the trials that finished it.

    A trial that was stopped within a stage does not count for it: its gain is that of fewer epochs.

    Returns:
        One row per stage in running order: stage, n_trials, median_start and median_end (macro_auc at its first and
        best epoch), median_gain (best of the stage minus best of the stages before; minus its own first epoch for the
        first stage, and after cross-entropy, whose scores do not compare: the best so far begins anew there).
    """
    columns = ["stage", "n_trials", "median_start", "median_end", "median_gain"]
    spans = stage_spans(run.curves)
    scored = run.curves.dropna(subset="macro_auc").sort_values("epoch", kind="stable")
    if scored.empty:
        return pd.DataFrame(columns=columns)
    scored = scored.assign(best_so_far=best_so_far(scored))
    of_stage = scored.groupby(["trial_id", "stage"], sort=False).agg(
        first=("macro_auc", "first"), max=("macro_auc", "max"), so_far=("best_so_far", "first")
    )
    wide = of_stage.reset_index().pivot_table(index="trial_id", columns="stage", values=["first", "max", "so_far"])
    starts, bests, so_far = (pd.DataFrame(wide[name]) for name in ("first", "max", "so_far"))
    last = run.curves.groupby("trial_id")["epoch"].max()
    rows = []
    for index, span in enumerate(spans):
        if span.stage not in bests:
            continue
        finished = bests.index.intersection(last.index[last >= span.end])
        best = bests.loc[finished, span.stage].dropna()
        start = starts.loc[best.index, span.stage]
        earlier = [before.stage for before in spans[:index] if before.stage in bests]
        highest = bests.loc[best.index][earlier].max(axis=1)
        before = highest.where(so_far.loc[best.index, span.stage] >= highest, start)
        rows.append(
            {
                "stage": span.stage,
                "n_trials": len(best),
                "median_start": start.median(),
                "median_end": best.median(),
                "median_gain": (best - before).median(),
            }
        )
    return pd.DataFrame(rows, columns=columns)


def epochs_saved(run: Run) -> pd.DataFrame:
    """What stopping bad trials early saved, against running each of them as long as the longest trial.

    Returns:
        One row: epochs_run, epochs_full (without pruning; failed and running trials count what they ran), saved_share
        (0..1), trial_hours (the sum of the trials' durations).
    """
    trials = run.trials
    epochs = trials["epochs"].fillna(0).astype("float64")
    full = epochs.where(trials["status"] != "pruned", epochs.max())
    share = 1 - epochs.sum() / full.sum() if full.sum() else 0.0
    row = {
        "epochs_run": int(epochs.sum()),
        "epochs_full": int(full.sum()),
        "saved_share": float(share),
        "trial_hours": float(trials["duration_s"].sum() / 3600),
    }
    return pd.DataFrame([row])


def rungs(run: Run, n_most: int = 12) -> pd.DataFrame:
    """The epochs after which trials were pruned (the `n_most` commonest), with what it took to go on.

    Returns:
        epoch (global), n_reached (trials that trained so far), n_pruned, best_pruned (highest macro_auc among the
        pruned), lowest_kept (lowest macro_auc, up to that epoch, among those that went on; NaN where none did).
    """
    ordered = run.curves.sort_values("epoch", kind="stable")
    codes, names = pd.factorize(ordered["trial_id"])
    curves = pd.DataFrame({"trial": codes, "epoch": ordered["epoch"], "best": best_so_far(ordered)})
    last = curves.groupby("trial")["epoch"].max()
    is_pruned = set(run.trials.loc[run.trials["status"] == "pruned", "trial_id"])
    pruned = last[[name in is_pruned for name in names]]
    rows = []
    for epoch in sorted(pruned.value_counts().head(n_most).index):
        best = curves[curves["epoch"] <= epoch].groupby("trial")["best"].last()
        rows.append(
            {
                "epoch": int(epoch),
                "n_reached": int((last >= epoch).sum()),
                "n_pruned": int((pruned == epoch).sum()),
                "best_pruned": best.reindex(pruned.index[pruned == epoch]).max(),
                "lowest_kept": best.reindex(last.index[last > epoch]).min(),
            }
        )
    return pd.DataFrame(rows, columns=["epoch", "n_reached", "n_pruned", "best_pruned", "lowest_kept"])
