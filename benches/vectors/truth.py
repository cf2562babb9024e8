"""Exact neighbours, and how alike two sets of vectors are."""

import numpy as np

NEIGHBOURS = 100
# Candidates kept by f32 before f64 puts them in order.
KEPT = 160
BLOCK = 50_000


def nearest(base: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The rows of `base` nearest to each query, the nearest first."""
    scores = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(base), BLOCK):
        block = queries @ base[start : start + BLOCK].T
        kept = min(KEPT, block.shape[1])
        best = np.argpartition(-block, kept - 1, axis=1)[:, :kept]
        scores = np.concatenate([scores, np.take_along_axis(block, best, 1)], 1)
        rows = np.concatenate([rows, best + start], 1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :KEPT]
        scores, rows = np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)
    out = np.empty((len(queries), NEIGHBOURS), np.uint32)
    for at, query in enumerate(queries):
        exact = base[rows[at]].astype(np.float64) @ query.astype(np.float64)
        out[at] = rows[at][np.lexsort((rows[at], -exact))][:NEIGHBOURS]
    return out


def likeness(vectors: np.ndarray) -> tuple[float, float]:
    """The effective dimension, which is the participation ratio of the
    covariance's eigenvalues, and the mean cosine to the nearest other one."""
    values = np.linalg.eigvalsh(np.cov(vectors.astype(np.float64), rowvar=False))
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -1)
    return float(values.sum() ** 2 / (values**2).sum()), float(scores.max(1).mean())
