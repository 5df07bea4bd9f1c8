"""Score a submission against labels of its windows."""

from __future__ import annotations

import re
from pathlib import Path

from analysis.paper_metrics import METRICS, Bootstrap, class_metrics, metric_table, resample, site_metrics
from analysis.score_tables import Scored, check_sites
from sed_model.core import cli
from sed_model.core.soundscape_names import SITE
from sed_model.core.texts import counted
from sed_model.data.scored_rows import read_scored_rows


def score(predictions: Path, truth: Path, sites: re.Pattern[str] | None, bootstrap: Bootstrap) -> Scored:
    """Score, and say what was passed over.

    Args:
        sites: its first group is the site in a file's name; None: as the competitions name files.
    """
    rows = read_scored_rows(predictions, truth, sites or SITE)
    check_sites(sites, rows.sites, rows.windows.files)
    for note in rows.notes:
        cli.say(f"data: {note}")
    resampled = resample(rows.windows, bootstrap)
    tables = {
        "metrics": metric_table(rows.windows, resampled),
        "sites": site_metrics(rows.windows, rows.sites, bootstrap),
        "classes": class_metrics(rows.windows, resampled),
    }
    n_windows, n_files = len(rows.sites), len(set(rows.windows.files))
    head = {"predictions": str(predictions), "truth": str(truth), "seed": bootstrap.seed}
    counts = {"n_windows": "windows", "n_files": "files"}
    return Scored(
        tables=tables,
        names=METRICS,
        site_names=METRICS,
        site_counts=counts,
        class_names={"ap": "AP", "auc": "AUC"},
        class_counts=counts,
        class_metrics=("auc", "ap"),
        size=f"{counted(n_windows, 'window')} of {counted(n_files, 'file')}, {len(rows.windows.classes)} classes",
        head=head | {"n_windows": n_windows, "n_files": n_files, "notes": list(rows.notes)},
    )
