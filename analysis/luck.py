"""The report's first question: is what the search found better than the default, or was it luck?"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.page import Section, said, table_view
from analysis.ranks import verdict
from analysis.sections_search import RunFacts
from analysis.tables import Run
from sed_model.run_folder.delivered import Delivered, Finalist, read_delivered
from sed_model.run_folder.delivered import verdict as delivered_verdict


def luck_section(facts: RunFacts) -> Section:
    """How sure the finalists are, and what is delivered; without finalists how much the trials differ."""
    anchor, title = facts.anchor("luck"), "Was it luck?"
    delivered, finalists = read_delivered(facts.run.path), delivered_table(facts.run)
    if delivered is None or finalists is None:
        words = (
            "No finalist was trained on parts of the labelled soundscapes: a score is that of one training, and the "
        )
        return Section(anchor, title, said(words + "best of many owes something to luck.", verdict(facts.spread)))
    sentences = [
        f"{delivered_verdict(delivered).capitalize()}.",
        f"Each finalist was trained on {delivered.n_parts} parts of the {delivered.n_files} labelled soundscapes; its "
        "score is that of what it has not heard, ± the standard error over the files.",
        "A lead is over the default, on the same files; the shrunken one allows for the luck of the best of several.",
        "A file is scored by a model of a configuration that has not heard it (of several by each, in the mean); in "
        "use all models predict, which no score can show here.",
    ]
    return Section(anchor, title, sentences, tables=[table_view("Finalists, the best first", finalists)])


def delivered_table(run: Run) -> pd.DataFrame | None:
    """The finalists of a run as `finalists_table` shows them; None where it trained none on parts.

    Raises:
        CheckpointError: delivered.json is damaged.
    """
    delivered = read_delivered(run.path)
    if delivered is None:
        return None
    trials = run.trials[["trial_id", "cpu_ms_per_window"]]
    return finalists_table(delivered, {str(name): float(cost) for name, cost in trials.itertuples(index=False)})


def finalists_table(delivered: Delivered, costs: Mapping[str, float]) -> pd.DataFrame:
    """One row per finalist, one for the mean, and one for the single model of `predict --single`.

    Args:
        costs: CPU ms a window of one model of each trial.
    """
    rows, metric = [], delivered.metric
    for one in delivered.finalists:
        name = f"{one.trial_id} (default)" if one.is_default else one.trial_id
        cost = costs.get(one.trial_id, math.nan) * len(one.members)
        rows.append(
            {
                **_row(name, one, metric, one.is_delivered),
                "models": len(one.members),
                "cpu_ms_per_window": cost,
            }
        )
    cost = sum(costs.get(one.trial_id, math.nan) * len(one.members) for one in delivered.finalists if one.is_delivered)
    rows.append({**_row("their mean", delivered, metric), "models": len(delivered.members), "cpu_ms_per_window": cost})
    best = delivered.best
    single = {
        **_row("--single", best, metric),
        "models": 1,
        "cpu_ms_per_window": costs.get(best.trial_id, math.nan),
    }
    return pd.DataFrame([*rows, single])


def _row(name: str, scored: Finalist | Delivered, metric: str, is_delivered: bool = True) -> dict[str, Any]:
    score, error, lead = scored.score, scored.se, scored.lead
    return {
        "trial_id": name,
        metric: f"{score:.4f} ± {error:.4f}",
        "lead": f"{lead.mean:+.4f} ± {lead.se:.4f}" if lead else "",
        "shrunken lead": f"{lead.shrunken:+.4f}" if lead else "",
        "chance to be better": f"{lead.p_better:.0%}" if lead else "",
        "delivered": "yes" if is_delivered else "no",
    }
