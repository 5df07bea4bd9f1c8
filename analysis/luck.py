"""The report's first question: is what the search found better than the default, or was it luck?"""

import pandas as pd

from analysis.page import Section, said, table_view
from analysis.ranks import verdict
from analysis.sections_search import RunFacts
from sed_model.run_folder.delivered import Delivered, Lead, read_delivered
from sed_model.run_folder.delivered import verdict as delivered_verdict


def luck_section(facts: RunFacts) -> Section:
    """How sure the finalists are, and what is delivered; without finalists how much the trials differ."""
    anchor, title = facts.anchor("luck"), "Was it luck?"
    delivered = read_delivered(facts.run.path)
    if delivered is None:
        words = (
            "No finalist was trained on parts of the labelled soundscapes: a score is that of one training, and the "
        )
        return Section(anchor, title, said(words + "best of many owes something to luck.", verdict(facts.spread)))
    sentences = [
        f"{delivered_verdict(delivered).capitalize()}.",
        f"Each finalist was trained on {delivered.n_parts} parts of the {delivered.n_files} labelled soundscapes; its "
        "score is that of what it has not heard, ± the standard error over the files.",
        "A lead is over the default, on the same files; the shrunken one allows for the luck of the best of several.",
    ]
    return Section(
        anchor, title, sentences, tables=[table_view("Finalists, the best first", finalists_table(delivered))]
    )


def finalists_table(delivered: Delivered) -> pd.DataFrame:
    """One row per finalist, and one for the mean."""
    rows = []
    for one in delivered.finalists:
        name = f"{one.trial_id} (default)" if one.is_default else one.trial_id
        rows.append(_row(name, one.macro_auc, one.se, one.lead, one.is_delivered))
    mean = _row("their mean", delivered.macro_auc, delivered.se, delivered.lead, True)
    return pd.DataFrame([*rows, mean])


def _row(name: str, score: float, error: float, lead: Lead | None, is_delivered: bool) -> dict[str, str]:
    return {
        "trial_id": name,
        "macro_auc": f"{score:.4f} ± {error:.4f}",
        "lead": f"{lead.mean:+.4f} ± {lead.se:.4f}" if lead else "",
        "shrunken lead": f"{lead.shrunken:+.4f}" if lead else "",
        "chance to be better": f"{lead.p_better:.0%}" if lead else "",
        "delivered": "yes" if is_delivered else "no",
    }
