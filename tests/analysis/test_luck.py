"""The table of finalists: what is known of each, of their mean and of the single model, beside what they cost."""

from __future__ import annotations

import pytest

from analysis.luck import finalists_table
from sed_model.run_folder.delivered import Delivered, Finalist, Lead, Member


def finalist(number: int, score: float, is_default: bool = False, is_delivered: bool = True) -> Finalist:
    name = f"trial_{number:04d}"
    members = tuple(Member(folder=f"trials/{name}/part_{part}", weights_sha256="") for part in range(2))
    lead = None if is_default else Lead(mean=score - 0.7, se=0.02, p_better=0.9, shrunken=(score - 0.7) / 2)
    facts = {"is_default": is_default, "lead": lead, "is_delivered": is_delivered, "members": members}
    return Finalist(trial_id=name, macro_auc=score, score=score, se=0.01, **facts)


def test_costs_are_those_of_all_models_that_predict() -> None:
    """Two models a finalist: 2 x 3 ms and 2 x 5 ms are delivered, the third one is not."""
    finalists = (finalist(1, 0.8), finalist(0, 0.7, is_default=True), finalist(2, 0.5, is_delivered=False))
    delivered = Delivered(n_parts=2, n_files=8, finalists=finalists, macro_auc=0.82, score=0.82, se=0.01, lead=None)

    table = finalists_table(delivered, {"trial_0000": 5.0, "trial_0001": 3.0, "trial_0002": 7.0}).set_index("trial_id")

    assert table["cpu_ms_per_window"].to_dict() == pytest.approx(
        {"trial_0001": 6, "trial_0000 (default)": 10, "trial_0002": 14, "their mean": 16, "--single": 3}
    )
    assert table["models"].tolist() == [2, 2, 2, 4, 1]
    assert table.loc["--single", "macro_auc"] == "0.8000 ± 0.0100"
    assert table.loc["trial_0001", "shrunken lead"] == "+0.0500"
    assert table["delivered"].tolist() == ["yes", "yes", "no", "yes", "yes"]


def test_scores_are_those_of_what_the_search_goes_by() -> None:
    one = finalist(0, 0.8, is_default=True).model_copy(update={"score": 0.4})
    scores = {"macro_auc": 0.8, "score": 0.4, "se": 0.01}
    delivered = Delivered(n_parts=2, n_files=8, finalists=(one,), metric="cmap", lead=None, **scores)
    table = finalists_table(delivered, {})
    assert table["cmap"].tolist() == ["0.4000 ± 0.0100"] * 3
    assert "macro_auc" not in table
