"""The distributions of a search space: parsed from YAML, drawn through Optuna."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sed_model.core.texts import nearest

if TYPE_CHECKING:
    import optuna

Scalar = None | bool | int | float | str
RangeKind = Literal["uniform", "loguniform", "quniform", "randint"]


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Scalar, ...]

    @property
    def size(self) -> int:
        return len(self.values)

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> Any:
        return trial.suggest_categorical(name, self.values)

    def at(self, share: float) -> Any:
        """The value that so large a share of the draws lies below, in 0..1 without 1."""
        return self.values[int(share * self.size)]

    def contains(self, value: Any) -> bool:
        return contains(self.values, value)

    def probes(self) -> tuple[Any, ...]:
        """The values that show whether the configuration takes this distribution."""
        return self.values

    def as_dict(self) -> dict[str, Any]:
        return {"choice": list(self.values)}


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included: `quniform` in steps from `low`, `loguniform` evenly in the log."""

    kind: RangeKind
    low: float
    high: float
    step: float | None = None

    @property
    def size(self) -> int | None:
        """Number of values; None for a continuous range."""
        return None if self.step is None else round((self.high - self.low) / self.step) + 1

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> Any:
        if self.kind == "randint":
            return trial.suggest_int(name, int(self.low), int(self.high))
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.kind == "loguniform")

    def at(self, share: float) -> Any:
        """The value that so large a share of the draws lies below, in 0..1 without 1."""
        if self.size is not None and self.step is not None:
            value = self.low + int(share * self.size) * self.step
            return int(value) if self.kind == "randint" else min(value, self.high)
        if self.kind == "loguniform":
            return min(self.high, max(self.low, self.low * (self.high / self.low) ** share))
        return self.low + share * (self.high - self.low)

    def contains(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=1e-9)

    def probes(self) -> tuple[Any, ...]:
        if self.size is not None and self.step is not None:
            return tuple(dict.fromkeys((self.low, self.low + self.step * (self.size // 2), self.high)))
        # An irrational point inside shows a key that only takes whole numbers.
        return self.low, self.low + (self.high - self.low) / math.sqrt(2), self.high

    def as_dict(self) -> dict[str, Any]:
        ends = [self.low, self.high]
        return {self.kind: [*ends, self.step] if self.kind == "quniform" else ends}


Distribution = Choice | Range
MAX_STEPS = 1_000_000
FORMS = {
    "choice": "choice: [a, b, ..]",
    "uniform": "uniform: [low, high]",
    "loguniform": "loguniform: [low, high]",
    "quniform": "quniform: [low, high, step]",
    "randint": "randint: [low, high]",
}


def parse_distribution(entry: Any) -> Distribution:
    """`{choice: [..]}`, `{uniform: [low, high]}`, ... with nothing else in the mapping.

    Raises:
        ValueError: what is wrong and how to write it instead.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f"is {entry!r}; write a mapping such as {{choice: [a, b]}} or {{uniform: [0, 1]}}.")
    unknown = [name for name in entry if name not in FORMS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a distribution{nearest(unknown[0], FORMS)}; use {', '.join(FORMS)}.")
    if len(entry) != 1:
        named = " and ".join(entry) or "no distribution"
        raise ValueError(f"has {named}; give exactly one of {', '.join(FORMS)}.")
    kind, arguments = next(iter(entry.items()))
    if not isinstance(arguments, list):
        raise ValueError(f"{kind} is {arguments!r}; write {FORMS[kind]}.")
    return _choice(arguments) if kind == "choice" else _range(kind, arguments)


def _choice(values: list[Any]) -> Choice:
    if not values:
        raise ValueError("choice is empty; list at least one value.")
    for position, value in enumerate(values):
        if not is_scalar(value):
            raise ValueError(f"choice holds {value!r}; it takes numbers, text, true, false and null.")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"choice holds {value}, which is not a finite number; remove it.")
        if contains(values[:position], value):
            raise ValueError(f"choice holds {value!r} twice; remove one.")
    return Choice(tuple(values))


def _range(kind: RangeKind, arguments: list[Any]) -> Range:
    wanted = 3 if kind == "quniform" else 2
    if len(arguments) != wanted:
        raise ValueError(f"{kind} has {len(arguments)} numbers instead of {wanted}; write {FORMS[kind]}.")
    numbers = [_number(kind, argument) for argument in arguments]
    low, high = numbers[:2]
    if low > high:
        raise ValueError(f"{kind} [{low:g}, {high:g}] is reversed; write [{high:g}, {low:g}].")
    if low == high:
        raise ValueError(f"{kind} [{low:g}, {high:g}] is empty; fix the value under config: or widen the range.")
    if kind == "loguniform" and low <= 0:
        raise ValueError(f"loguniform starts at {low:g}; its low end has to be above 0.")
    if kind == "randint":
        return Range(kind, low, high, step=1)
    if kind == "quniform":
        _check_step(low, high, numbers[2])
        return Range(kind, float(low), float(high), float(numbers[2]))
    return Range(kind, float(low), float(high))


def _number(kind: str, value: Any) -> float:
    if isinstance(value, str):  # YAML 1.1 takes 1e-4, without a point, for text
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"{kind} has {value!r} where a number belongs; write {FORMS[kind]}.") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{kind} has {value!r} where a number belongs; write {FORMS[kind]}.")
    if abs(value) > 1e300 or math.isnan(value):
        raise ValueError(f"{kind} has {value}, which is not a finite number; give a number.")
    if kind == "randint" and not isinstance(value, int):
        raise ValueError(f"randint has {value!r}; it takes whole numbers, quniform and uniform take others.")
    return value


def _check_step(low: float, high: float, step: float) -> None:
    if step <= 0:
        raise ValueError(f"quniform has the step {step:g}; it has to be above 0.")
    steps = (high - low) / step
    if steps > MAX_STEPS:
        raise ValueError(f"quniform has {steps:g} steps of {step:g}, more than {MAX_STEPS}; give a larger step.")
    if not math.isclose(steps, round(steps), abs_tol=1e-9) or round(steps) < 1:
        reachable = low + step * max(1, math.floor(steps))
        raise ValueError(
            f"quniform [{low:g}, {high:g}] is not a multiple of the step {step:g}; end it at {reachable:g}."
        )


def is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def contains(values: Iterable[Any], value: Any) -> bool:
    """Membership that tells true from 1 and false from 0."""
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in values)
