"""Labelled soundscapes in parts: one validates, the others train; parts keep sites together where there are enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sed_model.core.errors import DataError
from sed_model.core.soundscape_names import site_of

LEAST_FILES = 8
"""With fewer labelled soundscapes a part of the finalists has one file, which can lack every class."""


def soundscape_parts(paths: Sequence[str], n_parts: int, seed: int) -> dict[str, int]:
    """The part (0 to n_parts - 1) in which each soundscape validates; the same files and seed give the same parts.

    No site is in two parts, where all names tell their site and there are `n_parts` sites; else no file is. Parts have
    about as many files each.

    Args:
        paths: of labelled soundscapes; repeated ones count once.

    Raises:
        DataError: there are fewer files than parts.
    """
    files = sorted(set(paths))
    if len(files) < n_parts:
        raise DataError(
            f"data.soundscape_folds={n_parts} needs as many labelled soundscapes, but there are {len(files)}; "
            "lower it, or set it to 0: then all of them validate and none trains."
        )
    sites = {path: site_of(path) for path in files}
    by_site = None not in sites.values() and len(set(sites.values())) >= n_parts
    groups: dict[str, list[str]] = {}
    for path in files:
        groups.setdefault(str(sites[path]) if by_site else path, []).append(path)
    names = sorted(groups)
    drawn = [names[place] for place in np.random.default_rng(seed).permutation(len(names))]
    sizes, part_of = [0] * n_parts, {}
    for name in sorted(drawn, key=lambda name: -len(groups[name])):  # stable: equal ones stay in the drawn order
        part = sizes.index(min(sizes))
        sizes[part] += len(groups[name])
        part_of.update(dict.fromkeys(groups[name], part))
    return part_of
