"""From the tree of a search-space file to a checked SearchSpace; every problem in one report."""

from __future__ import annotations

import random
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from sed_model.config.sed_config import SedConfig, config_from_dict, known_keys, load_config
from sed_model.config.tree import unknown_key_message
from sed_model.core.errors import ConfigError
from sed_model.core.paths import is_file
from sed_model.core.texts import nearest
from trainables.spaces.distributions import Choice, Range, is_scalar, parse_distribution
from trainables.spaces.search_space import Condition, Parameter, SearchSpace
from trainables.spaces.settings import parse_search

SPACES_DIR = Path(__file__).resolve().parents[2] / "search_spaces"
SECTIONS = ("base", "config", "search", "space")
GONE = "repair"
"""A section of earlier releases, which put other values than the drawn ones into trials."""
CONTEXTS = 50
"""Random settings of the other parameters that a value is tried with before it is called impossible."""
SAMPLES = 200
"""Random configurations that have to be valid."""


def parse_space(
    tree: Mapping[str, Any], path: Path, overrides: Mapping[str, Any], base_path: Path | None = None
) -> SearchSpace:
    """Build and check a space; `path` names it in messages and is where a relative `base` starts from.

    Raises:
        ConfigError: every problem, a line each.
    """
    if tree and set(tree) <= {key.partition(".")[0] for key in known_keys()}:
        raise ConfigError(
            f"{path}: is a configuration and no search space (it draws nothing); name a space such as arch.yaml, or "
            f"train it: python -m trainables.train --config {path.name} --stage all"
        )
    problems = [
        f"{name}: unknown section{nearest(name, SECTIONS)}; known are {', '.join(SECTIONS)}."
        for name in tree
        if name not in (*SECTIONS, GONE)
    ]
    if GONE in tree:
        problems.append(
            "repair: there is no such section any more, since the search learned from values that never ran; draw what "
            "goes together (narrow a key with when:, or draw a chance and a share such as augment.mix.cutmix_share)."
        )
    base = _base(tree, path, base_path, problems)
    search, search_problems = parse_search(tree.get("search") or {})
    problems += search_problems
    parameters = _parameters(tree.get("space"), problems)
    _check_names(parameters, problems)
    _check_conditions(parameters, problems)
    ordered = _ordered(parameters, problems)
    if problems or base is None:
        raise _report(path, problems)
    space = SearchSpace(path.stem, base, search, ordered).without(overrides)
    problems += impossible_values(space) or refused_combinations(space)
    if problems:
        raise _report(path, problems)
    return space


def _report(path: Path, problems: list[str]) -> ConfigError:
    return ConfigError("\n".join([f"{path}:", *(f"  {problem}" for problem in problems)]))


def _base(tree: Mapping[str, Any], path: Path, base_path: Path | None, problems: list[str]) -> SedConfig | None:
    """The base configuration with the `config` section put in; None after a problem."""
    section = tree.get("config") or {}
    if not isinstance(section, dict):
        problems.append(f"config: is {section!r}; write dotted keys with values, e.g. data.window_s: 5.")
        section = {}
    named = tree.get("base", "base.yaml") if base_path is None else str(base_path)
    try:
        if isinstance(named, dict):
            return config_from_dict(named, source=f"{path}, section base").with_overrides(section)
        if not isinstance(named, str):
            raise ConfigError(f"base: is {named!r}; give the path of a configuration file.")
        return load_config(find_file(named, beside=path.parent)).with_overrides(section)
    except ConfigError as error:
        problems.extend(str(error).splitlines())
        return None


def find_file(name_or_path: str | Path, beside: Path | None = None) -> Path:
    """The file itself, or the one of that name in `beside` or in `search_spaces/`; `.yaml` may be left out there.

    Raises:
        ConfigError: there is none; the message lists the names in `search_spaces/`.
    """
    given = Path(name_or_path)
    folders = [folder for folder in (beside, SPACES_DIR) if folder is not None]
    candidates = [given, *(folder / f"{given}{ending}" for folder in folders for ending in ("", ".yaml"))]
    found = next((path for path in candidates if is_file(path)), None)
    if found is None:
        names = sorted(path.name for path in SPACES_DIR.glob("*.yaml"))
        near = nearest(given.name, names, cutoff=0.5)
        raise ConfigError(f"{given}: no such file{near}; give a path, or a name of {', '.join(names)}.")
    return found


def _parameters(section: Any, problems: list[str]) -> list[Parameter]:
    if not isinstance(section, dict) or not section:
        problems.append(f"space: is {section!r}; list at least one key, e.g. model.pool_type: {{choice: [avg, gem]}}.")
        return []
    parameters = []
    for name, entry in section.items():
        try:
            parameters.append(_parameter(str(name), entry))
        except ValueError as error:
            problems.append(f"space.{name}: {error}")
    return parameters


def _parameter(name: str, entry: Any) -> Parameter:
    if not isinstance(entry, dict):
        return Parameter(name, parse_distribution(entry))
    when = entry.get("when", {})
    distribution = parse_distribution({kind: value for kind, value in entry.items() if kind != "when"})
    if not isinstance(when, dict) or ("when" in entry and not when):
        raise ValueError(f"when is {when!r}; write {{other.key: value}} or {{other.key: [value, value]}}.")
    conditions = []
    for parent, wanted in when.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        if not values or not all(is_scalar(value) for value in values):
            raise ValueError(f"when {parent} is {wanted!r}; give a value or a list of values.")
        conditions.append(Condition(str(parent), tuple(values)))
    return Parameter(name, distribution, tuple(conditions))


def _check_names(parameters: list[Parameter], problems: list[str]) -> None:
    known = known_keys()
    names = dict.fromkeys(parameter.key for parameter in parameters)
    problems.extend(f"space.{unknown_key_message(name, known)}" for name in names if name not in set(known))


def _check_conditions(parameters: list[Parameter], problems: list[str]) -> None:
    by_key = {parameter.key: parameter for parameter in parameters}
    for parameter in parameters:
        for condition in parameter.when:
            place = f"space.{parameter.key}: when {condition.parent}"
            parent = by_key.get(condition.parent)
            if parent is None:
                problems.append(
                    f"{place} is not in this space{nearest(condition.parent, by_key)}; add it or remove the condition."
                )
            elif parent.distribution.size is None:
                problems.append(f"{place} has a continuous range; conditions need a choice, randint or quniform.")
            else:
                problems += [
                    f"{place} is {value!r}, which {condition.parent} never is; {_describe(parent)}."
                    for value in condition.values
                    if not parent.distribution.contains(value)
                ]


def _describe(parameter: Parameter) -> str:
    distribution = parameter.distribution
    if isinstance(distribution, Choice):
        return f"use one of {', '.join(map(repr, distribution.values))}"
    return f"use a value of {distribution.as_dict()}"


def _ordered(parameters: list[Parameter], problems: list[str]) -> tuple[Parameter, ...]:
    """Parents before children, otherwise as in the file."""
    by_key = {parameter.key: parameter for parameter in parameters}
    graph = {p.key: [c.parent for c in p.when if c.parent in by_key] for p in parameters}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        problems.append(f"space: the conditions {' -> '.join(error.args[1])} go in a circle; remove one of them.")
        return ()
    placed: dict[str, Parameter] = {}

    def place(name: str) -> None:
        for parent in graph[name]:
            place(parent)
        placed.setdefault(name, by_key[name])

    for name in graph:
        place(name)
    return tuple(placed.values())


def impossible_values(space: SearchSpace) -> list[str]:
    """A message for each choice, end and inner point that the configuration refuses whatever the rest is."""
    rng = random.Random(0)  # noqa: S311 - no secret; the same report for the same file
    problems = []
    for parameter in space.parameters:
        for value in parameter.distribution.probes():
            error = _refusal(space, parameter, value, rng)
            if error is not None:
                problems.append(f"space.{parameter.key}: {value!r} is refused: {error}")
    return problems


def _refusal(space: SearchSpace, parameter: Parameter, value: Any, rng: random.Random) -> str | None:
    first_error = None
    for attempt in range(CONTEXTS):
        context = _forced(space, parameter) if attempt == 0 else _sample_with(space, parameter, rng)
        try:
            space.config({**context, parameter.key: value})
        except ConfigError as error:
            first_error = first_error or str(error)
        else:
            return None
    return first_error


def _forced(space: SearchSpace, parameter: Parameter) -> dict[str, Any]:
    """Values of all ancestors that make the parameter active."""
    by_key = {candidate.key: candidate for candidate in space.parameters}
    values: dict[str, Any] = {}
    for condition in parameter.when:
        values |= _forced(space, by_key[condition.parent]) | {condition.parent: condition.values[0]}
    return values


def _sample_with(space: SearchSpace, parameter: Parameter, rng: random.Random) -> dict[str, Any]:
    forced = _forced(space, parameter)
    return space.draw(lambda p: forced[p.key] if p.key in forced else draw_value(p, rng)) | forced


def refused_combinations(space: SearchSpace) -> list[str]:
    """A message for each kind of combination that the configuration refuses, found by sampling."""
    rng = random.Random(0)  # noqa: S311
    reasons: dict[str, None] = {}
    for _ in range(SAMPLES):
        try:
            space.config(space.draw(lambda parameter: draw_value(parameter, rng)))
        except ConfigError as error:
            reasons.setdefault(str(error))
    return [
        f"space: some combinations are refused, such as {reason} (Or narrow a key with a `when:` condition.)"
        for reason in list(reasons)[:3]
    ]


def draw_value(parameter: Parameter, rng: random.Random) -> Any:
    """A random value; ranges give one of their ends half of the time, since that is where combinations break."""
    distribution = parameter.distribution
    if isinstance(distribution, Range) and distribution.size is None and rng.random() < 0.5:
        return rng.uniform(distribution.low, distribution.high)
    return rng.choice(distribution.probes())
