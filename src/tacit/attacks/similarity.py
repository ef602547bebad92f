"""How near what was recovered comes to what is true: cosine, PSNR, SSIM, and who is matched with whom."""

from __future__ import annotations

from math import log10

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]

K1, K2, WINDOW = 0.01, 0.03, 7
"""Of [Wang04] doi:10.1109/TIP.2003.819861; the window is square and uniform."""


def cosine(a: Real, b: Real) -> Real:
    """(r, n) cosines between rows of a (r, F) and of b (n, F); 0 where a row is all zeros."""
    rows, columns = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    scale = np.outer(rows, columns)
    return np.divide(a @ b.T, scale, out=np.zeros_like(scale), where=scale > 0)


def matched(recovered: Real, true: Real) -> NDArray[np.int64]:
    """(r,) which row of `true` (n, F), n >= r, each row of `recovered` (r, F) stands for: best matching by cosine."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(-cosine(recovered, true))
    return np.asarray(columns[np.argsort(rows)], dtype=np.int64)


def psnr(recovered: Real, true: Real, span: float = 1.0) -> float:
    """Peak signal-to-noise ratio in decibels of two arrays whose values span `span`; at most 100."""
    error = float(np.mean((recovered - true) ** 2))
    return min(10 * log10(span**2 / max(error, 1e-20)), 100.0)


def ssim(recovered: Real, true: Real, span: float = 1.0) -> float:
    """Structural similarity of two images (H, W), mean over windows; 1 for equal ones."""
    from scipy.ndimage import uniform_filter

    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    a, b = uniform_filter(recovered, WINDOW), uniform_filter(true, WINDOW)
    aa = unbiased * (uniform_filter(recovered * recovered, WINDOW) - a * a)
    bb = unbiased * (uniform_filter(true * true, WINDOW) - b * b)
    ab = unbiased * (uniform_filter(recovered * true, WINDOW) - a * b)
    found = (2 * a * b + c1) * (2 * ab + c2) / ((a * a + b * b + c1) * (aa + bb + c2))
    edge = WINDOW // 2
    return float(found[edge:-edge, edge:-edge].mean())


def share_of_top(recovered: Real, true: Real, most: int = 10) -> float:
    """The share of the largest entries of `true` (F,), at most so many and only positive, that `recovered` also has."""
    count = min(most, int((true > 0).sum()))
    if count == 0:
        return 0.0
    best, found = np.argsort(-true, kind="stable")[:count], np.argsort(-recovered, kind="stable")[:count]
    return len(np.intersect1d(best, found)) / count


def overlap(guessed: NDArray[np.int64], true: NDArray[np.int64]) -> float:
    """The share of labels that two lists have in common, each counted as often as it occurs: 1 for the same lists.

    Lists of unequal length are compared as frequencies.
    """
    classes = int(max(guessed.max(initial=0), true.max(initial=0))) + 1
    a, b = (np.bincount(labels, minlength=classes) / max(len(labels), 1) for labels in (guessed, true))
    return float(np.minimum(a, b).sum())
