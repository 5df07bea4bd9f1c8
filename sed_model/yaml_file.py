"""YAML files whose top level is a mapping; every reader of the project goes through here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sed_model.errors import ConfigError


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping.

    Raises:
        ConfigError: the file is missing, is not YAML, holds something else than a mapping, or writes a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give the path of a YAML file.") from None
    try:
        repeated = list(_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader)))
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from None
    if repeated:
        raise ConfigError("\n".join([f"{path}:", *repeated]))
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not all(isinstance(name, str) for name in tree):
        raise ConfigError(f"{path}: holds a {type(tree).__name__}; its top level has to be a mapping of keys.")
    return tree


def _repeated_keys(root: yaml.Node | None) -> Iterator[str]:
    """A message for each key that a mapping holds twice; YAML itself would keep the last and say nothing."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            first_lines: dict[str, int] = {}
            for name, value in node.value:
                waiting.append(value)
                line = name.start_mark.line + 1
                if isinstance(name, yaml.ScalarNode) and first_lines.setdefault(name.value, line) != line:
                    yield f"{name.value}: stands twice, in lines {first_lines[name.value]} and {line}; remove one."
