"""What rules that choose among trained candidates deliver: recorded configurations replayed as simulated searches.

    python benchmarks/selection.py [--tables DIR] [--searches 40] [--markdown]

A search draws N configurations of a table (benchmarks/tables/record.py), the default among them, one seed each. A rule
sees scores on a draw of files and predictions on unlabelled soundscapes; the test soundscapes judge what it delivers:

- labelled, half: as many labelled files, or half of them, drawn with replacement
- test part, double test part: as many test files as are labelled, or twice as many, each once; the rest judges

Noise of a draw with replacement comes on top of that of the labelled files themselves: about twice the variance.
Columns: mean macro AUC delivered; its gain over the default (same weights and seed) and over today's rule; `se`, the
error of the gain that the draws leave, and `se_files`, that the test files leave; regret against the best candidate;
share of searches that end below the default; epochs trained.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from _result import print_result
from _selection_replay import N_PARTS, SetReplay, replay
from _selection_rules import FINALISTS, SCORE, TODAY, WEIGHTS, all_rules, combined_name, sum_name
from tables.summary import read_tables

KEYS = ["set", "files", "n"]
HELD = combined_name(4, "mean")
"""What a search delivers. It has to be no worse than the default on any set, nor than today's rule in their mean."""
FITTED = {
    **{
        f"score + agreement with {kind}, weight from the other sets": [SCORE, *(sum_name(w, kind) for w in WEIGHTS)]
        for kind in ("mean", "ranks")
    },
    "finalists, how many from the other sets": [combined_name(n, "mean") for n in FINALISTS],
}
"""Rules with a setting that is chosen on the other sets."""


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """A row a set, draw of files, number of candidates and rule."""
    reference = results[results["rule"] == TODAY]
    reference = pd.concat([reference, results[(results["rule"] == SCORE) & results["files"].str.contains("test")]])
    today = reference.set_index([*KEYS, "search"])["score"].rename("today")
    results = results.join(today, on=[*KEYS, "search"])
    results = results.assign(
        gain=results["score"] - results["default"],
        over_today=results["score"] - results["today"],
        regret=results["oracle"] - results["score"],
        worse=results["score"] < results["default"] - 1e-9,
    )
    groups = results.groupby([*KEYS, "rule"], sort=False)
    table = groups[["score", "gain", "over_today", "regret", "worse", "epochs"]].mean()
    table["se"] = groups["gain"].sem()
    table["se_files"] = groups["leads"].apply(jackknife_error)
    return table.reset_index()


def jackknife_error(leads: pd.Series) -> float:
    """Standard error of a mean lead from the leads without a part of the files; NaN where none were taken."""
    of_parts = [values for values in leads if len(values)]
    if not of_parts:
        return np.nan
    by_part = np.mean(of_parts, axis=0)
    return float(np.sqrt((N_PARTS - 1) / N_PARTS * ((by_part - by_part.mean()) ** 2).sum()))


def with_fitted(table: pd.DataFrame) -> pd.DataFrame:
    """Add the rules that are fitted: of each set, the row of the rule that gained most on the others."""
    added = []
    for name, family in FITTED.items():
        members = table[table["rule"].isin(family)]
        for (of_set, files, n), _ in members.groupby(KEYS, sort=False):
            alike = members[(members["files"] == files) & (members["n"] == n)]
            known = alike.loc[alike["set"] == of_set, "rule"]
            others = alike[(alike["set"] != of_set) & alike["rule"].isin(known)]
            if others.empty:
                continue
            best = str(others.groupby("rule")["gain"].mean().idxmax())
            own = alike[(alike["set"] == of_set) & (alike["rule"] == best)]
            added.append(own.assign(rule=name, chosen=best))
    return pd.concat([table, *added], ignore_index=True)


def across_sets(table: pd.DataFrame) -> pd.DataFrame:
    """A row a rule: means over sets and numbers of candidates, and of its worst set."""
    by_set = table.groupby(["rule", "set"], sort=False)[["gain", "over_today", "worse", "epochs"]].mean().reset_index()
    columns = by_set.pivot_table(index="rule", columns="set", values="gain", sort=False).add_prefix("gain ")
    means = by_set.groupby("rule", sort=False)[["gain", "over_today", "worse", "epochs"]].mean()
    return means.join(columns).assign(worst_set=columns.min(axis=1)).sort_values("gain", ascending=False)


def print_markdown(table: pd.DataFrame) -> None:
    figures = ["score", "gain", "se", "se_files", "over_today", "regret", "worse", "epochs"]
    for (of_set, files, n), rows in table.groupby(KEYS, sort=False):
        print(f"\n### {of_set}, {n} candidates, files: {files}\n")
        print_rows(rows.set_index("rule")[figures])
    for files, rows in table.groupby("files", sort=False):
        print("\n### All sets and numbers of candidates, files: " + str(files) + "\n")
        print_rows(across_sets(rows))
    if "chosen" in table:
        print("\n### How often the other sets chose what\n")
        print(table.groupby(["rule", "set"])["chosen"].value_counts().to_string())


def print_rows(rows: pd.DataFrame) -> None:
    print("| rule | " + " | ".join(map(str, rows.columns)) + " |\n|" + "---|" * (rows.shape[1] + 1))
    for rule, figures in rows.iterrows():
        print(f"| {rule!s} | " + " | ".join(told(str(name), value) for name, value in figures.items()) + " |")


def told(name: str, value: float) -> str:
    if np.isnan(value):
        return ""
    if name == "worse":
        return f"{value:.0%}"
    return f"{value:.0f}" if name == "epochs" else f"{value:.4f}"


def print_lines(table: pd.DataFrame) -> bool:
    """A JSON line a rule, over all sets and numbers of candidates; whether the one that has to hold does."""
    rules = across_sets(table[table["files"] == "labelled"])
    held = {}
    for rule, row in rules.iterrows():
        facts = {str(name): float(value) for name, value in row.items() if not np.isnan(value)}
        holds = bool(row["worst_set"] >= 0 and row["over_today"] >= 0)
        held[rule] = print_result(str(rule), digits=4, holds=holds, **facts)
    return held[HELD]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=Path(__file__).parent / "tables")
    parser.add_argument("--candidates", type=int, nargs="+", default=[8, 12, 24])
    parser.add_argument("--searches", type=int, default=40, help="simulated searches of each kind")
    parser.add_argument("--variant", default="mean", help="averaged weights that all rules but today's choose among")
    parser.add_argument("--markdown", action="store_true", help="tables for people instead of JSON lines")
    options = parser.parse_args()
    tables = read_tables(options.tables)
    if not tables:
        print(f"error: {options.tables} has no tables; record some with benchmarks/tables/record.py.", file=sys.stderr)
        return 2
    replays = [SetReplay(table, options.variant) for table in tables]
    results = [replay(table, options.candidates, options.searches, all_rules()) for table in replays]
    table = with_fitted(summarise(pd.concat(results, ignore_index=True)))
    if options.markdown:
        print_markdown(table)
        return 0
    return 0 if print_lines(table) else 1


if __name__ == "__main__":
    sys.exit(main())
