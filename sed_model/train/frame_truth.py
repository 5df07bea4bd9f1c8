"""Events with onset and offset -> what is true of each frame of a clip, and how that mixes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sed_model.augment.batch import AUDIBLE_SHARE, LabelRule, Mix, apply_mix, mix_targets
from sed_model.model.heads import frames_inside
from sed_model.run_folder.metrics import POSITIVE_FROM

Targets = Float[Tensor, "batch steps classes"]
Known = Bool[Tensor, "batch steps classes"]


def frame_truth(
    events: Float[Tensor, "batch events 3"], labels: Float[Tensor, "batch classes"], n_steps: int
) -> tuple[Targets, Known]:
    """Whether each class sounds in each frame, 0 or 1, and where that is known.

    A class sounds in the frames whose centre lies in one of its events; of an event without any in the nearest one. Of
    a clip without events nothing is known; of one with some the classes that have events and a label, or neither.

    Args:
        events: rows of class, start and end, see `clip_events`.
        labels: of the clips, before they are mixed.
    """
    n_clips, n_rows, n_classes = *events.shape[:2], labels.shape[1]
    inside = frames_inside(events[..., 1:].flatten(0, 1), n_steps).view(n_clips, n_rows, n_steps)
    label = events[..., 0].long()
    of_class = F.one_hot(label.clamp(min=0), n_classes) * (label >= 0)[..., None]
    targets = torch.einsum("bet,bek->btk", inside.float(), of_class.float()).clamp(max=1)
    has_event = of_class.any(dim=1)
    known = (has_event == (labels >= POSITIVE_FROM)) & has_event.any(dim=1, keepdim=True)
    return targets, known[:, None].expand_as(targets)


def mix_frames(targets: Targets, known: Known, mix: Mix, labels: LabelRule) -> tuple[Targets, Known]:
    """Mix what is true of frames: after cutmix it is that of the one clip or the other, after mixup of both.

    Then targets mix as those of clips do, and are known where both clips' are, but for one that is too faint to hear.
    """
    if mix.kind == "none":
        return targets, known
    if mix.kind == "cutmix":
        pasted = [apply_mix(x.float().transpose(1, 2), mix).transpose(1, 2) for x in (targets, known)]
        return pasted[0], pasted[1] > 0
    share = mix.share.to(known.device)[:, None, None]
    partner = known[mix.permutation.to(known.device)]
    clear = (known | (share < AUDIBLE_SHARE)) & (partner | (1 - share < AUDIBLE_SHARE))
    return mix_targets(targets, mix, labels), clear
