"""Maps: groups stay together, the seed decides, and what has no spread is drawn all the same."""

from __future__ import annotations

import numpy as np
import pytest

from sed_model.scores import embedding_map
from sed_model.scores.embedding_map import map_of


def two_groups(n_each: int, dim: int = 8) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(2 * n_each, dim))
    noise[n_each:, 0] += 100
    return noise.astype(np.float32)


@pytest.mark.parametrize("n_each", [4, 15], ids=["PCA", "t-SNE"])
def test_groups_lie_apart(n_each: int) -> None:
    places = map_of(two_groups(n_each), seed=0)

    first, second = places[:n_each], places[n_each:]
    gap = np.linalg.norm(first[:, None] - second[None], axis=-1).min()
    assert gap > max(np.linalg.norm(group[:, None] - group[None], axis=-1).max() for group in (first, second))


def test_few_recordings_are_drawn_by_their_two_main_directions() -> None:
    # Along the first axis -3, 0, 3, along the second 1, -2, 1: uncorrelated, so that PCA only sorts them.
    corners = np.array([[1, -3, 0], [-2, 0, 0], [1, 3, 0]], np.float32)
    np.testing.assert_allclose(np.abs(map_of(corners, seed=0)), [[3, 1], [0, 2], [3, 1]], atol=1e-5)


def test_the_same_seed_draws_the_same_map() -> None:
    embeddings = two_groups(10)
    np.testing.assert_array_equal(map_of(embeddings, seed=3), map_of(embeddings, seed=3))


def test_beyond_the_limit_some_are_drawn_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_map, "MAX_MAPPED", 6)
    first, again, other = (np.isfinite(map_of(two_groups(20), seed)).all(axis=1) for seed in (0, 0, 1))

    assert first.sum() == other.sum() == 6
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize(("n", "dim"), [(1, 3), (2, 1), (12, 1), (12, 3)])
def test_what_is_all_alike_lies_in_one_place(n: int, dim: int) -> None:
    assert (map_of(np.ones((n, dim), np.float32), seed=0) == 0).all()


def test_one_number_a_recording_is_a_line() -> None:
    places = map_of(np.arange(12, dtype=np.float32)[:, None], seed=0)
    np.testing.assert_allclose(np.abs(places[:, 0]), np.abs(np.arange(12) - 5.5), atol=1e-5)
    assert (places[:, 1] == 0).all()
