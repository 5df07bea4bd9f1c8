"""The part of a window that its label is for."""

from __future__ import annotations

import pytest

from sed_model.audio.windows import WHOLE, Part, common_part, stretched


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (WHOLE, WHOLE, WHOLE),
        (WHOLE, (0.25, 0.75), (0.25, 0.75)),
        ((0.25, 0.75), (0.0, 0.5), (0.25, 0.5)),  # half of either
        ((0.3, 0.8), (0.0, 0.5), None),
        ((0.0, 0.5), (0.5, 1.0), None),
    ],
)
def test_two_labels_are_both_for_what_their_parts_have_in_common(
    first: Part, second: Part, expected: Part | None
) -> None:
    assert common_part(first, second) == expected
    assert common_part(second, first) == expected


@pytest.mark.parametrize(
    ("part", "rate", "expected"),
    [
        ((0.25, 0.75), 1.25, (0.2, 0.6)),
        ((0.25, 0.75), 0.8, (0.3125, 0.9375)),
        ((0.5, 1.0), 0.8, (0.625, 1.0)),
        ((0.5, 1.0), 1.25, (0.4, 1.0)),  # then silence, in which nothing sounds
        (WHOLE, 1.25, WHOLE),
        (WHOLE, 0.8, WHOLE),
    ],
)
def test_a_part_moves_with_its_clip(part: Part, rate: float, expected: Part) -> None:
    assert stretched(part, rate) == pytest.approx(expected)
