"""The one JSON line in which every benchmark tells a result."""

from __future__ import annotations

import json


def print_result(name: str, *, holds: bool, digits: int = 2, **facts: float | str | list[float]) -> bool:
    """Print what was measured (plain, ours, unit, ratio, target, ..), rounded; whether it holds comes back."""
    rounded = {key: _rounded(value, digits) for key, value in facts.items()}
    print(json.dumps({"name": name, **rounded, "holds": bool(holds)}), flush=True)
    return bool(holds)


def _rounded(value: float | str | list[float], digits: int) -> float | str | list[float]:
    if isinstance(value, str):
        return value
    return [round(float(one), digits) for one in value] if isinstance(value, list) else round(float(value), digits)
