"""Which trials are worth their cost: no other is both better and cheaper."""

import pandas as pd

from analysis.tables import Run


def pareto_front(run: Run) -> pd.DataFrame:
    """The trials by cost, those on the Pareto front marked: macro_auc up, CPU time a window down.

    Failed trials and those without a score or a cost are left out. Of trials equal in both, all are on the front.

    Returns:
        trial_id, number, status, macro_auc, cpu_ms_per_window (milliseconds), params_m (millions), on_front; cheapest
        first, at equal cost the better one first.
    """
    columns = ["trial_id", "number", "status", "macro_auc", "cpu_ms_per_window", "params_m"]
    trials = run.trials.loc[run.trials["status"] != "failed", columns]
    trials = trials.dropna(subset=["macro_auc", "cpu_ms_per_window"])
    trials = trials.sort_values(["cpu_ms_per_window", "macro_auc"], ascending=[True, False], ignore_index=True)
    best_of_cost = trials.groupby("cpu_ms_per_window")["macro_auc"].transform("max")
    best_if_cheaper = best_of_cost.groupby(trials["cpu_ms_per_window"]).first().cummax().shift(fill_value=-1.0)
    cheaper = trials["cpu_ms_per_window"].map(best_if_cheaper)
    return trials.assign(on_front=(trials["macro_auc"] == best_of_cost) & (trials["macro_auc"] > cheaper))
