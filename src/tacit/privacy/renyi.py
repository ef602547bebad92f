"""Renyi divergences of mechanisms that dp-accounting does not know."""

from __future__ import annotations

import math

from tacit.privacy.event import Charges, Skellam


def skellam_divergence(event: Skellam, order: float, distance: float = 1.0) -> float:
    """A bound on the Renyi divergence of neighbours under Skellam noise, [Agarwal21] arXiv:2110.04995, theorem 3.5.

    With mu the noise's variance, and D2 and D1 the largest Euclidean and 1-norm of a difference, it is
    `a D2^2 / (2 mu) + min(((2 a - 1) D2^2 + 6 D1) / (4 mu^2), 3 D1 / (2 mu))` for whole orders a. Between two of them
    `(a - 1)` times the divergence, a convex function of a that is 0 for a = 1, lies below the straight line.

    Args:
        event: the release.
        order: a, above 1.
        distance: of neighbours, in units of what one unit adds: 2 where one is replaced by any other.
    """
    below = math.floor(order)
    if below < order:
        lower = (below - 1) * skellam_divergence(event, below, distance) if below > 1 else 0.0
        upper = below * skellam_divergence(event, below + 1, distance)
        return (lower + (order - below) * (upper - lower)) / (order - 1)
    deviation = event.noise * event.l2
    square, absolute = (distance / event.noise) ** 2, distance * (event.l1 / deviation / deviation)
    second = ((2 * order - 1) * square + 6 * absolute) / 4 / deviation / deviation
    return order * square / 2 + min(second, 1.5 * absolute)


def skellam_divergences(all_charges: Charges, order: float, distance: float = 1.0) -> float:
    """The sum of `skellam_divergence` over all charges of that kind."""
    each = ((event, count) for event, count in all_charges if isinstance(event, Skellam))
    return sum(count * skellam_divergence(event, order, distance) for event, count in each)
