"""What a search tries first: settings that did well on other data, as `search_spaces/portfolio.yaml` lists them.

They complement each other: each is there for the data on which those before it are weak. So auto-sklearn 2 (Feurer et
al. 2022, arXiv 2007.04074) and TabRepo (Salinas and Erickson 2024, arXiv 2311.02971) begin. The file is made from
recorded tables by `python -m benchmarks.tables.portfolio`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import ConfigError
from sed_model.core.texts import nearest
from sed_model.core.yaml_file import read_yaml
from trainables.spaces.check import SPACES_DIR, find_file
from trainables.spaces.search_space import SearchSpace

FILE = SPACES_DIR / "portfolio.yaml"
NONE = "none"
SECTION = "points"
TRIALS_A_POINT = 3
"""A search has a point of the portfolio for so many of its trials: most of them are its own, and two have none."""


def read_portfolio(path: Path = FILE) -> list[dict[str, Any]]:
    """The points in their order: dotted key -> value, of the key's own type.

    Raises:
        ConfigError: every problem, a line each.
    """
    tree = read_yaml(path)
    unknown = [name for name in tree if name != SECTION]
    problems = [f"{name}: unknown section{nearest(name, [SECTION])}; known is {SECTION}." for name in unknown]
    entries = tree.get(SECTION, [])
    if not isinstance(entries, list):
        problems.append(f"{SECTION}: is {entries!r}; write a list of points, e.g. - {{model.pool_type: gem}}.")
        entries = []
    points = []
    for place, entry in enumerate(entries):
        try:
            points.append(_point(entry))
        except ConfigError as error:
            problems += [f"{SECTION}[{place}]: {line}" for line in str(error).splitlines()]
    if problems:
        raise ConfigError("\n".join([f"{path}:", *(f"  {problem}" for problem in problems)]))
    return points


def _point(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict) or not entry:
        raise ConfigError(f"is {entry!r}; write dotted keys with values, e.g. {{model.pool_type: gem}}.")
    flat = SedConfig().with_overrides(entry).flat()
    return {name: flat[name] for name in entry}


def portfolio_of(space: SearchSpace) -> list[dict[str, Any]]:
    """The points of the file that the space names.

    Raises:
        ConfigError: there is no such file, or it is no portfolio.
    """
    name = space.search.portfolio
    return [] if name == NONE else first_points(space, read_portfolio(find_file(name)))


def first_points(space: SearchSpace, portfolio: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a search of the space tries right after its default: for every third trial a point of the portfolio.

    A point is the default with those of the values that the space holds. Points that come to the default, or to one
    before them, are left out: keys that the space does not search keep their values in it. Students have none: what did
    well from scratch says nothing of a training that goes on from a teacher's weights.
    """
    if space.search.portfolio == NONE or "pseudo" in space.search.stages:
        return []
    found = list(_distinct([space.base_point(), *map(space.point_with, portfolio)]))
    return found[1 : 1 + space.search.num_trials // TRIALS_A_POINT]


def _distinct(points: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    for point in points:
        if point not in seen:
            seen.append(point)
            yield point


def portfolio_line(n_points: int) -> str:
    """Which trials of a new search are of the portfolio, for people."""
    trials = "trial 1 tries" if n_points == 1 else f"trials 1 to {n_points} try"
    return f"portfolio: {trials} settings that did well on other data (search.portfolio: none leaves them out)"
