"""`--set KEY=VALUE`: what was typed -> values by dotted key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from sed_model.errors import ConfigError
from sed_model.paths import expanded
from sed_model.yaml_file import parse_yaml
from trainables.distributions import is_scalar

PATH_KEYS = ("model.weights", "augment.wave.room_folder", "augment.wave.background_folder", "data.cache_dir")


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


def absolute_paths(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Paths on the command line start from where the user is; Ray's workers are elsewhere."""
    return {
        name: str(expanded(value)) if name in PATH_KEYS and isinstance(value, str) else value
        for name, value in overrides.items()
    }
