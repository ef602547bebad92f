"""Lower bounds of epsilon, from the scores of canaries of which a coin said whether they took part.

A score says how much of a canary there is in what was released. Four estimators turn scores and coins into an epsilon
below which the truth does not lie, each with a confidence of its own:

- `one_run` guesses the coins of the canaries with extreme scores, and assumes nothing ([Steinke23] arXiv:2305.08846).
- `gaussian_fit` takes scores to be normal with a common spread, and is much tighter ([Andrew24] arXiv:2302.03098).
- `worst_canary` makes that assumption too, and looks for a single canary that leaks more than the others.
- `worst_round` makes it too, and looks for a single round that leaks more than all of them may.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from tacit.privacy.accountant import MOST_EPSILON, gaussian_epsilon

Real = NDArray[np.float64]
Coins = NDArray[np.bool_]

GUESSES = (0.875, 0.25, 0.0625)
"""Shares of the canaries that are guessed; the best counts, and all of them share the chance to err (Bonferroni). As
many are said to have taken part as not to have, so with all of them guessed uneven coins alone would make mistakes."""
HALVINGS = 40


@dataclass(frozen=True)
class OneRun:
    """What guessing showed.

    Attributes:
        lower: epsilon is at least this.
        guesses, correct: with which it was shown.
    """

    lower: float
    guesses: int
    correct: int


@dataclass(frozen=True)
class Fit:
    """What a fit showed.

    Attributes:
        point: the epsilon of `mu`; None where there is no estimate.
        lower: epsilon is at least this.
        mu: how far those that took part lie from the others, in standard deviations of a score.
        mu_lower: its lower end.
    """

    point: float | None
    lower: float
    mu: float
    mu_lower: float


def p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """How probable so many correct guesses are at most, if the mechanism is (epsilon, delta)-private.

    [Steinke23] arXiv:2305.08846, the main theorem for approximate privacy: with `B ~ Binomial(r, e^eps / (1 + e^eps))`
    the chance of v or more is at most `P[B >= v] + 2 m delta max_i P[v > B >= v - i] / i`.

    Args:
        canaries: m, each included by a fair coin of its own.
        guesses: r, of all others the auditor abstains.
        correct: v.
        epsilon, delta: of the claim that is held against the guesses.
    """
    from scipy.special import expit
    from scipy.stats import binom

    chance = expit(epsilon)
    at_least = float(binom.sf(correct - 1, guesses, chance))
    if not correct or not delta:
        return min(at_least, 1.0)
    below = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, chance))
    alpha = float((below / np.arange(1, correct + 1)).max())
    return min(at_least + 2 * canaries * delta * alpha, 1.0)


def guessing_bound(canaries: int, guesses: int, correct: int, delta: float, confidence: float = 0.95) -> float:
    """The largest epsilon that so many correct guesses refute (see `p_value`); 0 where they refute none.

    With `correct == guesses` it is the most that so many guesses can show.
    """
    level = 1 - confidence

    def refuted(epsilon: float) -> bool:
        return p_value(canaries, guesses, correct, epsilon, delta) <= level

    if not refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while refuted(high):
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def one_run(scores: Real, included: Coins, delta: float, confidence: float = 0.95) -> OneRun:
    """The bound by guessing: the highest scores took part, the lowest did not, and between them the auditor abstains.

    It holds for every mechanism, canary and score, as long as the coins are fair and independent and the scores follow
    from them through the mechanism alone.

    Args:
        scores: (m,).
        included: (m,) the coins.
        delta: of the claim.
        confidence: with which the bound holds, over all shares of `GUESSES` together.
    """
    order, m, found = np.argsort(scores, kind="stable"), len(scores), list[OneRun]()
    for half in _halves(m):
        correct = int(included[order[-half:]].sum() + (~included[order[:half]]).sum())
        found.append(OneRun(guessing_bound(m, 2 * half, correct, delta, _each(confidence)), 2 * half, correct))
    return max(found, key=lambda one: one.lower)


def most_shown(canaries: int, delta: float, confidence: float = 0.95) -> float:
    """The most that `one_run` can show with so many canaries: every guess is right."""
    return max(guessing_bound(canaries, 2 * half, 2 * half, delta, _each(confidence)) for half in _halves(canaries))


def gaussian_fit(scores: Real, included: Coins, delta: float, confidence: float = 0.95) -> Fit:
    """The bound by a fit: scores as of the Gaussian mechanism of distance mu, turned to epsilon in closed form.

    Assumes that scores of those that took part, and of those that did not, are normal, independent, and of the same
    spread, which is that of canaries with orthogonal directions in Gaussian noise. What else there is in the scores
    (the data of others, sampling of the canaries) widens the spread and makes mu smaller; where cohorts are sampled
    the closed form gives less than the truth. The lower end of mu is that of a standardised difference of means with
    its large-sample standard error, `sqrt(1 / m_1 + 1 / m_0 + mu^2 / 2 (m - 2))` ([Hedges81] doi:10.2307/1164588).

    Args:
        scores, included, delta: see `one_run`; at least two canaries on either side.
        confidence: of the lower end.
    """
    mu, low = _distance(scores, included, confidence)
    return Fit(_epsilon(max(mu, 0.0), delta), _epsilon(low, delta), mu, low)


def worst_round(scores: Real, included: Coins, delta: float, confidence: float = 0.95) -> Fit:
    """The bound by the round that stands out most, each with a fit of its own.

    A round without noise makes the sum of all rounds hardly less noisy, and gives away all that is in it.

    Args:
        scores: (T, m), a row for each round.
        included, delta: see `gaussian_fit`.
        confidence: with which the bound holds for all rounds together (Bonferroni).
    """
    each = 1 - (1 - confidence) / len(scores)
    mu, low = max((_distance(row, included, each) for row in scores), key=lambda pair: pair[1])
    return Fit(None, _epsilon(low, delta), mu, low)


def worst_canary(scores: Real, included: Coins, delta: float, confidence: float = 0.95) -> Fit:
    """The bound by the one canary that stands out most: a fault that strikes few clients does not move the means.

    Each of those that took part is held against the mean and spread of those that did not, with the same assumption
    as `gaussian_fit`, and pays for being the largest of m_1 (Bonferroni). In a mechanism as it should be this gives
    little, for the bound allows for the luckiest draw of noise.

    Args:
        scores, included, delta: see `one_run`; at least two canaries on either side.
        confidence: with which the bound holds for all canaries together.
    """
    from scipy.stats import chi2, norm

    took, others = scores[included], scores[~included]
    free, level = len(others) - 1, (1 - confidence) / 2
    spread = float(others.std(ddof=1)) * sqrt(free / float(chi2.ppf(level, free)))
    mu = _ratio(float(took.max() - others.mean()), spread)
    low = max(mu - float(norm.isf(level / len(took))) * sqrt(1 + 1 / len(others)), 0.0)
    return Fit(None, _epsilon(low, delta), mu, low)


def _halves(canaries: int) -> list[int]:
    """For each share, how many are guessed on either side."""
    return [max(int(canaries * share) // 2, 1) for share in GUESSES]


def _each(confidence: float) -> float:
    """The confidence of one share."""
    return 1 - (1 - confidence) / len(GUESSES)


def _distance(scores: Real, included: Coins, confidence: float) -> tuple[float, float]:
    """The standardised difference of means, and its lower end."""
    from scipy.stats import norm

    took, others = scores[included], scores[~included]
    free = len(scores) - 2
    spread = sqrt((took.var() * len(took) + others.var() * len(others)) / free)
    mu = _ratio(float(took.mean() - others.mean()), spread)
    error = 0.0 if mu == inf else sqrt(1 / len(took) + 1 / len(others) + mu**2 / (2 * free))
    return mu, max(mu - float(norm.isf(1 - confidence)) * error, 0.0)


def _ratio(difference: float, spread: float) -> float:
    """`difference / spread`; without any spread, infinite where there is a difference."""
    if spread > 0:
        return difference / spread
    return inf if difference > 0 else 0.0


def _epsilon(mu: float, delta: float) -> float:
    """Epsilon at distance mu; at most what the accountant tells from infinity."""
    if mu > MOST_EPSILON**0.5 * 2:
        return MOST_EPSILON
    return min(gaussian_epsilon(mu, delta), MOST_EPSILON)
