"""A search space: a base configuration, and what is drawn for each trial.

`load_space("arch.yaml")` reads and checks a whole file before Ray starts; `SearchSpace.suggest(trial)` draws through
Optuna; `SearchSpace.config(values)` makes the trial's configuration. `python -m trainables.space show FILE` prints it.

A file has the sections `base` (another YAML file), `config` (dotted keys that replace the base's), `search` (settings
of the search), `space` (dotted keys that are drawn, some only `when` others have certain values) and `repair` (values
that replace a key's where the combination is refused; the first key of the section is changed first).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sed_model.errors import ConfigError
from sed_model.yaml_file import parse_yaml, read_yaml
from trainables.distributions import is_scalar
from trainables.search_space import Condition, Parameter, SearchSpace
from trainables.space_check import SPACES_DIR, find_file, parse_space

__all__ = ["SPACES_DIR", "Condition", "Parameter", "SearchSpace", "find_file", "load_space", "parse_overrides"]


def load_space(
    name_or_path: str | Path, overrides: Mapping[str, Any] | None = None, base: Path | None = None
) -> SearchSpace:
    """Read a search space and check all of it.

    Args:
        name_or_path: a YAML file, or the name of one in `search_spaces/`.
        overrides: dotted keys with fixed values; they leave the search.
        base: replaces the file's base.

    Raises:
        ConfigError: every problem of the file and of the overrides, a line each.
    """
    path = find_file(name_or_path)
    return parse_space(read_yaml(path), path, overrides or {}, base)


def parse_overrides(items: Sequence[str]) -> dict[str, Any]:
    """`["model.pool_type=gem", ..]` -> `{"model.pool_type": "gem", ..}`; values are YAML scalars.

    Raises:
        ConfigError: every malformed item, a line each.
    """
    overrides: dict[str, Any] = {}
    problems: list[str] = []
    for item in items:
        name, equals, text = (part.strip() for part in item.partition("="))
        if not (name and equals and text):
            problems.append(f"--set {item!r}: write key=value, e.g. model.pool_type=gem (key=null for no value).")
            continue
        try:
            value = parse_yaml(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            problems.append(f"--set {item!r}: the value is not valid YAML; put it in quotes.")
            continue
        if isinstance(value, list | dict):
            problems.append(
                f"--set {item!r}: the value is a {type(value).__name__}; give a number, text or truth value."
            )
        elif name in overrides:
            problems.append(f"--set {item!r}: {name} is set twice; give it once.")
        else:
            overrides[name] = value if is_scalar(value) else text  # a date stays the text that it was
    if problems:
        raise ConfigError("\n".join(problems))
    return overrides


if __name__ == "__main__":
    from trainables.space_table import main

    raise SystemExit(main())
