"""`--set` values that are paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sed_model.paths import expanded

PATH_KEYS = ("model.weights", "augment.wave.room_folder", "augment.wave.background_folder", "data.cache_dir")


def absolute_paths(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Paths on the command line start from where the user is; Ray's workers are elsewhere."""
    return {
        name: str(expanded(value)) if name in PATH_KEYS and isinstance(value, str) else value
        for name, value in overrides.items()
    }
