"""Make `search_spaces/portfolio.yaml`, which searches try first, of recorded tables; and tell what it is worth.

    python -m benchmarks.tables.portfolio [--tables DIR] [--size 8] [--score test_mean] [--out FILE]

Greedy and complementary, as the portfolios of auto-sklearn 2 (arXiv 2007.04074) and TabRepo (arXiv 2311.02971): the
default, then, one at a time, the configuration that raises most the mean over the data sets of the best lead among
those chosen. Where none raises it (each of a few sets soon has its best one), the rest is chosen from in the same way,
anew: second choices, since leads are noisy. A lead is a row's score minus that of the default with the same seed, mean
over seeds; test scores may be learnt from, since the searches that a portfolio is for have other data.

Its worth on a set is that of a portfolio learnt on the other sets: a JSON line a set and number of trials, the default
among them. Test score of the trial with the best labelled score, and of the best (`oracle`), mean over seeds; beside it
as many quasi-random trials, mean over draws, and the default alone.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import UserError
from sed_model.core.files import replacing
from trainables.spaces.portfolio import FILE, read_portfolio

from .record import KNOWN
from .summary import Table, read_tables

DEFAULT = 0
"""Its number in every table."""
LABELLED, TEST = "labelled_mean", "test_mean"
DIGITS = 4
"""Significant ones of a number in the portfolio."""
ROUNDING = 1e-9


def leads_of(tables: Sequence[Table], score: str) -> pd.DataFrame:
    """Lead over the default with the same seed, mean over seeds: a row a number that all sets have, a column a set."""
    by_set = {}
    for table in tables:
        scores = table.rows.pivot_table(index="number", columns="seed", values=score)
        by_set[table.name] = (scores - scores.loc[DEFAULT]).mean(axis=1)
    return pd.DataFrame(by_set).dropna()


def choose(leads: pd.DataFrame, size: int) -> list[int]:
    """Numbers of at most so many complementary configurations, the best to begin with first; the default is none."""
    nothing, left = leads.loc[DEFAULT].to_numpy(), leads.drop(index=DEFAULT)
    best, chosen = nothing, list[int]()
    while len(chosen) < size and len(left):
        reached = np.maximum(left.to_numpy(), best)
        place = int(reached.mean(axis=1).argmax())
        if reached[place].mean() > best.mean() + ROUNDING:
            chosen.append(int(left.index[place]))
            best, left = reached[place], left.drop(index=left.index[place])
        elif best is nothing:
            break
        else:
            best = nothing
    return chosen


def values_of(tables: Sequence[Table], number: int) -> dict[str, Any]:
    """The settings of a configuration by dotted key, in the types of the keys; without those that its row leaves out.

    Raises:
        ValueError: the sets have other settings under the number: they were recorded with other spaces.
    """
    found = []
    for table in tables:
        row = table.rows[table.rows["number"] == number].filter(like="values.").iloc[0].dropna()
        given = {str(name).removeprefix("values."): value for name, value in row.items()}
        # A summary has whole numbers as floats where other rows lack them; NumPy's numbers are none of YAML's.
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}
        flat = SedConfig().with_overrides(plain).flat()
        found.append({name: _rounded(flat[name]) for name in plain})
    if any(values != found[0] for values in found):
        names = ", ".join(table.name for table in tables)
        raise ValueError(f"number {number} has other settings in {names}; give tables of one recording.")
    return found[0]


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


class Trials:
    """What searches of a set come to, whose trials are its recorded rows."""

    def __init__(self, table: Table) -> None:
        scores = table.rows.pivot_table(index="seed", columns="number", values=[LABELLED, TEST])
        self.labelled, self.test = scores[LABELLED], scores[TEST]
        self.numbers = [int(number) for number in self.test.columns]

    def ends(self, numbers: Sequence[int]) -> NDArray[np.float64]:
        """Test score of the best trial by its labelled score, and of the best; mean over the seeds that have them."""
        labelled, test = (scores[list(numbers)].dropna().to_numpy() for scores in (self.labelled, self.test))
        delivered = test[np.arange(len(test)), labelled.argmax(axis=1)]
        return np.array([delivered.mean(), test.max(axis=1).mean()])

    def ends_at_random(self, n_trials: int, n_draws: int) -> NDArray[np.float64]:
        """The same of the default and quasi-random rows, mean over draws of these."""
        rng, drawn = np.random.default_rng(0), [number for number in self.numbers if number >= len(KNOWN)]
        draws = [[DEFAULT, *rng.choice(drawn, n_trials - 1, replace=False)] for _ in range(n_draws)]
        return np.mean([self.ends(numbers) for numbers in draws], axis=0)


def worth(tables: Sequence[Table], score: str, trials: Sequence[int], n_draws: int) -> Iterator[dict[str, Any]]:
    """Of each set and number of trials: with a portfolio learnt on the other sets, quasi-random, and the default."""
    for table in tables if len(tables) > 1 else ():
        others = [other for other in tables if other is not table]
        replayed = Trials(table)
        learnt = choose(leads_of(others, score), max(trials) - 1)
        order = [DEFAULT, *(number for number in learnt if number in replayed.numbers)]
        n_drawn = sum(number >= len(KNOWN) for number in replayed.numbers)
        for n in trials:
            if n > min(len(order), n_drawn + 1):
                continue
            ours, ours_oracle = replayed.ends(order[:n])
            random, random_oracle = replayed.ends_at_random(n, n_draws)
            named = {"portfolio": ours, "random": random, "default": replayed.ends([DEFAULT])[0]}
            oracles = {"portfolio_oracle": ours_oracle, "random_oracle": random_oracle}
            yield {"set": table.name, "trials": n, **named, **oracles}


def print_worth(rows: Sequence[dict[str, Any]]) -> None:
    """A JSON line a row, and the means over the sets that have so many trials."""
    by_trials = pd.DataFrame(rows).groupby("trials")
    means = by_trials.mean(numeric_only=True).reset_index()
    means["set"] = [f"mean of {n_sets} sets" for n_sets in by_trials.size()]
    columns = [str(column) for column in means.columns]
    for row in [*rows, *(dict(zip(columns, values, strict=True)) for values in means.to_numpy())]:
        name = f"{row['set']}, {row['trials']} trials"
        facts = {key: round(float(value), 4) for key, value in row.items() if key not in ("set", "trials")}
        print(json.dumps({"name": name, **facts, "holds": bool(row["portfolio"] >= row["random"])}), flush=True)


def as_yaml(tables: Sequence[Table], leads: pd.DataFrame, chosen: Sequence[int], command: str) -> str:
    """The file: how it was made, then the points with what each adds."""
    rows = ", ".join(f"{table.name} {len(table.rows)}" for table in tables)
    date = time.strftime("%d %B %Y").lstrip("0")
    lines = [
        "# What a search tries right after its default, in this order: complementary settings that did well on other",
        "# data (docs/explanation.md). A search takes what its own keys and ranges hold of them.",
        f"# Made by: {command}",
        f"# {date}, of {len(leads)} configurations that all sets have; rows: {rows}.",
        "points:" if chosen else "points: []",
    ]
    for place, number in enumerate(chosen, start=1):
        reached = leads.loc[[DEFAULT, *chosen[:place]]].max().mean()
        own = ", ".join(f"{name} {lead:+.3f}" for name, lead in leads.loc[number].items())
        lines.append(f"  # number {number}: {own}; best of those up to here {reached:+.3f}")
        point = yaml.safe_dump([values_of(tables, number)], sort_keys=False, default_flow_style=False)
        lines += [f"  {line}" for line in point.splitlines()]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=Path(__file__).parent, help="recorded folders, or summaries")
    parser.add_argument("--size", type=int, default=8, help="most points of the portfolio")
    parser.add_argument("--score", default=TEST, help="column that is learnt from")
    parser.add_argument("--trials", type=int, nargs="+", default=[2, 3, 4, 6, 8], help="of the searches replayed")
    parser.add_argument("--draws", type=int, default=1000, help="quasi-random searches replayed")
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    tables = read_tables(options.tables)
    if not tables:
        print(f"error: {options.tables} has no tables; record some with benchmarks/tables/record.py.", file=sys.stderr)
        return 2
    if rows := list(worth(tables, options.score, options.trials, options.draws)):
        print_worth(rows)
    else:
        print("no set has rows enough for a portfolio of the others", file=sys.stderr)
    leads = leads_of(tables, options.score)
    chosen = choose(leads, options.size)
    command = shlex.join(["python", "-m", "benchmarks.tables.portfolio", *sys.argv[1:]])
    with replacing(options.out) as temporary:
        temporary.write_text(as_yaml(tables, leads, chosen, command), encoding="utf-8")
    print(f"{options.out}: {len(read_portfolio(options.out))} points")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (UserError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
