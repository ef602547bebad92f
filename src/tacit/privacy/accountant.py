"""The accountant: what a sequence of releases may have told, as (epsilon, delta).

Privacy loss distributions (dp-accounting, [Doroshenko22] arXiv:2207.04380) give the bound; Renyi divergences
([Mironov17] arXiv:1702.07476) a second, looser one from other code, beside which it is held. All bounds are upper ones.
For Skellam noise no privacy loss distribution is known: where it was added, the second is the bound.

Three relations between neighbouring populations of n units:

- zero-out: one unit's data are replaced by nothing; n is public. A clipped sum moves by at most C.
- add-remove: one unit is added or removed. The same numbers where n is not used.
- replace-one: one unit's data are replaced by any others. A clipped sum moves by at most 2 C.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tacit.errors import UsageError
from tacit.privacy.event import (
    Charges,
    Event,
    FixedSize,
    Gaussian,
    Laplace,
    PoissonSampled,
    Skellam,
    Truncated,
    Unbounded,
    charges,
)
from tacit.privacy.renyi import skellam_divergences

ZERO_OUT, ADD_REMOVE, REPLACE_ONE = "zero-out", "add-remove", "replace-one"
ADJACENCIES = (ZERO_OUT, ADD_REMOVE, REPLACE_ONE)
FINE, COARSE, ROUGH = 2.5e-4, 1e-3, 1e-2
"""Grids of the privacy loss: for statements, for gates, and for searches and progress. All give upper bounds."""
POINTS = 1e5
"""So many points of a grid suffice for the privacy loss of one release: a wider one gets wider steps."""
QUICK_STAGES = ((1.5, *map(float, range(2, 17))), (20.0, 24.0, 32.0, 40.0, 48.0, 63.0))
"""Renyi orders for searches: fewer give a larger bound, and for sampling of a fixed size many times sooner."""
STAGES = (
    tuple(tenths / 10 for tenths in range(11, 110)),
    tuple(map(float, range(11, 64))),
    (128.0, 256.0, 512.0, 1024.0),
)
"""All Renyi orders, those of dp-accounting, in the order in which they are tried. High ones take the longest, and are
left out once the best is found: epsilon is `(K(a) + log(1 / delta) + (a - 1) log(a - 1) - a log a) / (a - 1)` for the
order a, with the cumulant generating function K of the privacy loss; a convex function over a positive linear one is
quasi-convex, so a minimum within a stage is that of all orders."""
QUIETEST, LOUDEST, LOUDEST_FIXED = 1e-3, 1e100, 1e6
"""Noise multipliers between which dp-accounting is asked. Below, a single release costs hundred thousands, and numbers
overflow, some of them unseen: there is no bound. Above, less noise is told, which is a bound as well: squares would
overflow, and for sampling of a fixed size differences of rounded numbers fall below 0."""
WIDEST = 1.0
"""A grid that would need wider steps says nothing: losses are in the hundred thousands."""
MOST_EPSILON = 1e6
"""Beyond this the answer is infinity: it promises nothing."""


@dataclass(frozen=True)
class Spent:
    """What releases may have told.

    Attributes:
        epsilon: the smallest bound that is known; infinite where there is none.
        pld: by privacy loss distributions; infinite where there is Skellam noise.
        rdp: by Renyi divergences; None where no such bound is known.
        delta: of all of them.
    """

    epsilon: float
    pld: float
    rdp: float | None
    delta: float


def spent(all_charges: Charges, delta: float, adjacency: str = ZERO_OUT, *, interval: float = FINE) -> Spent:
    """The composition of all charges by both accountants.

    Args:
        all_charges: events with how often each happened.
        delta: probability with which the bound may fail, in (0, 1).
        adjacency: one of `ADJACENCIES`.
        interval: grid of the privacy loss.
    """
    by_pld, by_rdp = (
        pld_epsilon(all_charges, delta, adjacency, interval=interval),
        rdp_epsilon(all_charges, delta, adjacency, quick=False),
    )
    if _has(all_charges, Skellam):
        return Spent(_with_skellam(all_charges, delta, adjacency, interval), by_pld, by_rdp, delta)
    known = [by_pld] if by_rdp is None or not _is_bound(all_charges) else [by_pld, by_rdp]
    return Spent(min(known), by_pld, by_rdp, delta)


def most(all_charges: Charges, delta: float, adjacency: str = ZERO_OUT, *, interval: float = COARSE) -> float:
    """The epsilon of `spent`, without the second opinion where it could not be the smaller one."""
    if _has(all_charges, Skellam):
        return _with_skellam(all_charges, delta, adjacency, interval)
    by_pld = pld_epsilon(all_charges, delta, adjacency, interval=interval)
    if not _has(all_charges, FixedSize):
        return by_pld
    by_rdp = rdp_epsilon(all_charges, delta, adjacency, quick=interval >= ROUGH)
    return by_pld if by_rdp is None else min(by_pld, by_rdp)


def _with_skellam(all_charges: Charges, delta: float, adjacency: str, interval: float) -> float:
    """Epsilon where some of the noise is Skellam: by Renyi divergences of everything, if these bound the rest as well.

    If they do not (a cap, or Poisson sampling under replace-one), the rest goes by its privacy loss distribution, half
    of delta is given to each, and their epsilons add up.
    """
    if _has(all_charges, Unbounded):
        return math.inf
    _require_bound(all_charges, adjacency)
    if _is_bound(all_charges) and (together := rdp_epsilon(all_charges, delta, adjacency)) is not None:
        return together
    parts = [tuple(c for c in all_charges if isinstance(c[0], Skellam) is skellam) for skellam in (True, False)]
    return sum(most(part, delta / 2, adjacency, interval=interval) for part in parts)


def pld_epsilon(all_charges: Charges, delta: float, adjacency: str = ZERO_OUT, *, interval: float = FINE) -> float:
    """Epsilon by privacy loss distributions; in closed form where every event is Gaussian.

    Sampling of a fixed size has no known privacy loss distribution: it counts as no sampling here. Skellam noise has
    none either: infinite.
    """
    if _has(all_charges, Unbounded):
        return math.inf
    _require_bound(all_charges, adjacency)
    if _has(all_charges, Skellam):
        return math.inf
    plain = _without_fixed(all_charges)
    if all(isinstance(event, Gaussian) for event, _ in plain):
        return gaussian_epsilon(math.sqrt(sum(n * _square(1 / e.noise) for e, n in plain)), delta, adjacency)
    return _numeric_epsilon(plain, delta, adjacency, interval)


@lru_cache(maxsize=256)
def _numeric_epsilon(plain: Charges, delta: float, adjacency: str, interval: float) -> float:
    interval = _grid(plain, adjacency, interval)
    if interval > WIDEST:
        return math.inf
    return _finite(_pld(plain, adjacency, interval).get_epsilon_for_delta(delta))


@lru_cache(maxsize=256)
def rdp_epsilon(all_charges: Charges, delta: float, adjacency: str = ZERO_OUT, *, quick: bool = False) -> float | None:
    """Epsilon by Renyi divergences; None where no bound is known (Poisson sampling under replace-one).

    The cap of a truncated Poisson sample is not in it: where the cap is safe that changes nothing, and the value is a
    second opinion rather than a bound. `quick` takes few orders, which gives a bound that may be a little larger.
    """
    import dp_accounting
    from dp_accounting import rdp

    if _has(all_charges, Unbounded):
        return math.inf
    relation = dp_accounting.NeighboringRelation
    sampled = _has(all_charges, PoissonSampled, Truncated)
    fixed, skellam = _has(all_charges, FixedSize), _has(all_charges, Skellam)
    if sampled and (adjacency == REPLACE_ONE or fixed):
        return None
    # dp-accounting's RDP accountant takes the noise relative to the distance of neighbours, 2 C where one unit is
    # replaced, and its PLD accountant relative to C. What holds for any replacement holds for one by nothing.
    halved = adjacency == REPLACE_ONE or fixed
    if any(event.noise < QUIETEST for event, _ in all_charges):
        return math.inf
    relation = relation.REPLACE_ONE if halved else relation.ADD_OR_REMOVE_ONE
    best = math.inf
    with _muted():
        for orders in QUICK_STAGES if quick else STAGES:
            accountant = rdp.RdpAccountant(orders=orders, neighboring_relation=relation)
            for event, count in all_charges:
                if not isinstance(event, Skellam):
                    accountant.compose(_rdp_event(event, 0.5 if halved else 1.0), count)
            curve = accountant.rdp + [skellam_divergences(all_charges, a, _distance(adjacency)) for a in orders]
            epsilon, order = rdp.compute_epsilon(orders, curve, delta)
            best = min(best, float(epsilon))
            if math.isfinite(epsilon) and order < orders[-1] and not skellam:  # its bound is the smaller of two
                break
    return _finite(best)


@contextmanager
def _muted() -> Iterator[None]:
    """Keeps absl from telling of orders that dp-accounting leaves out, and of divergences that round to below 0."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def gaussian_epsilon(mu: float, delta: float, adjacency: str = ZERO_OUT) -> float:
    """Epsilon of Gaussian releases in closed form, [Balle18] arXiv:1805.06530, theorem 8.

    Args:
        mu: `sqrt(sum 1 / z^2)` over the releases.
        delta: see `spent`.
        adjacency: see `spent`.
    """
    from scipy.optimize import brentq

    distance = mu * _distance(adjacency)
    if distance == 0.0 or gaussian_delta(distance, 0.0) <= delta:
        return 0.0
    high = 1.0
    while gaussian_delta(distance, high) > delta:
        high *= 2
        if high > MOST_EPSILON:
            return math.inf
    found: float = brentq(lambda e: gaussian_delta(distance, e) - delta, 0.0, high, xtol=1e-12, rtol=1e-12)
    return found


def gaussian_delta(mu: float, epsilon: float) -> float:
    """`Phi(mu / 2 - epsilon / mu) - e^epsilon Phi(-mu / 2 - epsilon / mu)`."""
    from scipy.special import log_ndtr, ndtr

    return float(ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))))


def epsilon_by(method: str, all_charges: Charges, delta: float, adjacency: str = ZERO_OUT) -> float:
    """Epsilon by one accountant, "pld" or "rdp".

    Raises:
        UsageError: that accountant knows no bound for these events.
    """
    if method == "pld" and _has(all_charges, Skellam):
        raise UsageError("no privacy loss distribution is known for Skellam noise: take the accountant 'rdp'")
    if method == "pld":
        return pld_epsilon(all_charges, delta, adjacency)
    found = rdp_epsilon(all_charges, delta, adjacency)
    if found is None:
        raise UsageError(f"no Renyi bound is known for Poisson sampling under {adjacency}: take the accountant 'pld'")
    return found


class Curve:
    """Epsilon after t of `rounds` rounds of one event. For progress lines: on a coarse grid, hence quick.

    Args:
        event: of every round.
        rounds: T.
        delta, adjacency: see `spent`.
    """

    def __init__(self, event: Event, rounds: int, delta: float, adjacency: str) -> None:
        self.event, self.rounds, self.delta, self.adjacency = event, rounds, delta, adjacency
        self._last = most(charges([(event, rounds)]), delta, adjacency)

    def __call__(self, rounds: int) -> float:
        """Epsilon after so many rounds."""
        if rounds >= self.rounds:
            return self._last
        so_far = most(charges([(self.event, rounds)]), self.delta, self.adjacency, interval=ROUGH)
        return min(so_far, self._last)


def affordable(
    event: Event, budget: float, delta: float, adjacency: str, before: Charges = (), limit: int = 10**6
) -> int:
    """How many more rounds of `event` a budget of epsilon allows, after `before`."""

    def fits(rounds: int) -> bool:
        together = charges([*before, (event, rounds)])
        return most(together, delta, adjacency) <= budget

    if not fits(1):
        return 0
    low, high = 1, 2
    while high < limit and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _has(all_charges: Charges, *kinds: type[Event]) -> bool:
    return any(isinstance(event, kinds) for event, _ in all_charges)


def _require_bound(all_charges: Charges, adjacency: str) -> None:
    if adjacency == ADD_REMOVE and _has(all_charges, FixedSize):
        raise UsageError(
            "sampling of a fixed size: where a unit is added or removed, cohorts differ in two units, and no bound is "
            f"known; take {ZERO_OUT!r} or {REPLACE_ONE!r}"
        )


def _is_bound(all_charges: Charges) -> bool:
    """Whether the Renyi value bounds the events as they are: it ignores caps."""
    return not _has(all_charges, Truncated)


def _distance(adjacency: str) -> float:
    """Of neighbours, in units of what one unit adds."""
    return 2.0 if adjacency == REPLACE_ONE else 1.0


def _finite(epsilon: float) -> float:
    return epsilon if epsilon <= MOST_EPSILON else math.inf


def _without_fixed(all_charges: Charges) -> Charges:
    return charges((Gaussian(e.noise) if isinstance(e, FixedSize) else e, n) for e, n in all_charges)


def _grid(all_charges: Charges, adjacency: str, interval: float) -> float:
    """`interval`, or what is needed for the privacy losses to fit into memory. Wider steps give a larger bound."""
    distance = _distance(adjacency)
    one, together = 0.0, 0.0
    for event, count in all_charges:
        rate = getattr(event, "rate", 1.0)
        square = _square(distance / event.noise)
        together += count * min(rate**2 * math.expm1(min(square, 100.0)), square)
        one = max(one, square)
    return max(interval, _span(one) / POINTS, _span(together) / (10 * POINTS))


def _square(number: float) -> float:
    """Infinite, and no OverflowError, where it is beyond all floats."""
    return number * number


def _span(square: float) -> float:
    """How wide the privacy loss of Gaussian noise lies, where `mu^2` is `square`."""
    return square / 2 + 10 * math.sqrt(square)


def _pld(all_charges: Charges, adjacency: str, interval: float) -> Any:
    parts = [_one_pld(event, adjacency, interval, count) for event, count in all_charges]
    composed = parts[0]
    for part in parts[1:]:
        composed = composed.compose(part)
    return composed


def _one_pld(event: Event, adjacency: str, interval: float, count: int) -> Any:
    if isinstance(event, Gaussian):
        return _sampled_pld(Gaussian(event.noise / math.sqrt(count)), adjacency, interval)
    return _sampled_pld(event, adjacency, interval).self_compose(count)


@lru_cache(maxsize=32)
def _sampled_pld(event: Event, adjacency: str, interval: float) -> Any:
    import dp_accounting
    from dp_accounting.pld import privacy_loss_distribution as distributions

    relations = dp_accounting.NeighboringRelation
    relation = {
        ZERO_OUT: relations.REPLACE_SPECIAL,
        ADD_REMOVE: relations.ADD_OR_REMOVE_ONE,
        REPLACE_ONE: relations.REPLACE_ONE,
    }[adjacency]
    noise = min(event.noise, LOUDEST)
    if isinstance(event, Laplace):
        return distributions.from_laplace_mechanism(noise, _distance(adjacency), value_discretization_interval=interval)
    if isinstance(event, Truncated):
        return distributions.from_truncated_subsampled_gaussian_mechanism(
            dataset_size=event.units,
            sampling_probability=event.rate,
            truncated_batch_size=event.cap,
            noise_multiplier=noise,
            value_discretization_interval=interval,
            neighboring_relation=relation,
        )
    rate = event.rate if isinstance(event, PoissonSampled) else 1.0
    return distributions.from_gaussian_mechanism(
        standard_deviation=noise,
        value_discretization_interval=interval,
        sampling_prob=rate,
        neighboring_relation=relation,
    )


def _rdp_event(event: Event, scale: float) -> Any:
    import dp_accounting

    noise = min(event.noise, LOUDEST_FIXED if isinstance(event, FixedSize) else LOUDEST)
    if isinstance(event, Laplace):
        return dp_accounting.LaplaceDpEvent(noise * scale)
    inner = dp_accounting.GaussianDpEvent(noise * scale)
    if isinstance(event, PoissonSampled | Truncated):
        return dp_accounting.PoissonSampledDpEvent(event.rate, inner)
    if isinstance(event, FixedSize):
        return dp_accounting.SampledWithoutReplacementDpEvent(event.units, event.size, inner)
    return inner
