"""Cells that hold several labels."""

from __future__ import annotations

import ast
import functools
import re
import warnings
from collections.abc import Container

NO_LABEL = frozenset({"nan", "na", "none", "nocall"})


@functools.lru_cache(maxsize=65_536)
def parse_label_list(text: str) -> tuple[str, ...]:
    """`"['a', 'b']"` -> `("a", "b")`; blank text, `"[]"` and `"['']"` are no labels. Repetitions are dropped.

    Raises:
        ValueError: the text is not a Python list of strings.
    """
    if not text:
        return ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{text!r} is not a list of labels") from None
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{text!r} is not a list of quoted labels")
    return tuple(dict.fromkeys(item.strip() for item in value if item.strip()))


def written_without_brackets(text: str, known: Container[str]) -> tuple[str, ...] | None:
    """`"b"`, `"a;b"` or `"a b"` -> its labels, where each of them is known; `"nan"` -> none. None: it is not that."""
    if not text or text.startswith(("[", "(")):
        return None
    for parts in ([text], *(text.split(separator) for separator in (";", "|", ",")), text.split()):
        labels = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
        if labels and all(label in known for label in labels):
            return labels
    return () if text.lower() in NO_LABEL else None


def split_labels(text: str, known: Container[str], separators: str) -> tuple[str, ...]:
    """The labels of a cell such as `a;b`, whether they are known or not; `nocall` and a blank cell hold none.

    Args:
        separators: characters that stand between labels, unless the whole cell is a label.
    """
    if text in known:
        return (text,)
    parts = re.split(f"[{re.escape(separators)}]", text)
    labels = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    return tuple(label for label in labels if label in known or label.lower() not in NO_LABEL)
