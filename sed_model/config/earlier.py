"""Keys of earlier releases: what a file that has them means today, and what to write instead.

Chances that had to stay within 1 together became one chance and shares of it, so that any of their values go together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MIX = "augment.mix.prob (mixup and cutmix together) and augment.mix.cutmix_share"
PSEUDO = "pseudo.prob (all three together), pseudo.replace_share and pseudo.join_share"
EARLIER = {
    "augment.mix.mixup_prob": MIX,
    "augment.mix.cutmix_prob": MIX,
    "pseudo.replace_prob": PSEUDO,
    "pseudo.add_prob": PSEUDO,
    "pseudo.join_prob": PSEUDO,
}
"""Dotted key -> what replaces it."""
MIX_CHANCES = {"mixup_prob": 0.5, "cutmix_prob": 0.2}
PSEUDO_CHANCES = {"replace_prob": 0.2, "add_prob": 0.4, "join_prob": 0.1}
"""The defaults that they had."""


def renewed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of a configuration with today's keys; what cannot be translated stays, and is refused by its name."""
    result = dict(tree)
    augment = result.get("augment")
    if isinstance(augment, Mapping) and (chances := _chances(augment.get("mix"), MIX_CHANCES)):
        total = sum(chances.values())
        shares = {"prob": total, "cutmix_share": _share(chances["cutmix_prob"], total)}
        result["augment"] = {**augment, "mix": _with(augment["mix"], chances, shares)}
    if chances := _chances(result.get("pseudo"), PSEUDO_CHANCES):
        total, alone = sum(chances.values()), chances["replace_prob"]
        shares = {
            "prob": total,
            "replace_share": _share(alone, total),
            "join_share": _share(chances["join_prob"], total - alone),
        }
        result["pseudo"] = _with(result["pseudo"], chances, shares)
    return result


def _chances(section: Any, defaults: Mapping[str, float]) -> dict[str, float]:
    """The earlier chances of a section that has some; none where it has today's as well, or they cannot be."""
    if not isinstance(section, Mapping) or "prob" in section or not any(name in section for name in defaults):
        return {}
    chances = {name: section.get(name, default) for name, default in defaults.items()}
    numbers = [value for value in chances.values() if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(chances) or not all(0 <= value <= 1 for value in numbers) or sum(numbers) > 1 + 1e-9:
        return {}
    return chances


def _with(section: Mapping[str, Any], old: Mapping[str, float], new: Mapping[str, float]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in old} | {
        name: min(1.0, value) for name, value in new.items()
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
