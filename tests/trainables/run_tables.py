"""A row of each table of a run folder, and the record of its search, for tests of what reads them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from sed_model.run_folder.run_tables import CURVE_FIELDS, REFIT_FIELDS, TRIAL_FIELDS

TRIAL = {"trial_id": "trial_0000", "number": 0, "status": "complete", "macro_auc": 0.5, "fold": 0, "seed": 0}
CURVE = {"trial_id": "trial_0000", "stage": "pretrain_ce", "epoch": 1, "stage_epoch": 1, "macro_auc": 0.5}
TABLES: dict[str, tuple[pa.Schema, dict[str, Any]]] = {
    "trials": (TRIAL_FIELDS, TRIAL),
    "curves": (CURVE_FIELDS, CURVE),
    "refits": (REFIT_FIELDS, {name: value for name, value in TRIAL.items() if name != "status"}),
}
RECORD: dict[str, Any] = {"space_name": "tiny", "data": {"folder": "data", "fingerprint": "0"}}
