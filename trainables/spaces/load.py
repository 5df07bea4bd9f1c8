"""A search space: a base configuration, and what is drawn for each trial.

`load_space("arch.yaml")` reads and checks a whole file before Ray starts; `SearchSpace.suggest(trial)` draws through
Optuna; `SearchSpace.config(values)` makes the trial's configuration. `python -m trainables.space show FILE` prints it.

A file has the sections `base` (another YAML file), `config` (dotted keys that replace the base's), `search` (settings
of the search) and `space` (dotted keys that are drawn, some only `when` others have certain values). What is drawn is
what runs: a space with combinations that the configuration refuses does not load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sed_model.core.errors import ConfigError
from sed_model.core.yaml_file import read_yaml
from trainables.spaces.check import find_file, parse_space
from trainables.spaces.search_space import SearchSpace
from trainables.spaces.settings import parse_search


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


def with_settings(space: SearchSpace, updates: Mapping[str, Any]) -> SearchSpace:
    """The space with settings of its search replaced, and checked.

    Raises:
        ConfigError: every setting that is unknown or refused, a line each.
    """
    settings, problems = parse_search({**space.search.as_dict(), **updates})
    if problems:
        raise ConfigError("\n".join(problems))
    return replace(space, search=settings)
