"""YAML files whose top level is a mapping; every reader of the project goes through here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sed_model.core.errors import ConfigError
from sed_model.core.files import read_file

MAX_CHARACTERS = 1_000_000
"""A few lines of aliases to aliases can stand for billions of values; no file of this project has a hundredth."""
MAX_DEPTH = 50


def read_yaml(path: Path, within: Path | None = None) -> dict[str, Any]:
    """A YAML file whose top level is a mapping.

    Args:
        within: a folder that no link may lead out of; the file may be no pipe then, as one that a user names may be.

    Raises:
        ConfigError: the file is missing, is not YAML, holds something else than a mapping, or writes a key twice.
    """
    try:
        text = (_first_bytes(path) if within is None else read_file(path, within)).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give the path of a YAML file.") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        repeated = list(_repeated_keys(root))
        tree = parse_yaml(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from None
    if repeated:
        raise ConfigError("\n".join([f"{path}:", *repeated]))
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not all(isinstance(name, str) for name in tree):
        raise ConfigError(f"{path}: holds a {type(tree).__name__}; its top level has to be a mapping of keys.")
    return tree


def _first_bytes(path: Path) -> bytes:
    """All of a file that is no longer than one may be; a device may have no end."""
    with path.open("rb") as stream:
        content = stream.read(MAX_CHARACTERS + 1)
    if len(content) > MAX_CHARACTERS:
        raise OSError(f"it holds more than {MAX_CHARACTERS:,} bytes")
    return content


def parse_yaml(text: str) -> Any:
    """The value of a YAML document of plain types.

    Raises:
        yaml.YAMLError, ValueError: it is none, is nested too deep, or its aliases go in a circle or stand for too much.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None:
        _check_size(root)
    try:
        return yaml.safe_load(text)
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        # What PyYAML's constructors raise for a tag that its value does not fit, such as `!!bool maybe`.
        raise ValueError(f"a value does not fit its tag ({error})") from None


def _check_size(root: yaml.Node) -> None:
    """Raises ValueError for a tree that is too deep or too large once every alias is written out."""
    known: dict[int, tuple[int, int]] = {}

    def measure(node: yaml.Node, depth: int) -> tuple[int, int]:
        """How many characters and values it holds, and how many levels."""
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels, or an alias stands inside its own anchor")
        if id(node) not in known:
            children: list[yaml.Node] = []
            if isinstance(node, yaml.SequenceNode):
                children = node.value
            elif isinstance(node, yaml.MappingNode):
                children = [part for pair in node.value for part in pair]
            measured = [measure(child, depth + 1) for child in children]
            levels = 1 + max((levels for _, levels in measured), default=0)
            own = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
            known[id(node)] = 1 + own + sum(count for count, _ in measured), levels
        return known[id(node)]

    count, levels = measure(root, 0)
    if levels > MAX_DEPTH:
        raise ValueError(f"it is nested {levels} levels deep, more than {MAX_DEPTH}")
    if count > MAX_CHARACTERS:
        raise ValueError(f"with its aliases it holds more than {MAX_CHARACTERS:,} characters; write fewer aliases")


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
                if isinstance(name, yaml.ScalarNode) and name.value in first_lines:
                    yield f"{name.value}: stands twice, in lines {first_lines[name.value]} and {line}; remove one."
                elif isinstance(name, yaml.ScalarNode):
                    first_lines[name.value] = line
