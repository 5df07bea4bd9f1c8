"""Macro AUC of 10,000 windows x 206 classes with ties: sed_model.metrics against a loop over scikit-learn."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import roc_auc_score

from sed_model.metrics import macro_auc

N_ROWS, N_CLASSES, N_REPEATS = 10_000, 206, 7
POSITIVE_SHARE = 0.02
TARGET_RATIO = 12.0


def plain_macro_auc(targets: np.ndarray, scores: np.ndarray) -> float:
    return float(np.mean([roc_auc_score(targets[:, k], scores[:, k]) for k in range(targets.shape[1])]))


def cpu_ms(run: Callable[[], float]) -> float:
    start = time.process_time()
    run()
    return 1000 * (time.process_time() - start)


def main() -> int:
    rng = np.random.default_rng(0)
    targets = (rng.random((N_ROWS, N_CLASSES)) < POSITIVE_SHARE).astype(np.float32)
    scores = (targets * 0.1 + rng.random((N_ROWS, N_CLASSES))).round(3)  # about ten windows share a score
    difference = abs(plain_macro_auc(targets, scores) - macro_auc(targets, scores))
    plain, ours = [], []
    for _ in range(N_REPEATS):
        plain.append(cpu_ms(lambda: plain_macro_auc(targets, scores)))
        ours.append(cpu_ms(lambda: macro_auc(targets, scores)))
    ratio = float(np.median(plain) / np.median(ours))
    holds = ratio >= TARGET_RATIO and difference <= 1e-12
    result = {
        "name": "macro_auc_10000x206",
        "plain": round(float(np.median(plain)), 1),
        "ours": round(float(np.median(ours)), 1),
        "unit": "ms CPU",
        "ratio": round(ratio, 1),
        "target": TARGET_RATIO,
        "holds": holds,
    }
    print(json.dumps(result))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
