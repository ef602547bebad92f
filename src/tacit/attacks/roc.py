"""Receiver operating characteristics of an attack, and the region that differential privacy keeps it in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray

from tacit import keys

Real = NDArray[np.float64]
Coins = NDArray[np.bool_]

DRAWS = 500
LOW = (0.01, 0.001)
"""False positive rates at which an attack is judged: it is dangerous where it is sure of a few ([Carlini22])."""


@dataclass(frozen=True)
class Roc:
    """A curve and its numbers.

    Attributes:
        fpr, tpr: of every threshold, from the strictest on; both begin with 0 and end with 1.
        auc: area under the curve.
        interval: 95 % of it, by bootstrap over clients.
        at: false positive rate of `LOW` -> true positive rate.
        members, others: how many of each kind were judged.
    """

    fpr: Real
    tpr: Real
    auc: float
    interval: tuple[float, float]
    at: dict[float, float]
    members: int
    others: int

    @classmethod
    def of(cls, scores: Real, members: Coins, *, seed: int = 0) -> Roc:
        """The curve of scores (M, N) of N clients for M models; NaN is left out.

        Args:
            scores: more speaks for membership.
            members: (M, N), the truth.
            seed: of the bootstrap.
        """
        known = np.isfinite(scores)
        fpr, tpr = curve(scores[known], members[known])
        draws = keys.generator(seed, "attack", "bootstrap").integers(scores.shape[1], size=(DRAWS, scores.shape[1]))
        areas = [area(scores[:, of][known[:, of]], members[:, of][known[:, of]]) for of in draws]
        low, high = np.nanquantile(areas, [0.025, 0.975])
        return cls(
            fpr,
            tpr,
            area(scores[known], members[known]),
            (float(low), float(high)),
            {rate: tpr_at(fpr, tpr, rate) for rate in LOW},
            int(members[known].sum()),
            int((~members[known]).sum()),
        )


def curve(scores: Real, members: Coins) -> tuple[Real, Real]:
    """False and true positive rates, (n + 1,) each, where whoever scores at least a threshold is called a member."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found = [np.concatenate([[0], np.cumsum(kind[order])[ends]]) / max(kind.sum(), 1) for kind in (~members, members)]
    return found[0], found[1]


def area(scores: Real, members: Coins) -> float:
    """The probability that a member scores higher than another, ties counting half; NaN where one kind is missing."""
    from scipy.stats import rankdata

    inside, outside = int(members.sum()), int((~members).sum())
    if not inside or not outside:
        return float("nan")
    ranks = rankdata(scores)[members].sum()
    return float((ranks - inside * (inside + 1) / 2) / (inside * outside))


def tpr_at(fpr: Real, tpr: Real, rate: float) -> float:
    """The highest true positive rate at a false positive rate of at most `rate`."""
    return float(tpr[fpr <= rate].max())


def bound(fpr: Sequence[float] | Real, epsilon: float, delta: float) -> Real:
    """The highest true positive rate that (epsilon, delta)-DP leaves to any attack.

    `min(e^eps FPR + delta, 1 - e^-eps (1 - delta - FPR), 1)` ([Kairouz15] arXiv:1311.0776).
    """
    rates = np.asarray(fpr, dtype=np.float64)
    grown = exp(min(epsilon, 700.0)) * rates + delta
    found: Real = np.minimum(np.minimum(grown, 1 - exp(-epsilon) * (1 - delta - rates)), 1.0)
    return found
