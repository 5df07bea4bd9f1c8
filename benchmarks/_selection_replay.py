"""Simulated searches on a recorded table: candidates are drawn, rules choose on few files, the other files judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import pandas as pd
from _selection_auc import (
    FilePairs,
    Floats,
    agreement,
    file_pairs,
    rank_agreement,
    standard_ranks,
    weighted_macro_auc,
)
from _selection_rules import Delivery, Rule, Search
from numpy.typing import NDArray
from tables.summary import VARIANTS, Table

N_RESAMPLED = 64
N_JUDGED_APART = 10
"""So many searches are also judged without each part of the test files: it tells the error that the files leave."""
N_PARTS = 10
Combined = tuple[tuple[int, ...], str]
"""Rows and how they are combined."""


@dataclass(frozen=True)
class Validation:
    """Files that a search chooses on: `n_files` of the labelled ones with replacement, or of the test without.

    In the second case the rest of the test judges: as many independent draws as one likes.
    """

    name: str
    part: str
    n_files: int

    def draw(self, n_in_part: int, rng: np.random.Generator) -> Floats:
        """How often each file counts."""
        chosen = rng.choice(n_in_part, self.n_files, replace=self.part == "labelled")
        return np.bincount(chosen, minlength=n_in_part).astype(np.float64)


class SetReplay:
    """A table, and what many simulated searches on it share."""

    def __init__(self, table: Table, variant: str) -> None:
        self.table, self.variant = table, variant
        self.predictions = {key: scores.astype(np.float32) for key, scores in table.predictions.items()}
        self.n_files = {part: int(files.max()) + 1 for part, files in table.files.items()}
        keys = list(zip(table.rows["number"], table.rows["seed"], strict=True))
        self.rows = {key: row for row, key in enumerate(keys)}
        self.pairs = {
            key: file_pairs(table.targets[key[0]], scores, table.files[key[0]])
            for key, scores in self.predictions.items()
            if key[0] == "labelled" or key == ("test", variant)
        }
        self.unlabelled_ranks = standard_ranks(self.predictions["unlabelled", variant])

    @cached_property
    def test_ranks(self) -> Floats:
        return standard_ranks(self.predictions["test", self.variant])

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        return self.table.rows["number"].unique()

    @cached_property
    def without_a_part(self) -> Floats:
        """Weights of the test files [parts, files]: all but one of ten parts."""
        parts = np.arange(self.n_files["test"]) * N_PARTS // self.n_files["test"]
        return (parts != np.arange(N_PARTS)[:, None]).astype(np.float64)

    def draw_candidates(self, n: int, rng: np.random.Generator) -> tuple[int, ...]:
        """Rows of the default and n - 1 other configurations, each of a random seed."""
        numbers = [0, *rng.permutation(self.numbers[self.numbers != 0])[: n - 1]]
        seeds = [rng.choice([seed for number, seed in self.rows if number == one]) for one in numbers]
        return tuple(self.rows[int(number), int(seed)] for number, seed in zip(numbers, seeds, strict=True))

    def agreement(self, candidates: tuple[int, ...]) -> dict[str, Floats]:
        rows = list(candidates)
        return {
            "mean": agreement(self.predictions["unlabelled", self.variant][rows]),
            "ranks": rank_agreement(self.unlabelled_ranks[rows]),
        }

    def search(
        self, candidates: tuple[int, ...], agreed: dict[str, Floats], validation: Validation, rng: np.random.Generator
    ) -> tuple[Search, Floats]:
        """A search that chooses on a draw of files, and the weights of the test files [1, files] that judge it."""
        weights = validation.draw(self.n_files[validation.part], rng)
        resampled = rng.multinomial(validation.n_files, weights / weights.sum(), size=N_RESAMPLED)
        variants = VARIANTS if validation.part == "labelled" else (self.variant,)
        pairs = {name: self.pairs[validation.part, name] for name in variants if (validation.part, name) in self.pairs}
        scores = {name: of_variant.macro_auc(weights[None])[0] for name, of_variant in pairs.items()}
        own = of_rows(pairs[self.variant], candidates)
        twins = {row: self._twins(row) for row in candidates}
        judging = weights == 0 if validation.part == "test" else np.ones(self.n_files["test"])
        search = Search(candidates, scores, self.variant, agreed, own.macro_auc(resampled.astype(np.float64)), twins)
        return search, judging[None].astype(np.float64)

    def _twins(self, row: int) -> tuple[int, ...]:
        number, seed = self.table.rows.loc[row, ["number", "seed"]]
        return tuple(other for (of, by), other in self.rows.items() if of == number and by != seed)

    def judge_rows(self, rows: list[int], weights: Floats) -> Floats:
        """Macro AUC [rows, draws] of single rows, for weights of the test files [draws, files]."""
        return of_rows(self.pairs["test", self.variant], rows).macro_auc(weights).T

    def judge_combined(self, combined: list[Combined], weights: Floats) -> Floats:
        """The same of combined rows."""
        sources = {"mean": self.predictions["test", self.variant], "ranks": self.test_ranks}
        scores = np.stack([sources[by][list(members)].mean(axis=0) for members, by in combined])
        return weighted_macro_auc(self.table.targets["test"], scores, weights[:, self.table.files["test"]])


def of_rows(pairs: FilePairs, rows: Sequence[int]) -> FilePairs:
    return FilePairs(pairs.won[list(rows)], pairs.positives, pairs.negatives)


def validations_of(table: SetReplay) -> list[Validation]:
    """At least half of the test files judge."""
    n = table.n_files["labelled"]
    labelled = [Validation("labelled", "labelled", n), Validation("half", "labelled", n // 2)]
    of_test = [Validation("test part", "test", n), Validation("double test part", "test", 2 * n)]
    return labelled + [validation for validation in of_test if 2 * validation.n_files <= table.n_files["test"]]


def replay(table: SetReplay, sizes: list[int], n_searches: int, rules: dict[str, Rule]) -> pd.DataFrame:
    """A row a simulated search and rule: score, default, oracle, epochs, and leads without a part of the test files.

    `sizes` are numbers of candidates; a table with fewer configurations is replayed with all that it has.
    """
    rows = []
    for n in sorted({min(size, len(table.numbers)) for size in sizes}):
        for number in range(n_searches):
            rng = np.random.default_rng([n, number])
            candidates = table.draw_candidates(n, rng)
            agreed = table.agreement(candidates)
            for validation in validations_of(table):
                search, judging = table.search(candidates, agreed, validation, rng)
                about = {"set": table.table.name, "files": validation.name, "n": n, "search": number}
                if number < N_JUDGED_APART and validation.name == "labelled":
                    judging = np.concatenate([judging, table.without_a_part])
                rows += [{**about, **row} for row in judged(table, search, judging, rules)]
    return pd.DataFrame(rows)


def judged(table: SetReplay, search: Search, judging: Floats, rules: dict[str, Rule]) -> Iterator[dict[str, object]]:
    """What each rule delivers; `judging` are weights of the test files: first those that count, then for the error."""
    deliveries = {name: delivery for name, rule in rules.items() if (delivery := rule(search)) is not None}
    score_of = judge(table, search, list(deliveries.values()), judging)
    defaults = {variant: score_of(Delivery((search.default,), variant=variant)) for variant in search.scores}
    oracles = {
        variant: max(score_of(Delivery((row,), variant=variant))[0] for row in search.candidates)
        for variant in search.scores
    }
    for name, delivery in deliveries.items():
        variant = delivery.variant or table.variant
        scores, default = score_of(delivery), defaults[variant]
        facts = {"score": scores[0], "default": default[0], "oracle": oracles[variant], "leads": (scores - default)[1:]}
        trained = list(delivery.trained or search.candidates)
        yield {"rule": name, **facts, "epochs": int(table.table.n_epochs[trained].sum())}


def judge(
    table: SetReplay, search: Search, deliveries: list[Delivery], judging: Floats
) -> Callable[[Delivery], Floats]:
    """A function that gives the scores [draws] of a delivery; those of the other variants are the recorded ones."""
    rows = [*search.candidates, *chain(*search.twins.values())]
    of_row = dict(zip(rows, table.judge_rows(rows, judging), strict=True))
    combined = sorted({(one.members, one.by) for one in deliveries if one.by != "one"})
    of_combined = dict(zip(combined, table.judge_combined(combined, judging), strict=True))

    def scores(delivery: Delivery) -> Floats:
        if delivery.by != "one":
            return of_combined[delivery.members, delivery.by]
        if (delivery.variant or table.variant) == table.variant:
            return np.mean([of_row[row] for row in delivery.members], axis=0)
        recorded = table.table.rows[f"test_{delivery.variant}"].to_numpy()[list(delivery.members)].mean()
        return np.array([recorded] + [np.nan] * (len(judging) - 1))

    return scores
