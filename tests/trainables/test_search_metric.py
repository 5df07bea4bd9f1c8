"""A real search that goes by cmAP: eight labelled soundscapes, three trials, a finalist beside the default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sed_model.model.checkpoint import read_lineage
from sed_model.run_folder.delivered import read_delivered
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.out_of_fold import of_mean, score
from sed_model.run_folder.predictions import read_predictions
from tests.trainables.tiny import SPACE, write_data, write_space


def space_by(folder: Path, metric: str) -> Path:
    """Whose trials keep their best epoch."""
    search: dict[str, object] = {**SPACE["search"], "metric": metric, "trials_in_parts": False}  # type: ignore[dict-item]
    return write_space(folder / "space", {**SPACE, "search": search})


@pytest.mark.slow
def test_all_goes_by_the_metric_of_the_search(run_search: Callable[..., str], tmp_path: Path) -> None:
    space, data = space_by(tmp_path, "cmap"), write_data(tmp_path / "data", 8)
    place = ("--out", tmp_path / "runs", "--name", "new")
    few = ("--finalists", "1", "--max-concurrent", "1", "--no-pseudo-labels")
    output = run_search("--space", space, "--data", data, *place, "--num-trials", "3", *few)
    run = RunFolder(tmp_path / "runs" / "new")

    trials, curves = (pd.DataFrame(rows) for rows in (run.read_trials(), run.read_curves()))
    for row in trials.itertuples():
        said, own = read_predictions(run.trial(row.number)), curves[curves["trial_id"] == row.trial_id]
        assert score(said, "cmap") == pytest.approx(row.cmap, abs=1e-6)
        assert score(said) == pytest.approx(row.macro_auc, abs=1e-6)
        assert (own["cmap"].max(), own["best_cmap"].iloc[-1]) == (row.cmap, row.cmap)
        assert own.loc[own["cmap"].idxmax(), "macro_auc"] == row.macro_auc
        assert read_lineage(run.trial(row.number)).metrics["cmap"] == row.cmap
    assert (trials["cmap_se"] > 0).all()
    delivered = read_delivered(run.path)
    assert delivered is not None
    assert delivered.metric == "cmap"
    assert delivered.score == pytest.approx(score(of_mean(run.path, delivered), "cmap"))
    assert "(cmAP of what each has not heard)" in output
    assert "can prove leads" not in output  # was measured for macro AUC
    assert yaml.safe_load(run.search_file.read_text())["search"]["metric"] == "cmap"

    few = ("--finalists", "0", "--max-concurrent", "1", "--no-pseudo-labels")
    again = run_search("--resume", *place, "--num-trials", "4", *few)
    assert "4 of 4 trials, best " in again
    assert len(run.read_trials()) == 4
    assert min(row["cmap"] for row in run.read_trials()) > 0


def test_a_metric_that_no_class_has_windows_enough_for_is_refused(
    refusal_of: Callable[..., str], tiny_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Eight windows of two soundscapes, two or three of each class."""
    space = space_by(tmp_path_factory.mktemp("cmap5"), "cmap5")
    message = refusal_of("search", "--space", space, "--data", tiny_root, "--name", "new")
    assert "cmAP5 is undefined over 8 windows: no class is in 5 of them; validate on more" in message
