"""How the hours of a chain are shared out: what fits, by what the first trials took. Numbers alone, no clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from trainables.searching.finalists import N_PARTS

END_SHARE = 0.1
"""Of the budget: pseudo-labels, post-processing and the Kaggle folder, which nothing has measured before."""
FINALISTS_SHARE, STUDENTS_SHARE = 0.4, 0.3
"""At most, of what is left of it; the search has the rest. Labelled soundscapes in training pay more than trials."""
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]


class Wanted(BaseModel):
    """What the chain would do with all the time in the world; 0 finalists or rounds where the data allow none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    n_trials: Annotated[int, Field(ge=1)]
    n_finalists: Count
    n_rounds: Count
    trial_epochs: Count
    mean_trial_epochs: Seconds
    """Where ASHA stops what it ideally does."""
    finalist_epochs: Count
    """Of one training, of which each finalist has N_PARTS."""
    student_epochs: Count

    @property
    def most_trainings(self) -> int:
        """Of finalists: the default trains beside the best."""
        return n_trainings(self.n_finalists, self.n_trials)


class Costs(BaseModel):
    """What the first trials measured: seconds of an epoch, in a training that runs beside others."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epoch_s: Seconds
    at_a_time: Annotated[int, Field(ge=1)]

    def time_s(self, n_trainings: int, epochs: float) -> float:
        """Of so many trainings of so many epochs, in waves of as many as run at a time."""
        return math.ceil(n_trainings / self.at_a_time) * epochs * self.epoch_s


@dataclass(frozen=True)
class Plan:
    """What fits into the budget. Times in seconds; `search_until_s` is on the chain's clock."""

    n_trials: int
    search_until_s: float
    n_finalists: int
    finalists_s: float
    n_rounds: int
    round_s: float
    end_s: float


def plan_steps(budget_s: float, wanted: Wanted, costs: Costs, n_trials: int, spent_s: float) -> Plan:
    """Share out the budget, of which the first `n_trials` trials and the set-up took `spent_s`.

    Finalists and students get what fits into their shares, the search the rest. One finalist that fits into no share is
    worth more than further trials and students: it takes theirs.
    """
    end_s = END_SHARE * budget_s
    usable_s = budget_s - end_s

    def finalists_s(n: int) -> float:
        return costs.time_s(n_trainings(n, wanted.n_trials), wanted.finalist_epochs)

    limit_s = min(FINALISTS_SHARE * usable_s, usable_s - spent_s)
    n_finalists = most_that_fit(limit_s, wanted.n_finalists, finalists_s)
    if not n_finalists:
        n_finalists = most_that_fit(usable_s - spent_s, min(1, wanted.n_finalists), finalists_s)
    left_s = usable_s - (finalists_s(n_finalists) if n_finalists else 0)
    round_s = student_round_s(wanted, costs)
    students_s = min(STUDENTS_SHARE * usable_s, left_s - spent_s)
    n_rounds = most_that_fit(students_s, wanted.n_rounds, lambda n: n * round_s)
    search_until_s = left_s - n_rounds * round_s
    mean_trial_s = costs.epoch_s * wanted.mean_trial_epochs
    more_s = search_until_s - spent_s
    more = costs.at_a_time * math.floor(more_s / mean_trial_s) if more_s >= costs.epoch_s * wanted.trial_epochs else 0
    return Plan(
        n_trials=min(wanted.n_trials, n_trials + more),
        search_until_s=search_until_s,
        n_finalists=n_finalists,
        finalists_s=usable_s - left_s,
        n_rounds=n_rounds,
        round_s=round_s,
        end_s=end_s,
    )


def n_trainings(n_finalists: int, n_trials: int) -> int:
    """Trainings at most: of the best trials and of the default, on each part."""
    return N_PARTS * min(n_finalists + 1, n_trials) if n_finalists else 0


def student_round_s(wanted: Wanted, costs: Costs) -> float:
    """A trial, which is the training of one part, and then those of the others where there are parts."""
    others = N_PARTS - 1 if wanted.n_finalists else 0
    return costs.time_s(1, wanted.student_epochs) + costs.time_s(others, wanted.student_epochs)


def most_that_fit(limit_s: float, most: int, time_s: Callable[[int], float]) -> int:
    """The largest number up to `most` that takes no longer than `limit_s`; 0 where none does."""
    return next((n for n in range(most, 0, -1) if time_s(n) <= limit_s), 0)
