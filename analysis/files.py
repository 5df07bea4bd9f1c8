"""Files of a run folder: read where they lie within it, and where they are files; their YAML only where it is small."""

import os
import stat
from pathlib import Path
from typing import Any

import yaml

MAX_YAML_CHARACTERS = 1_000_000
"""With every alias written out: a few lines of aliases to aliases can stand for billions."""


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that no file can have (too long, with a NUL) is none."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises OSError for a name that is too long


def is_there(path: Path) -> bool:
    """Whether anything is there, or may be, where one may not look: who reads it is told what is wrong with it."""
    try:
        path.lstat()
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a name that none can have is none."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises OSError for a name that is too long


def read_file(file: Path, root: Path) -> bytes:
    """What a file of the run folder `root` holds.

    Raises:
        FileNotFoundError: there is none.
        OSError: a link leads out of the folder, it is no file (a pipe would block for ever), or it cannot be read.
    """
    if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(root)):
        raise OSError("a link leads out of the run folder")
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError("it is no file")
    return file.read_bytes()


def parse_yaml(text: str) -> Any:
    """The value of a YAML document of plain types.

    Raises:
        ValueError: it is none, is nested too deep, or its aliases go in a circle or stand for too much.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None and _n_characters(root, {}) > MAX_YAML_CHARACTERS:
            raise ValueError(f"with its aliases it holds more than {MAX_YAML_CHARACTERS:,} characters")
        return yaml.safe_load(text)
    except RecursionError:
        raise ValueError("it is nested too deep, or an alias stands inside its own anchor") from None
    except (yaml.YAMLError, KeyError, IndexError, AttributeError, TypeError) as error:
        # The last four are what PyYAML raises for a tag that its value does not fit, such as `!!bool maybe`.
        raise ValueError(str(error)) from None


def _n_characters(node: yaml.Node, known: dict[int, int]) -> int:
    """Characters of all values of the tree, and one for each value."""
    if id(node) not in known:
        if isinstance(node, yaml.ScalarNode):
            known[id(node)] = 1 + len(node.value)
        else:
            children = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
            known[id(node)] = 1 + sum(_n_characters(child, known) for child in children)
    return known[id(node)]
