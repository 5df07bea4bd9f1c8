"""How well each class is found, and how much the probabilities may be believed, from validation predictions."""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # scikit-learn brings it

from sed_model.run_folder.metrics import POSITIVE_FROM
from sed_model.run_folder.predictions import OutOfFold
from sed_model.run_folder.resampling import class_aucs, draws_of_files, weighted_class_aucs

RELIABILITY_COLUMNS = ("low", "high", "n", "mean_probability", "share_present")
CONFUSION_COLUMNS = ("present", "top_class", "n", "share")


def class_table(oof: OutOfFold, n_resamples: int = 200, seed: int = 0, confidence: float = 0.95) -> pd.DataFrame:
    """ROC-AUC of each class, the worst first, those that cannot be scored last.

    Returns:
        label, n_positive (windows with the class), n_files (with the class), n_windows (all), auc, low and high (the
        `confidence` interval over resampled files; NaN where the class has no positive or no negative window).
    """
    positive = oof.targets >= POSITIVE_FROM
    files, of_window = np.unique(oof.files, return_inverse=True)
    draws = draws_of_files(len(files), n_resamples, np.random.default_rng(seed))
    aucs = class_aucs(oof.targets, oof.probabilities, oof.parts)
    with threadpool_limits(1, user_api="blas"):  # the products are small
        resampled = weighted_class_aucs(oof.targets, oof.probabilities, draws[:, of_window], oof.parts)
    low, high = np.full((2, len(aucs)), np.nan)
    drawn = ~np.isnan(resampled).all(axis=0) & ~np.isnan(aucs)
    low[drawn], high[drawn] = np.nanquantile(resampled[:, drawn], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    table = pd.DataFrame(
        {
            "label": oof.classes,
            "n_positive": positive.sum(axis=0),
            "n_files": [len(set(of_window[column])) for column in positive.T],
            "n_windows": len(positive),
            "auc": aucs,
            "low": low,
            "high": high,
        }
    )
    return table.sort_values("auc", na_position="last", ignore_index=True, kind="stable")


def reliability(oof: OutOfFold, n_bins: int = 10) -> pd.DataFrame:
    """How often a class was there when the model gave it a probability within each of `n_bins` equal spans.

    Every pair of a window and a class counts once.

    Returns:
        A row a span that is not empty: low, high (its ends), n (pairs), mean_probability, share_present (0..1).
    """
    probabilities = oof.probabilities.ravel().astype(np.float64)
    present = (oof.targets >= POSITIVE_FROM).ravel()
    span = np.minimum((probabilities * n_bins).astype(int), n_bins - 1)
    counts = np.bincount(span, minlength=n_bins)
    used = np.flatnonzero(counts)
    return pd.DataFrame(
        {
            "low": used / n_bins,
            "high": (used + 1) / n_bins,
            "n": counts[used],
            "mean_probability": np.bincount(span, probabilities, n_bins)[used] / counts[used],
            "share_present": np.bincount(span, present, n_bins)[used] / counts[used],
        },
        columns=list(RELIABILITY_COLUMNS),
    )


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error, 0..1: the mean distance of the two shares of `reliability`, weighted by n.

    Naeini et al., AAAI 2015; NaN for an empty table.
    """
    if table.empty:
        return float("nan")
    distance = (table["mean_probability"] - table["share_present"]).abs()
    return float((distance * table["n"]).sum() / table["n"].sum())


def confusions(oof: OutOfFold) -> pd.DataFrame:
    """Which class has the highest score in windows that hold one class alone; the commonest confusions first.

    Returns:
        present, top_class, n (windows), share (of the windows of `present`); rows with present == top_class are the
        right ones. Empty where no window holds one class alone.
    """
    positive = oof.targets >= POSITIVE_FROM
    alone = positive.sum(axis=1) == 1
    classes = np.asarray(oof.classes, dtype=object)
    pairs = pd.DataFrame(
        {
            "present": classes[positive[alone].argmax(axis=1)],
            "top_class": classes[oof.probabilities[alone].argmax(axis=1)],
        }
    )
    table = pairs.groupby(["present", "top_class"]).size().rename("n").reset_index()
    table["share"] = table["n"] / table.groupby("present")["n"].transform("sum")
    return table.sort_values(["n", "present", "top_class"], ascending=[False, True, True], ignore_index=True)[
        list(CONFUSION_COLUMNS)
    ]
