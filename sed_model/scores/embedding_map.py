"""A map of embeddings: what is alike lies together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

N_COMPONENTS = 50
LEAST_FOR_TSNE = 10
PERPLEXITY = 30.0
MAX_MAPPED = 3_000
"""t-SNE takes half a minute for so many, and a page has to draw them."""


def map_of(embeddings: Float32[np.ndarray, "n dim"], seed: int) -> Float32[np.ndarray, "n 2"]:
    """Places on a plane; NaN for all but MAX_MAPPED, which the seed draws.

    PCA, and after it t-SNE where LEAST_FOR_TSNE are there.
    """
    places = np.full((len(embeddings), 2), np.nan, np.float32)
    chosen = np.arange(len(embeddings))
    if len(chosen) > MAX_MAPPED:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, MAX_MAPPED, replace=False))
    places[chosen] = _plane(embeddings[chosen].astype(np.float32), seed)
    return places


def _plane(embeddings: Float32[np.ndarray, "n dim"], seed: int) -> Float32[np.ndarray, "n 2"]:
    n, dim = embeddings.shape
    plane = np.zeros((n, 2), np.float32)
    if n < 2 or not np.ptp(embeddings, axis=0).any():  # all are one: PCA would divide by their spread
        return plane
    from sklearn.decomposition import PCA  # a second, which a probe alone needs
    from sklearn.manifold import TSNE

    components = PCA(min(N_COMPONENTS, n, dim), random_state=seed).fit_transform(embeddings)
    if n < LEAST_FOR_TSNE or dim < 2:
        plane[:, : min(2, components.shape[1])] = components[:, :2]
        return plane
    perplexity = min(PERPLEXITY, (n - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(components).astype(np.float32)
