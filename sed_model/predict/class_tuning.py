"""Whether groups of classes, frogs and insects beside birds, say, are better off with post-processing of their own.

An insect sings for minutes and a bird calls for half a second: neighbours and best frames tell unlike much of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sed_model.core.errors import DataError
from sed_model.predict.post_tuning import (
    CENTRES,
    FRAME_WEIGHTS,
    Join,
    LabelledWindows,
    Tuned,
    choose,
    post_processed,
)
from sed_model.predict.postprocess import ClassGroup, PostSettings


def tune_groups(
    join: Join,
    windows: LabelledWindows,
    base: PostSettings,
    groups: Mapping[str, Sequence[str]],
    classes: Sequence[str],
) -> tuple[PostSettings, dict[str, Tuned]]:
    """Settings with those of each group that are proven to gain on the group's own classes; and what was found.

    Groups that the labels cannot score are not among what was found. One that holds all classes is no group.
    """
    found: dict[str, Tuned] = {}
    for name, members in groups.items():
        columns = [place for place, one in enumerate(classes) if one in set(members)]
        if len(columns) == len(classes):
            continue
        own = replace(windows, targets=windows.targets[:, columns])
        scored = post_processed(join, windows.n_windows, with_group(base, name, tuple(members)), classes)
        try:
            tuned = choose(((one, scores[:, columns]) for one, scores in scored), own)
        except DataError:
            continue
        base, found[name] = tuned.settings, tuned
    return base, found


def with_group(base: PostSettings, name: str, members: tuple[str, ...]) -> Iterator[PostSettings]:
    """The settings as they are, then with others for a group; what is everybody's is not the group's."""
    yield base
    frame_weights = [one for one in FRAME_WEIGHTS if one != base.frame_weight and one is not None]
    centres = [one for one in CENTRES if one != base.smoothing_centre]
    for frame_weight, centre in itertools.product([None, *frame_weights], [None, *centres]):
        if (frame_weight, centre) != (None, None):
            group = ClassGroup(name=name, classes=members, frame_weight=frame_weight, smoothing_centre=centre)
            yield base.model_copy(update={"groups": (*base.groups, group)})
