"""Several runs side by side: what each reached and cost, what they were told, class by class."""

from collections.abc import Mapping, Sequence
from itertools import count

import pandas as pd

from analysis.classes import class_table
from analysis.costs import cost
from analysis.curves import history
from analysis.figures_models import class_comparison_figure, progress_figure
from analysis.page import Chapter, FigureView, Section, table_view
from analysis.parameters import as_text
from analysis.sections_search import RunFacts

RUN_COLUMNS = ("run", "n_trials", "n_complete", "best_trial", "macro_auc", "low", "high", "epochs_run", "core_hours")


def runs_side_by_side(runs: Mapping[str, RunFacts]) -> pd.DataFrame:
    """One row per run, the best first: run, n_trials, n_complete, best_trial, macro_auc, low, high, epochs_run,
    core_hours.

    low and high are the 95 % interval over resampled validation files, NaN without predictions.
    """
    rows = []
    for name, facts in runs.items():
        ranked = facts.ranking.dropna(subset="rank")
        best = ranked.iloc[0] if len(ranked) else None
        spread = None if facts.spread is None or best is None else facts.spread.set_index("trial_id")
        interval = (
            None
            if spread is None or best is None or best["trial_id"] not in spread.index
            else spread.loc[best["trial_id"]]
        )
        spent = cost(facts.run).iloc[0]
        rows.append(
            {
                "run": name,
                "n_trials": len(facts.run.trials),
                "n_complete": int((facts.run.trials["status"] == "complete").sum()),
                "best_trial": None if best is None else best["trial_id"],
                "macro_auc": float("nan") if best is None else best["macro_auc"],
                "low": float("nan") if interval is None else interval["low"],
                "high": float("nan") if interval is None else interval["high"],
                "epochs_run": int(spent["epochs_run"]),
                "core_hours": spent["core_hours"],
            }
        )
    table = pd.DataFrame(rows, columns=list(RUN_COLUMNS))
    return table.sort_values("macro_auc", ascending=False, ignore_index=True, kind="stable", na_position="last")


def differing_settings(runs: Mapping[str, RunFacts]) -> pd.DataFrame:
    """The keys in which the best trials differ: setting, then a column of texts for each run with a ranked trial."""
    columns: dict[str, pd.Series] = {}
    for name, facts in runs.items():
        ranked = facts.ranking.dropna(subset="rank")
        if ranked.empty:
            continue
        trials = facts.run.trials.set_index("trial_id")
        row = trials.loc[ranked.iloc[0]["trial_id"]].filter(regex=r"^config\.")
        columns[name] = row.rename(lambda key: key.removeprefix("config.")).map(as_text)
    table = pd.DataFrame(columns)
    if not columns:
        return pd.DataFrame({"setting": []})
    texts = table.fillna("–")
    differs = texts.ne(texts.iloc[:, 0], axis=0).any(axis=1)
    return texts[differs].rename_axis("setting").reset_index()


def classes_side_by_side(runs: Mapping[str, RunFacts]) -> pd.DataFrame:
    """ROC-AUC of each class that all runs with predictions score: label, a column for each run, range; widest first."""
    columns = {
        name: class_table(facts.oof, n_resamples=1).set_index("label")["auc"]
        for name, facts in runs.items()
        if facts.oof is not None
    }
    if len(columns) < 2:
        return pd.DataFrame({"label": [], "range": []})
    table = pd.DataFrame(columns).dropna()
    table["range"] = table.max(axis=1) - table.min(axis=1)
    return table.sort_values("range", ascending=False, kind="stable").rename_axis("label").reset_index()


def comparison_chapter(runs: Mapping[str, RunFacts]) -> Chapter:
    """The part of the page that puts the runs side by side; the names are the folders', made unique."""
    table = runs_side_by_side(runs)
    sections = [
        Section(
            "compare-result", "Results", _sentences(table, runs), tables=[table_view("The runs, best first", table)]
        ),
        Section(
            "compare-history",
            "Progress",
            figures=[FigureView("Best score so far", progress_figure({n: history(f.run) for n, f in runs.items()}))],
        ),
    ]
    settings = differing_settings(runs)
    words = "The best trials have the same settings." if settings.empty else "Settings in which the best trials differ."
    sections.append(
        Section("compare-settings", "Settings", [words], tables=() if settings.empty else [table_view("", settings)])
    )
    classes = classes_side_by_side(runs)
    if classes.empty:
        words = "No class is scored in two runs: predictions are missing, or the classes are others."
        sections.append(Section("compare-classes", "Classes", [words]))
    else:
        names = [name for name in classes.columns if name not in ("label", "range")]
        caption = f"The {min(30, len(classes))} classes with the widest differences"
        figure = FigureView(caption, class_comparison_figure(classes, names))
        sections.append(Section("compare-classes", "Classes", (), [figure], [table_view("All classes", classes)]))
    return Chapter("compare", "Comparison", sections)


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, numbered where one comes again, or is that of a column beside the runs'."""
    taken = {"setting", "label", "range", *(name for name in names if names.count(name) > 1)}
    found: list[str] = []
    for name in names:
        numbered = (f"{name} ({number})" for number in count(1))
        found.append(name if name not in taken else next(other for other in numbered if other not in taken))
        taken.add(found[-1])
    return found


def _sentences(table: pd.DataFrame, runs: Mapping[str, RunFacts]) -> list[str]:
    scored = table.dropna(subset="macro_auc")
    sentences = []
    if len(scored) < 2:
        sentences.append("Fewer than two of the runs have a score: there is nothing to compare.")
    else:
        first, second = scored.iloc[0], scored.iloc[1]
        overlap = first["low"] <= second["high"] if pd.notna(first["low"]) and pd.notna(second["high"]) else None
        luck = {
            True: "; the intervals overlap: on other validation files it might be the other way round",
            False: "; the intervals do not overlap",
            None: "",
        }[overlap]
        sentences.append(
            f"{first['run']} reaches {first['macro_auc']:.4f}, {second['run']} {second['macro_auc']:.4f}{luck}."
        )
    prints = {str((facts.run.search.get("data") or {}).get("fingerprint")) for facts in runs.values()}
    if len(prints) > 1:
        sentences.append("The runs do not have the same data: their scores cannot be compared directly.")
    elif len({split for facts in runs.values() for split in facts.run.trials["split"].dropna()}) > 1:
        sentences.append("The runs were validated on different recordings: their scores cannot be compared directly.")
    return sentences
