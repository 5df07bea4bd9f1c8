"""What is true of frames by events: which frames, which classes, and what mixing leaves known. Values by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sed_model.augment.batch import Mix
from sed_model.data.targets import Truth
from sed_model.train.frame_truth import frame_truth, mix_frames
from sed_model.train.losses import strong_loss

NONE = [-1.0, 0.0, 0.0]


def of_class(values: Tensor, clip: int, label: int) -> str:
    """A class's frames in one clip: 1, 0 and so on, or ? for a share."""
    return "".join("10"[value == 0] if value in (0, 1) else "?" for value in values[clip, :, label].tolist())


def test_a_class_sounds_in_the_frames_whose_centre_lies_in_an_event() -> None:
    """Centres of five frames: 0.1, 0.3, 0.5, 0.7, 0.9. Two events of class 0; one of class 1 between two centres."""
    events = torch.tensor([[[0, 0.05, 0.35], [0, 0.8, 1.0], [1, 0.44, 0.46], [2, 0.3, 0.3]]])
    targets, known = frame_truth(events, torch.ones(1, 3), 5)
    assert [of_class(targets, 0, label) for label in range(3)] == ["11001", "00100", "01000"]
    assert known.all()


def test_events_that_overlap_count_once() -> None:
    targets, _ = frame_truth(torch.tensor([[[0, 0.0, 0.7], [0, 0.3, 1.0]]]), torch.ones(1, 1), 4)
    assert targets.flatten().tolist() == [1, 1, 1, 1]


def test_known_is_what_events_and_label_agree_on() -> None:
    """Class 0 has both, 1 neither, 2 a label without times, 3 the end of an event that did not make a label."""
    events = torch.tensor([[[0, 0.2, 0.4], [3, 0.0, 0.01]]])
    _, known = frame_truth(events, torch.tensor([[1.0, 0.0, 1.0, 0.0]]), 3)
    assert known.shape == (1, 3, 4)
    assert known[0].tolist() == [[True, True, False, False]] * 3


def test_of_a_clip_without_events_nothing_is_known() -> None:
    events = torch.tensor([[NONE, NONE], [[1, 0.0, 1.0], NONE]])
    targets, known = frame_truth(events, torch.tensor([[0.0, 0.0], [0.0, 1.0]]), 4)
    assert [known[clip].all().item() for clip in range(2)] == [False, True]
    assert not known[0].any()
    assert targets[1].tolist() == [[0, 1]] * 4


def test_without_rows_of_events_nothing_is_known() -> None:
    targets, known = frame_truth(torch.zeros(2, 0, 3), torch.ones(2, 3), 4)
    assert targets.shape == (2, 4, 3)
    assert not known.any()


def test_cutmix_pastes_frames_of_the_partner() -> None:
    """Of ten frames the partner has four, from the second on: start 0.1, share 0.6. Nothing is known of clip 2."""
    events = torch.tensor([[[0, 0.0, 0.5]], [[0, 0.4, 0.6]], [NONE]])
    mix = Mix("cutmix", torch.tensor([1, 2, 0]), torch.full((3,), 0.6), torch.full((3,), 0.1))
    truth = frame_truth(events, torch.tensor([[1.0], [1.0], [0.0]]), 10)
    targets, known = mix_frames(*truth, mix, "convex")
    assert of_class(targets, 0, 0) == "1000100000"
    assert of_class(known, 0, 0) == "1111111111"
    assert of_class(known, 1, 0) == "1000011111"
    assert of_class(targets, 2, 0) == "0111100000"
    assert of_class(known, 2, 0) == "0111100000"


def test_cutmix_pastes_within_the_part_that_both_labels_are_for() -> None:
    """Half of 0.2 to 0.6 is two frames of ten, from its start."""
    events = torch.tensor([[[0, 0.0, 1.0]], [[0, 0.9, 1.0]]])
    span = torch.tensor([[0.2, 0.6], [0.2, 0.6]])
    mix = Mix("cutmix", torch.tensor([1, 0]), torch.tensor([0.5, 1.0]), torch.zeros(2), span)
    targets, _ = mix_frames(*frame_truth(events, torch.ones(2, 1), 10), mix, "convex")
    assert of_class(targets, 0, 0) == "1100111111"
    assert of_class(targets, 1, 0) == "0000000001"


@pytest.mark.parametrize(("labels", "expected"), [("convex", [0.75, 1.0, 0.25, 0.0]), ("union", [1, 1, 1, 0])])
def test_mixup_mixes_frames_as_it_does_clips(labels: str, expected: list[float]) -> None:
    events = torch.tensor([[[0, 0.0, 0.5]], [[0, 0.25, 0.75]]])
    mix = Mix("mixup", torch.tensor([1, 0]), torch.tensor([0.75, 0.75]), torch.zeros(2))
    targets, known = mix_frames(*frame_truth(events, torch.ones(2, 1), 4), mix, labels)  # type: ignore[arg-type]
    assert targets[0, :, 0].tolist() == expected
    assert known.all()


def test_mixup_with_an_unknown_clip_is_unknown_unless_it_is_too_faint_to_hear() -> None:
    events = torch.tensor([[[0, 0.0, 0.5]], [NONE], [[0, 0.0, 1.0]], [NONE]])
    mix = Mix("mixup", torch.tensor([1, 0, 3, 2]), torch.tensor([0.9, 0.04, 0.96, 0.5]), torch.zeros(4))
    truth = frame_truth(events, torch.tensor([[1.0], [0.0], [1.0], [0.0]]), 2)
    _, known = mix_frames(*truth, mix, "convex")
    assert known[:, 0, 0].tolist() == [False, True, True, False]


def test_an_unmixed_batch_stays_as_it_is() -> None:
    truth = frame_truth(torch.tensor([[[0, 0.0, 0.5]], [NONE]]), torch.tensor([[1.0], [0.0]]), 2)
    mix = Mix("none", torch.arange(2), torch.ones(2), torch.zeros(2))
    assert all(torch.equal(*pair) for pair in zip(truth, mix_frames(*truth, mix, "convex"), strict=True))


def test_the_loss_is_the_mean_over_known_frames_then_over_clips_that_have_any() -> None:
    """Logits of 0 cost log 2 each, 100 for an absent class 100; what is not known costs nothing."""
    logits = torch.zeros(3, 2, 2)
    logits[1, 0, 0], logits[1, 1, 1], logits[2] = 100.0, 100.0, 100.0
    mask = torch.ones(3, 2, 2, dtype=torch.bool)
    mask[1, 1, 1], mask[2] = False, False
    truth = Truth(torch.zeros(3, 2, 2), mask, torch.tensor([1.0, 3.0, 5.0]))
    log_2 = torch.tensor(2.0).log()
    expected = (log_2 + 3 * (100 + 2 * log_2) / 3) / 4
    assert strong_loss(logits, truth).item() == pytest.approx(expected.item())


def test_where_nothing_is_known_there_is_no_loss() -> None:
    nothing = Truth(torch.zeros(2, 3, 1), torch.zeros(2, 3, 1, dtype=torch.bool), torch.ones(2))
    assert strong_loss(torch.full((2, 3, 1), 5.0), nothing).item() == 0
