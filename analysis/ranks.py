"""Which trial won, by how much, whether that is luck, and which settings go with good scores: the tables."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kruskal
from threadpoolctl import threadpool_limits  # scikit-learn brings it

from analysis.parameters import as_text, parameter_values, varied_parameters
from analysis.predictions import oof_path, read_oof
from analysis.tables import REFIT_COLUMNS, Run, RunFolderError
from sed_model.core.paths import is_there
from sed_model.core.texts import examples
from sed_model.run_folder.leaderboard import in_order
from sed_model.run_folder.metrics import auc_per_class
from sed_model.run_folder.predictions import OutOfFold
from sed_model.run_folder.resampling import draws_of_files, mean_of_classes, weighted_macro_aucs
from sed_model.run_folder.window_metrics import MACRO_AUC, metric_in

N_RESAMPLES = 200
N_TERCILES = 3
MATTERED_COLUMNS = (
    "parameter",
    "value",
    "n_trials",
    "n_complete",
    "n_best_quarter",
    "median",
    "best",
    "effect",
    "p_value",
)


def rank_trials(run: Run) -> pd.DataFrame:
    """The trials of a run, best first, with the settings that vary among them.

    Their order is that of leaderboard.csv; trials without a score and failed ones have no rank.

    Returns:
        rank, trial_id, number, status, macro_auc (0..1), gap (to the highest, >= 0), epochs, stage, duration_s,
        params_m, error, what the search went by where it is another metric (the gap is of it), REFIT_COLUMNS where
        finalists were trained again, drawn_by where it is known, then a column for
        each varied setting under its short name, NA where it was inactive.
    """
    trials = in_order(run.trials)
    metric = metric_in(trials.columns)
    columns = ["trial_id", "number", "status", "macro_auc", "epochs", "stage", "duration_s", "params_m", "error"]
    columns += [] if metric == MACRO_AUC else [metric]
    if trials["refit_mean"].notna().any():
        columns += REFIT_COLUMNS
    if trials["drawn_by"].notna().any():
        columns.append("drawn_by")
    settings = parameter_values(run, varied_parameters(run))
    ranking = trials[columns].join(settings).reset_index(drop=True)
    ranked = ranking[metric].notna() & (ranking["status"] != "failed")
    ranking.insert(0, "rank", (ranked.cumsum()).where(ranked).astype("Int64"))
    best = ranking.loc[ranked, metric].max()
    ranking.insert(5, "gap", (best - ranking[metric]).where(ranked))
    return ranking


def bootstrap_spread(
    run: Run, trial_ids: Sequence[str], n_resamples: int = N_RESAMPLES, seed: int = 0, confidence: float = 0.95
) -> pd.DataFrame:
    """How far the scores would move with other validation recordings, from the trials' out-of-fold predictions.

    Whole files are drawn with replacement, since the windows of a file are alike; every trial meets the same draws, so
    differences between trials are far more certain than the scores themselves. The draw says nothing about other seeds
    of the training, and the leader of many trials is a little flattered by having been picked (Efron & Tibshirani,
    An Introduction to the Bootstrap, 1993).

    Args:
        trial_ids: the trials to compare; each needs its trials/<trial_id>/oof.parquet.
        confidence: the share of the resamples between low and high, in 0..1.

    Returns:
        One row per trial, best first: trial_id, macro_auc (from the predictions), macro_auc_reported (of
        trials.parquet), low, high, p_leader_better (the share of resamples in which the first row beats this one,
        ties a half; NaN for
        the first row itself), n_files, n_windows.

    Raises:
        RunFolderError: predictions that are missing, damaged, of different classes, or without a class to score.
        ValueError: no trial, or one that the run does not have.
    """
    strange = sorted(set(trial_ids) - set(run.trials["trial_id"]))
    if strange or not trial_ids:
        raise ValueError(f"{list(trial_ids)=} must be one or more trials of {run.path}; not there: {strange}")
    predictions = {trial_id: read_oof(run.path, trial_id) for trial_id in trial_ids}
    scores = {
        trial_id: float(mean_of_classes(auc_per_class(oof.targets, oof.probabilities)))
        for trial_id, oof in predictions.items()
    }
    _require_comparable(run.path, predictions, scores)
    resampled = _resampled_scores(predictions, n_resamples, np.random.default_rng(seed))
    reported = run.trials.set_index("trial_id")["macro_auc"]
    order = sorted(predictions, key=lambda trial_id: scores[trial_id], reverse=True)
    rows = []
    for trial_id in order:
        ahead = resampled[order[0]] - resampled[trial_id]
        wins = np.where(ahead == 0, 0.5, ahead > 0)[~np.isnan(ahead)]
        low, high = np.nanquantile(resampled[trial_id], [(1 - confidence) / 2, (1 + confidence) / 2])
        rows.append(
            {
                "trial_id": trial_id,
                "macro_auc": scores[trial_id],
                "macro_auc_reported": reported[trial_id],
                "low": low,
                "high": high,
                "p_leader_better": wins.mean() if trial_id != order[0] else np.nan,
                "n_files": len(set(predictions[trial_id].files)),
                "n_windows": len(predictions[trial_id].windows),
            }
        )
    return pd.DataFrame(rows)


def what_mattered(run: Run) -> pd.DataFrame:
    """The scores that went with each value of each varied setting; numbers with many values are cut into terciles.

    Complete and pruned trials count alike: leaving the pruned ones out would hide what made them bad. A trial in which
    a setting was inactive does not count for that setting. A search samples good values more often and varies
    everything at once, so this shows what went together, not causes.

    Returns:
        A row a value, the setting with the widest effect first and its best value on top: parameter, value (text),
        n_trials, n_complete, n_best_quarter (how many belong to the best quarter of all trials), median and best
        macro_auc, effect (largest minus smallest median of the setting), p_value (Kruskal-Wallis over the setting's
        values, uncorrected; NaN where it has one value or no variation).
    """
    scored = run.scored
    trials = run.trials.loc[scored, ["status", "macro_auc"]]
    best_quarter = trials["macro_auc"] >= trials["macro_auc"].quantile(0.75) if len(trials) else trials["macro_auc"]
    parameters = varied_parameters(run)
    settings = parameter_values(run, parameters)[scored]
    tables = []
    for parameter in parameters:
        values = _grouped(settings[parameter.name], parameter.is_number)
        rows = trials.assign(value=values, best_quarter=best_quarter).dropna(subset="value").groupby("value")
        table = rows.agg(
            n_trials=("macro_auc", "size"),
            n_complete=("status", lambda status: int((status == "complete").sum())),
            n_best_quarter=("best_quarter", "sum"),
            median=("macro_auc", "median"),
            best=("macro_auc", "max"),
        ).reset_index()
        table.insert(0, "parameter", parameter.name)
        table["effect"] = table["median"].max() - table["median"].min()
        table["p_value"] = _kruskal_p([group.to_numpy() for _, group in rows["macro_auc"]])
        tables.append(table)
    if not tables:
        return pd.DataFrame(columns=list(MATTERED_COLUMNS))
    joined = pd.concat(tables, ignore_index=True)
    return joined.sort_values(["effect", "parameter", "median"], ascending=[False, True, False], ignore_index=True)


def _grouped(values: pd.Series, is_number: bool) -> pd.Series:
    """Text labels of the values; NA stays NA."""
    if not is_number or values.nunique() <= N_TERCILES + 1:
        return values.map(as_text, na_action="ignore").astype("str")
    place, ends = pd.qcut(values.astype("float64"), N_TERCILES, duplicates="drop", labels=False, retbins=True)
    spans = [f"{as_text(float(low))} to {as_text(float(high))}" for low, high in pairwise(ends)]
    return place.map(dict(enumerate(spans)), na_action="ignore").astype("str")


def _kruskal_p(groups: list[np.ndarray]) -> float:
    if len(groups) < 2 or len(np.unique(np.concatenate(groups))) < 2:
        return float("nan")
    return float(kruskal(*groups).pvalue)


def _require_comparable(path: Path, predictions: Mapping[str, OutOfFold], scores: Mapping[str, float]) -> None:
    first, *others = predictions
    different = [trial_id for trial_id in others if predictions[trial_id].classes != predictions[first].classes]
    unscored = [trial_id for trial_id in predictions if np.isnan(scores[trial_id])]
    problems = []
    if different:
        problems.append(f"{examples(different)} have other classes than {first}; compare trials of one data set.")
    if unscored:
        problems.append(f"{examples(unscored)} have no class with both a positive and a negative; use another fold.")
    if problems:
        raise RunFolderError(path, [f"trials/*/oof.parquet: {problem}" for problem in problems])


def _resampled_scores(
    predictions: Mapping[str, OutOfFold], n_resamples: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """macro_auc [resamples] of each trial under the same draws of files."""
    files = sorted(set().union(*(oof.files for oof in predictions.values())))
    draws = draws_of_files(len(files), n_resamples, rng)
    scores = {}
    # The matrix products are small, one a class: handing them out to threads takes several times as long as doing them.
    with threadpool_limits(1, user_api="blas"):
        for trial_id, oof in predictions.items():
            of_window = np.searchsorted(files, oof.files)
            scores[trial_id] = weighted_macro_aucs(oof.targets, oof.probabilities, draws[:, of_window])
    return scores


def leader_spread(run: Run, top: int) -> pd.DataFrame | None:
    """`bootstrap_spread` of the best `top` ranked trials that have predictions; None where none has."""
    ranked = rank_trials(run).dropna(subset="rank").head(top)["trial_id"]
    with_predictions = [trial_id for trial_id in ranked if is_there(oof_path(run.path, trial_id))]
    return bootstrap_spread(run, with_predictions) if with_predictions else None


def verdict(spread: pd.DataFrame | None) -> str:
    """Whether the first of `bootstrap_spread` is ahead of the second, in a sentence."""
    if spread is None:
        return "No out-of-fold predictions (trials/*/oof.parquet): nothing said about luck."
    if len(spread) < 2:
        return "One trial with predictions: nothing to compare it with."
    leader, second = spread.iloc[0], spread.iloc[1]
    certainty = second["p_leader_better"]
    word = "clearly ahead of" if certainty >= 0.95 else "probably ahead of" if certainty >= 0.8 else "level with"
    return (
        f"{leader['trial_id']} is {word} {second['trial_id']}: better in {certainty:.0%} of the resamples "
        f"of {leader['n_files']} validation files."
    )
