"""The parts of the report about the search: ranking, history, settings, cost."""

import re
from dataclasses import dataclass

import pandas as pd

from analysis.costs import cost, cost_by_status, pareto_front
from analysis.curves import history, learning_curves, rungs, stage_gains, stage_spans
from analysis.figures import (
    contour_figure,
    curves_figure,
    history_figure,
    importance_figure,
    parallel_figure,
    pareto_figure,
    ranking_figure,
    slice_figure,
)
from analysis.importance import importance_by_parameter
from analysis.page import FigureView, Section, said, table_view
from analysis.parameters import varied_parameters
from analysis.predictions import oof_path, read_delivered_mean, read_oof
from analysis.ranks import leader_spread, rank_trials, verdict, what_mattered
from analysis.slices import parallel_table, slice_table, thinned
from analysis.study import study_of
from analysis.tables import REFIT_COLUMNS, Run
from sed_model.core.paths import is_there
from sed_model.core.texts import counted
from sed_model.run_folder.predictions import OutOfFold
from sed_model.run_folder.window_metrics import MACRO_AUC, metric_in

TOP = 10
MAX_TABLE_ROWS = 100
N_SLICES = 8
MAX_IMPORTANCE_TRIALS = 300
MAX_FANOVA_TRIALS = 120


@dataclass(frozen=True)
class RunFacts:
    """A run with what several sections need. `shown` has fewer trials, for drawing, where there are thousands.

    `leader` is the best trial with predictions; `oof` are these, or those of the finalists' mean where a run delivers
    it, as `said_by` says. None where no trial has any.
    """

    run: Run
    shown: Run
    ranking: pd.DataFrame
    spread: pd.DataFrame | None
    importance: pd.DataFrame
    leader: str | None
    oof: OutOfFold | None
    said_by: str

    def anchor(self, name: str) -> str:
        """The name of a section within the page, which may hold several runs."""
        return re.sub(r"[^\w]+", "-", f"{self.run.path}-{name}").strip("-")

    @property
    def thinning(self) -> str:
        """What the figures leave out, or nothing."""
        n_all, n_shown = len(self.run.trials), len(self.shown.trials)
        if n_all == n_shown:
            return ""
        return f"Drawn are {n_shown} of {n_all:,} trials: the best, some around the median, and others at random."


def gather(run: Run) -> RunFacts:
    """Compute what several sections need.

    Raises:
        RunFolderError: predictions that are damaged or of different classes.
    """
    ranking = rank_trials(run)
    ranked = ranking.dropna(subset="rank")["trial_id"]
    leader = next((trial for trial in ranked if is_there(oof_path(run.path, trial))), None)
    delivered = read_delivered_mean(run.path)
    return RunFacts(
        run,
        thinned(run),
        ranking,
        leader_spread(run, TOP),
        importance_by_parameter(run, n_resamples=20, max_trials=MAX_IMPORTANCE_TRIALS),
        leader,
        read_oof(run.path, leader) if delivered is None and leader is not None else delivered,
        str(leader) if delivered is None else "the finalists' mean",
    )


def ranking_section(facts: RunFacts) -> Section:
    """Which trials are best, by how much, and which failed."""
    anchor, title = facts.anchor("ranking"), "Ranking"
    ranked = facts.ranking.dropna(subset="rank")
    tables = []
    failed = facts.ranking[facts.ranking["status"] == "failed"]
    if len(failed):
        tables.append(table_view("Failed trials", failed.head(MAX_TABLE_ROWS), ("trial_id", "stage", "error")))
    if ranked.empty:
        return Section(anchor, title, ["No trial has a score: there is no ranking."], tables=tables)
    settings = [parameter.name for parameter in varied_parameters(facts.run)]
    refits = [name for name in REFIT_COLUMNS if name in ranked]
    draws = ["drawn_by"] if "drawn_by" in ranked else []
    scores = dict.fromkeys([metric_in(facts.run.trials.columns), MACRO_AUC])
    columns = ["rank", "trial_id", "status", *scores, *refits, "gap", "epochs", "stage", *settings, "minutes"]
    columns += ["params_m", *draws]
    minutes = ranked.assign(minutes=ranked["duration_s"] / 60)
    some = f"the best {MAX_TABLE_ROWS} of {len(ranked):,}" if len(ranked) > MAX_TABLE_ROWS else "all that have a score"
    tables.insert(0, table_view(f"The trials, best first ({some})", minutes.head(MAX_TABLE_ROWS), columns))
    words = "The bar is the span in which 95 % of the scores lie when whole validation files are drawn again and again."
    caption = f"The best {min(TOP, len(ranked))} trials"
    figure = FigureView(caption, ranking_figure(facts.ranking, facts.spread, TOP))
    sentences = [words if facts.spread is not None else "", verdict(facts.spread)]
    return Section(anchor, title, said(*sentences), [figure], tables)


def history_section(facts: RunFacts) -> Section:
    """How the best score grew over the search."""
    anchor, title = facts.anchor("history"), "History of the search"
    scores = history(facts.run)
    if scores.empty:
        return Section(anchor, title, ["No trial has a score yet."])
    better = scores["best_so_far"].diff().fillna(1) > 0
    drawn = scores[better | scores["trial_id"].isin(facts.shown.trials["trial_id"])]
    figure = FigureView("Score of each trial, and the best so far", history_figure(drawn))
    steps = scores[better & scores["best_so_far"].notna()]
    words = f"The best score rose {counted(len(steps), 'time')}, last with trial number {steps['number'].iloc[-1]}."
    return Section(anchor, title, said(words if len(steps) else "", facts.thinning), [figure])


def curves_section(facts: RunFacts) -> Section:
    """How the scores grew within the trials, stage by stage, and where ASHA stopped them."""
    anchor, title = facts.anchor("curves"), "Learning curves and rungs"
    if facts.run.curves["macro_auc"].notna().sum() == 0:
        return Section(anchor, title, ["No epoch has a score yet."])
    levels = rungs(facts.run)
    spans = stage_spans(facts.run.curves)
    figure = FigureView(
        "macro ROC-AUC over the epochs; a triangle is where a trial was pruned, a dotted line a rung",
        curves_figure(learning_curves(facts.shown), spans, levels),
    )
    tables = [
        table_view("What each stage added to the trials that finished it", stage_gains(facts.run)),
    ]
    if levels.empty:
        rung_words = "No trial was pruned."
    else:
        rung_words = (
            f"{counted(int(levels['n_pruned'].sum()), 'trial')} pruned, at {counted(len(levels), 'rung')}. Trials that "
            "start at different times meet a rung with others to compare with: a pruned one may have been better than "
            "one that was kept."
        )
        tables.append(table_view("Rungs: the epochs after which trials were pruned", levels))
    return Section(anchor, title, said(rung_words, facts.thinning), [figure], tables)


def importance_section(facts: RunFacts) -> Section:
    """Which settings tell good trials from bad ones."""
    anchor, title = facts.anchor("importance"), "Importance of the settings"
    if facts.importance.empty:
        words = "Too few trials with different scores and settings (at least four) to say what mattered."
        return Section(anchor, title, [words])
    figures = [FigureView("PED-ANOVA: what the best trials share", importance_figure(facts.importance))]
    n_scored = int(facts.run.trials["macro_auc"].notna().sum())
    sentences = [
        f"From {MAX_IMPORTANCE_TRIALS} trials (fANOVA: {MAX_FANOVA_TRIALS}) drawn at random."
        if n_scored > MAX_IMPORTANCE_TRIALS
        else "",
        "A bar that does not pass its red mark is no more than shuffled scores would give (shown pale). Conditional "
        "settings count in the trials in which they were active.",
    ]
    # A forest for each resample: with many trials this would take minutes.
    explained = importance_by_parameter(facts.run, "fanova", n_resamples=8, max_trials=MAX_FANOVA_TRIALS)
    if len(explained):
        figures.append(FigureView("fANOVA: what explains the variance of all scores", importance_figure(explained)))
        left_out = sorted(set(facts.importance["parameter"]) - set(explained["parameter"]))
        sentences.append(f"fANOVA knows no conditions and leaves out: {', '.join(left_out)}." if left_out else "")
    mattered = table_view(
        "Scores that went with the values of each setting (p: Kruskal-Wallis)", what_mattered(facts.run)
    )
    return Section(anchor, title, said(*sentences), figures, [mattered])


def slices_section(facts: RunFacts) -> Section:
    """The score against each setting."""
    anchor, title = facts.anchor("slices"), "The score against each setting"
    table = slice_table(facts.shown)
    if table.empty:
        return Section(anchor, title, ["No setting varied among the trials with a score."])
    order = [*facts.importance["parameter"], *table["parameter"].unique()]
    names = [name for name in dict.fromkeys(order) if (table["parameter"] == name).any()][:N_SLICES]
    is_log = {parameter.name: parameter.is_log for parameter in varied_parameters(facts.run)}
    figures = [
        FigureView(name, slice_figure(table[table["parameter"] == name], is_log.get(name, False))) for name in names
    ]
    n_left = table["parameter"].nunique() - len(names)
    left_out = f"The {len(names)} most important settings; {n_left} more varied." if n_left else ""
    return Section(anchor, title, said(left_out, facts.thinning), figures, is_grid=True)


def together_section(facts: RunFacts) -> Section:
    """Settings together: all of them as lines, the two most important numbers as a map."""
    anchor, title = facts.anchor("together"), "Settings together"
    table = parallel_table(facts.shown)
    if table["parameter"].nunique() < 2:
        return Section(anchor, title, ["Less than two settings varied: there is nothing to see together."])
    order = list(facts.importance["parameter"].head(10)) or list(table["parameter"].unique()[:10])
    figures = [FigureView("Each line is a trial; the colour is its score", parallel_figure(table, order))]
    numbers = [parameter.name for parameter in varied_parameters(facts.shown) if parameter.is_number]
    pair = [name for name in order if name in numbers][:2]
    study = study_of(facts.shown, pair) if len(pair) == 2 else None
    n_both = 0 if study is None else sum(len(trial.params) == 2 for trial in study.trials)
    words = ""
    if study is not None and n_both >= 4:
        caption = f"The score over {pair[0]} and {pair[1]}, between the trials a guess"
        figures.append(FigureView(caption, contour_figure(study, pair)))
    else:
        words = "No map of two settings: fewer than four trials vary two numbers at once."
    return Section(anchor, title, said(words, facts.thinning), figures)


def pareto_section(facts: RunFacts) -> Section:
    """Whether the winner is worth its time."""
    anchor, title = facts.anchor("pareto"), "Score against cost"
    front = pareto_front(facts.run)
    if front.empty:
        return Section(anchor, title, ["No trial has both a score and a CPU time."])
    best = front[front["on_front"]]
    cheapest, dearest = best.iloc[0], best.iloc[-1]
    words = f"{len(best)} of {len(front):,} trials are on the front: no other is both better and cheaper."
    if len(best) > 1:
        words += (
            f" It runs from {cheapest['trial_id']} ({cheapest['macro_auc']:.4f} at "
            f"{cheapest['cpu_ms_per_window']:.3g} ms a window) to {dearest['trial_id']} ({dearest['macro_auc']:.4f} at "
            f"{dearest['cpu_ms_per_window']:.3g} ms)."
        )
    drawn = front[front["on_front"] | front["trial_id"].isin(facts.shown.trials["trial_id"])]
    tables = [table_view("The front", best, ("trial_id", "macro_auc", "cpu_ms_per_window", "params_m"))]
    return Section(
        anchor, title, said(words, facts.thinning), [FigureView("macro ROC-AUC over CPU time", pareto_figure(drawn))],
        tables,
    )  # fmt: skip


def cost_section(facts: RunFacts) -> Section:
    """What the search cost, and what pruning saved."""
    anchor, title = facts.anchor("cost"), "What it cost"
    row = cost(facts.run).iloc[0]
    if facts.run.trials.empty:
        return Section(anchor, title, ["No trial ran."])
    words = (
        f"{row['core_hours']:.2f} core-hours ({row['trial_hours']:.2f} hours of trials, {row['cpus_per_trial']:.0f} "
        f"CPU a trial) for {row['epochs_run']:,.0f} epochs. Training every pruned trial to the end would have taken "
        f"{row['epochs_full']:,.0f}: pruning saved {row['saved_share']:.0%} of the epochs, about "
        f"{row['hours_saved']:.2f} hours."
    )
    return Section(anchor, title, [words], tables=[table_view("By status", cost_by_status(facts.run))])


def readable_predictions(facts: RunFacts) -> str:
    """Why there are none, in a sentence; nothing where there are some."""
    return "" if facts.oof is not None else "No trial has validation predictions (trials/*/oof.parquet)."
