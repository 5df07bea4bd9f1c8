"""Macro AUC of 10,000 windows x 206 classes with ties: ours against a loop over scikit-learn."""

from __future__ import annotations

import sys

import numpy as np
from _common import Side, interleaved_ms, report
from sklearn.metrics import roc_auc_score

from sed_model.run_folder.metrics import macro_auc

N_ROWS, N_CLASSES, N_REPEATS = 10_000, 206, 7
POSITIVE_SHARE = 0.02
TARGET_RATIO = 12.0
FARTHEST = 1e-12


def plain_macro_auc(targets: np.ndarray, scores: np.ndarray) -> float:
    return float(np.mean([roc_auc_score(targets[:, k], scores[:, k]) for k in range(targets.shape[1])]))


def main() -> int:
    rng = np.random.default_rng(0)
    targets = (rng.random((N_ROWS, N_CLASSES)) < POSITIVE_SHARE).astype(np.float32)
    scores = (targets * 0.1 + rng.random((N_ROWS, N_CLASSES))).round(3)  # about ten windows share a score
    difference = abs(plain_macro_auc(targets, scores) - macro_auc(targets, scores))
    sides = [Side(lambda _: plain_macro_auc(targets, scores)), Side(lambda _: macro_auc(targets, scores))]
    holds = report("macro_auc_10000x206", interleaved_ms(sides, N_REPEATS), TARGET_RATIO)
    if difference > FARTHEST:
        print(f"the sides differ by {difference:.2g}", file=sys.stderr)
    return 0 if holds and difference <= FARTHEST else 1


if __name__ == "__main__":
    sys.exit(main())
