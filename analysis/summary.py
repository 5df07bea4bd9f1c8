"""What the tables say, in plain sentences."""

import math

import pandas as pd

from analysis.curves import history, stage_gains
from analysis.parameters import parameter_values, varied_parameters
from analysis.ranks import rank_trials, verdict, what_mattered
from analysis.tables import Run
from sed_model.core.texts import counted, examples
from sed_model.run_folder.delivered import read_delivered
from sed_model.run_folder.line_to_beat import line_to_beat
from sed_model.run_folder.run_tables import STATUSES

CLEARLY = 0.05
"""Level of significance for all settings together; it is shared out among them (Bonferroni)."""
MIN_FOR_SETTINGS = 6


def summarise(run: Run, spread: pd.DataFrame | None, importance: pd.DataFrame) -> list[str]:
    """What somebody wants to know who has no time: the winner, whether it is luck, what mattered, what comes next."""
    sentences = [tally(run)]
    ranking = rank_trials(run)
    if ranking["rank"].isna().all():
        return [*sentences, no_score(run), *failures(run)]
    best = ranking.iloc[0]
    interval = "" if spread is None else _interval(spread, best["trial_id"])
    sentences.append(
        f"The best is {best['trial_id']} with a macro ROC-AUC of {best['macro_auc']:.4f}{interval}, reached in "
        f"{best['stage'] if pd.notna(best['stage']) else 'an unnamed stage'}."
    )
    if line := line_to_beat(run.path, run.search, run.trials["split"].dropna()):
        sentences.append(line)
    again = best.get("refit_mean")
    if pd.notna(again) and is_cross_fitted(run):
        sentences.append("The ranking is by the out-of-fold scores of the finalists, see above.")
    elif pd.notna(again):
        spread_of = f" ± {best['refit_sd']:.4f}" if pd.notna(best["refit_sd"]) else ""
        sentences.append(
            f"Trained again on other folds or with other seeds it reaches {again:.4f}{spread_of} (mean of "
            f"{counted(int(best['n_refits']), 'training')}, without the score that chose it)."
        )
    if len(ranking.dropna(subset="rank")) == 1:
        sentences.append("One trial with a score: there is nothing to compare it with.")
        return [*sentences, *failures(run)]
    sentences.append(verdict(spread))
    sentences += settings_sentences(run, importance)
    sentences += [*stage_sentences(run), *progress_sentence(run), *failures(run)]
    return sentences


def is_cross_fitted(run: Run) -> bool:
    """Whether the finalists' mean scores are those of parts of the soundscapes, not of other folds or seeds."""
    return read_delivered(run.path) is not None


def tally(run: Run) -> str:
    """How many trials there are, by status, and how many epochs they ran."""
    counts = run.trials["status"].value_counts()
    if run.trials.empty:
        return "The run has no trials yet."
    parts = ", ".join(f"{counts[status]} {status}" for status in STATUSES if status in counts)
    text = f"{counted(len(run.trials), 'trial')} ({parts}), {counted(len(run.curves), 'epoch')} of training."
    draws = run.trials["drawn_by"].value_counts()
    return f"{text} Drawn by: {examples(f'{name} {n}' for name, n in draws.items())}." if len(draws) else text


def no_score(run: Run) -> str:
    """Why there is no ranking."""
    if run.trials.empty:
        return "There is nothing to show: run or resume the search."
    if (run.trials["status"] == "failed").all():
        return "All trials failed: there is no model and nothing to rank. The reasons are below."
    return "No trial has a score yet: there is nothing to rank."


def failures(run: Run) -> list[str]:
    """How many trials failed, and with which errors."""
    failed = run.trials[run.trials["status"] == "failed"]
    if failed.empty:
        return []
    reasons = failed["error"].fillna("no reason recorded").value_counts()
    told = examples((f"{reason} ({n} times)" if n > 1 else reason for reason, n in reasons.items()), n_most=3)
    return [f"{counted(len(failed), 'trial')} failed: {told}."]


def settings_sentences(run: Run, importance: pd.DataFrame, n_most: int = 6) -> list[str]:
    """For each setting, the most important first: what the best trials have, and whether that is more than noise."""
    scored = run.scored
    n_scored = int(scored.sum())
    if n_scored < MIN_FOR_SETTINGS:
        return [f"{counted(n_scored, 'trial')} with a score are too few to tell which settings mattered."]
    n_top = min(10, max(3, n_scored // 3))
    top = run.trials.loc[scored, "macro_auc"].nlargest(n_top).index
    parameters = varied_parameters(run)
    values = parameter_values(run, parameters)
    p_values = what_mattered(run).groupby("parameter")["p_value"].first()
    level = CLEARLY / max(1, len(parameters))
    known = {name: place for place, name in enumerate(importance["parameter"])}
    parameters = sorted(parameters, key=lambda parameter: known.get(parameter.name, len(known)))
    sentences = []
    for parameter in parameters[:n_most]:
        certainty = _certainty(p_values.get(parameter.name, float("nan")), level)
        column = values[parameter.name]
        if parameter.is_number:
            found = _range_sentence(parameter.name, column[top].dropna(), column[scored].dropna())
        else:
            found = _choice_sentence(parameter.name, column[top].dropna(), column[scored].dropna(), n_top)
        sentences.append(f"{found}; {certainty}." if found else "")
    left_out = (
        f"{len(parameters) - n_most} further settings are in the tables below." if len(parameters) > n_most else ""
    )
    return [sentence for sentence in [*sentences, left_out] if sentence]


def stage_sentences(run: Run) -> list[str]:
    """What the stages after the first added."""
    gains = stage_gains(run).iloc[1:].dropna(subset="median_gain")
    return [
        f"{row['stage']} changed the best comparable score so far by {row['median_gain']:+.3f} (median of "
        f"{counted(row['n_trials'], 'trial')} that finished it)."
        for row in gains.to_dict("records")
    ]


def progress_sentence(run: Run) -> list[str]:
    """When the best trial was found, and what that says of more trials."""
    scores = history(run)
    best = scores["best_so_far"].dropna()
    if best.empty:
        return []
    place, n_scored = int((best == best.max()).to_numpy().argmax()) + 1, len(scores)
    if place > 0.7 * n_scored:
        return [
            f"The best trial came late, as number {place} of the {n_scored} with a score: more trials may find better."
        ]
    return [
        f"The best trial was number {place} of the {n_scored} with a score; the {n_scored - place} after it found "
        "nothing better."
    ]


def _choice_sentence(name: str, top: pd.Series, drawn: pd.Series, n_top: int) -> str:
    if top.empty:
        return ""
    commonest, n_best = top.value_counts().index[0], int(top.value_counts().iloc[0])
    return (
        f"{name}={commonest} is in {n_best} of the top {n_top} trials, and in {int((drawn == commonest).sum())} of all "
        f"{len(drawn)}"
    )


def _range_sentence(name: str, top: pd.Series, drawn: pd.Series) -> str:
    if top.empty:
        return ""
    return (
        f"{name} lies between {float(top.min()):.3g} and {float(top.max()):.3g} in the top trials (drawn from "
        f"{float(drawn.min()):.3g} to {float(drawn.max()):.3g})"
    )


def _certainty(p_value: float, level: float) -> str:
    if math.isnan(p_value):
        return "too few values to tell whether that is luck"
    if p_value < level:
        return f"its values differ clearly (p = {p_value:.2g})"
    if p_value < CLEARLY:
        return f"its values perhaps differ (p = {p_value:.2g}, with several settings tried)"
    return f"the choice is within noise (p = {p_value:.2f})"


def _interval(spread: pd.DataFrame, trial_id: str) -> str:
    row = spread[spread["trial_id"] == trial_id]
    if row.empty:
        return ""
    return f" (other validation files: {row['low'].iloc[0]:.3f} to {row['high'].iloc[0]:.3f})"
