"""Neighbours and votes by angles that are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sed_model.scores import neighbours
from sed_model.scores.neighbours import Labelled, alike, centred_directions


def on_circle(*degrees: float) -> np.ndarray:
    """Unit vectors and their opposites, so that the mean of all is 0: the second half are the opposites."""
    angles = np.radians(degrees)
    half = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.concatenate([half, -half]).astype(np.float32)


def labelled(labels: str, authors: str | None = None, further: dict[int, tuple[str, ...]] | None = None) -> Labelled:
    """A letter a recording; authors are all different if not given."""
    own = [chr(200 + place) for place in range(len(labels))] if authors is None else list(authors)
    return Labelled(list(labels), own, [(further or {}).get(place, ()) for place in range(len(labels))])


def test_the_nearest_is_that_of_the_smallest_angle_and_similarity_is_its_cosine() -> None:
    # 0, 10, 30 degrees and their opposites.
    found = alike(on_circle(0, 10, 30), labelled("abcabc"))

    assert [one.nearest for one in found] == [1, 0, 1, 4, 3, 4]
    cosines = np.cos(np.radians([10, 10, 20, 10, 10, 20]))
    np.testing.assert_allclose([one.similarity for one in found], cosines, atol=1e-6)


def test_the_mean_of_all_is_taken_off_first() -> None:
    embeddings = on_circle(0, 90)
    moved = embeddings * np.float32(7) + np.array([3, -2], np.float32)
    np.testing.assert_allclose(centred_directions(moved), embeddings, atol=1e-6)


def test_what_is_the_mean_has_no_direction() -> None:
    assert (centred_directions(np.ones((3, 2), np.float32)) == 0).all()


def test_the_share_counts_the_nearest_of_other_authors() -> None:
    # Beside the first are its author's b (never asked), then b, a, b of others, and far away another a.
    embeddings = on_circle(0, 1, 2, 3, 4, 90)
    known = labelled("abbabaaaaaaa", "xxyyyyzzzzzz")

    first = alike(embeddings, known, n_votes=3)[0]

    assert (first.nearest, first.suggested_label) == (1, "b")
    assert first.same_label_share == pytest.approx(1 / 3)


def test_where_no_other_author_has_the_label_all_vote() -> None:
    # The two a are of one author; by others alone, both would seem mislabelled.
    found = alike(on_circle(0, 1, 2, 3), labelled("aabbbbbb", "xxyzyzyz"), n_votes=1)
    assert (found[0].same_label_share, found[0].suggested_label) == (1.0, None)


def test_a_label_of_one_recording_is_not_judged() -> None:
    found = alike(on_circle(0, 1), labelled("abbb"), n_votes=2)
    assert (found[0].same_label_share, found[0].suggested_label) == (None, None)
    assert found[0].nearest == 1


def test_no_other_label_is_suggested_at_a_tie_nor_one_that_is_also_heard_in_it() -> None:
    embeddings = on_circle(0, 1, 2, 3)
    tie = alike(embeddings, labelled("ababaaaa"), n_votes=2)[0]
    second = alike(embeddings, labelled("abbaaaaa", further={0: ("b",)}), n_votes=2)[0]
    plain = alike(embeddings, labelled("abbaaaaa"), n_votes=2)[0]

    assert (tie.same_label_share, tie.suggested_label) == (0.5, None)
    assert (second.same_label_share, second.suggested_label) == (0.0, None)
    assert plain.suggested_label == "b"


def test_at_a_tie_of_others_the_nearest_ones_label_is_suggested() -> None:
    assert alike(on_circle(0, 1, 2, 30), labelled("acbaaaaa"), n_votes=2)[0].suggested_label == "c"


def test_a_single_recording_has_no_neighbour() -> None:
    (one,) = alike(np.ones((1, 3), np.float32), labelled("a"))
    assert (one.nearest, one.similarity, one.same_label_share) == (None, None, None)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    known = labelled("abcde" * 10, "vwxyz" * 5 + "zyxwv" * 5)
    whole = alike(embeddings, known)

    monkeypatch.setattr(neighbours, "BLOCK_ROWS", 7)
    in_blocks = alike(embeddings, known)

    assert [one.nearest for one in in_blocks] == [one.nearest for one in whole]
    assert [one.same_label_share for one in in_blocks] == [one.same_label_share for one in whole]
    assert [one.suggested_label for one in in_blocks] == [one.suggested_label for one in whole]
