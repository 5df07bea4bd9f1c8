"""The search space itself: what is drawn for a trial, when, and the configuration that it makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sed_model.config.sed_config import SedConfig
from trainables.spaces.distributions import Choice, Distribution, contains
from trainables.spaces.settings import SearchSettings

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Condition:
    """Holds when the parent parameter is drawn and has one of the values."""

    parent: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Parameter:
    """A dotted key of the configuration, what it is drawn from, and when it is drawn at all."""

    key: str
    distribution: Distribution
    when: tuple[Condition, ...] = ()

    def active(self, values: Mapping[str, Any]) -> bool:
        """Whether all conditions hold; `values` has the parameters drawn so far, and only those."""
        return all(c.parent in values and contains(c.values, values[c.parent]) for c in self.when)


@dataclass(frozen=True)
class SearchSpace:
    """What a search draws from. `parameters` come in an order in which every parent is before its children."""

    name: str
    base: SedConfig
    search: SearchSettings = field(default_factory=SearchSettings)
    parameters: tuple[Parameter, ...] = ()

    def draw(self, pick: Callable[[Parameter], Any]) -> dict[str, Any]:
        """Dotted key -> value of every active parameter; `pick` chooses each value."""
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.active(values):
                values[parameter.key] = pick(parameter)
        return values

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """Draw through Optuna, which knows the parameters by their dotted keys."""
        return self.draw(lambda parameter: parameter.distribution.suggest(trial, parameter.key))

    def base_point(self) -> dict[str, Any]:
        """The base's own values where the space holds them: a good first trial. Other parameters are left out."""
        return self.point_with({})

    def point_with(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The base point with those of other values (by dotted key) in it that the space holds, where they are active.

        A value that the space does not hold leaves the base's: its nearest end is a setting that nobody has tried, and
        the rest of the point is as good without it as a guess can be.
        """
        flat, known = self.base.flat(), {parameter.key: parameter.distribution for parameter in self.parameters}
        held = {name: value for name, value in values.items() if name in known and known[name].contains(value)}
        point = self.draw(lambda parameter: (flat | held)[parameter.key])
        return {name: value for name, value in point.items() if known[name].contains(value)}

    def point_of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Where a row of trials.parquet lies in the space: the values of the parameters that are active there.

        Raises:
            KeyError: the row has no such configuration key.
        """
        return self.draw(lambda parameter: row[f"config.{parameter.key}"])

    def config(self, values: Mapping[str, Any]) -> SedConfig:
        """The base with the values put in: what is drawn is what runs.

        Raises:
            ConfigError: the configuration refuses the combination.
        """
        return self.base.with_overrides(values)

    def without(self, fixed: Mapping[str, Any]) -> SearchSpace:
        """The space with some keys fixed: they leave the search, and conditions on them are settled.

        Raises:
            ConfigError: an unknown key, or a value that the configuration refuses.
        """
        base = self.base.with_overrides(fixed)
        settled = {name: base.flat()[name] for name in fixed}
        kept: list[Parameter] = []
        dropped: set[str] = set()
        for parameter in self.parameters:
            impossible = any(
                c.parent in dropped or (c.parent in settled and not contains(c.values, settled[c.parent]))
                for c in parameter.when
            )
            if impossible:
                dropped.add(parameter.key)
            elif parameter.key not in settled:
                kept.append(replace(parameter, when=tuple(c for c in parameter.when if c.parent not in settled)))
        return replace(self, base=base, parameters=tuple(kept))

    def as_dict(self) -> dict[str, Any]:
        """The space as a file that `load_space` reads back, with the base written out."""
        tree: dict[str, Any] = {"base": self.base.model_dump(mode="json"), "search": self.search.as_dict(), "space": {}}
        for parameter in self.parameters:
            entry = parameter.distribution.as_dict()
            if parameter.when:
                entry["when"] = {c.parent: list(c.values) for c in parameter.when}
            tree["space"][parameter.key] = entry
        return tree


def combinations(space: SearchSpace) -> int:
    """Number of distinct settings of the parameters that have a countable number of values."""
    branching = {condition.parent for parameter in space.parameters for condition in parameter.when}
    counts: Counter[tuple[tuple[str, object], ...]] = Counter({(): 1})
    for parameter in space.parameters:
        following: Counter[tuple[tuple[str, object], ...]] = Counter()
        for drawn, count in counts.items():
            if not parameter.active(dict(drawn)):
                following[drawn] += count
            elif parameter.key not in branching:
                following[drawn] += count * (parameter.distribution.size or 1)
            else:
                for value in _values(parameter):
                    following[*drawn, (parameter.key, value)] += count
        counts = following
    return counts.total()


def space_size(space: SearchSpace) -> str:
    """The number of combinations, and of the parameters that have no countable values."""
    continuous = sum(parameter.distribution.size is None for parameter in space.parameters)
    size = f"{combinations(space):,} combinations"
    return f"{size} of the countable parameters, and {continuous} continuous" if continuous else size


def _values(parameter: Parameter) -> list[object]:
    distribution = parameter.distribution
    if isinstance(distribution, Choice):
        return list(distribution.values)
    return [distribution.low + i * (distribution.step or 0) for i in range(distribution.size or 0)]
