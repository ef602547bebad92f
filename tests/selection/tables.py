"""Tables of clients for tests: random ones, and what a rule draws over many rounds."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy.stats import binom, chi2

from tacit.selection.cohort import Everyone, Poisson, Separated, Uniform
from tacit.selection.eligible import Eligible
from tacit.selection.oort import Oort
from tacit.selection.overselected import OverSelected
from tacit.selection.power_of_choice import PowerOfChoice
from tacit.selection.quota import Quota
from tacit.selection.spaced import Spaced
from tacit.selection.table import ClientTable
from tacit.selection.tiers import Tiers

RULES = [
    Everyone(),
    Uniform(3),
    Poisson(3, cap=4),
    Separated(3),
    Eligible(Uniform(3), memory=2000, charging=True, version=1, slowest=0.2, unreliable=0.2),
    Eligible(Poisson(3), unmetered=True),
    Spaced(Uniform(2), gap=3, most=4),
    Spaced(Eligible(Poisson(2), memory=1000), gap=2),
    OverSelected(2),
    Tiers(3),
    Oort(3),
    PowerOfChoice(2, 5),
    PowerOfChoice(2, 5, stale=True),
    Quota(3),
]


def random_table(seed: int, clients: int, rounds: int = 30, there: float = 0.7) -> ClientTable:
    """Clients of whom much is known, but not all, after `rounds` rounds; each in the pool with probability `there`."""
    rng = np.random.default_rng(seed)
    some = lambda column: np.where(rng.random(clients) < 0.8, column, np.nan)  # noqa: E731
    table = ClientTable.of(
        clients,
        pool=rng.random(clients) < there,
        seconds=some(np.exp(rng.normal(size=clients))),
        memory=some(rng.uniform(500, 4000, clients)),
        flags=rng.integers(0, 4, clients).astype(np.uint8),
        version=rng.integers(0, 3, clients),
        tier=rng.integers(0, 3, clients),
        examples=rng.integers(0, 50, clients),
    )
    for round in range(rounds):
        asked = rng.choice(clients, min(4, clients), replace=False)
        counted = asked[rng.random(len(asked)) < 0.8]
        table.observe(round, asked, counted, rng.exponential(size=len(counted)))
        table.observe_tier(round, int(rng.integers(0, len(table.tier_loss))), float(rng.exponential()))
    return table


tables = st.builds(
    random_table, st.integers(0, 2**32), st.integers(9, 40), st.integers(0, 30), st.sampled_from([0.0, 0.1, 0.7, 1.0])
)


def frequencies(rule, table: ClientTable, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """What `rule` declares and how often it draws, over `draws` seeds in the same round.

    Returns:
        (N,) declared probabilities, NaN for clients that never came up, and (N,) counts.
    """
    declared, counts = np.full(len(table), np.nan), np.zeros(len(table))
    for seed in range(draws):
        cohort = rule.choose(table, seed, 30)
        known = declared[cohort.clients]
        assert np.isnan(known).all() or np.allclose(known[~np.isnan(known)], cohort.inclusion[~np.isnan(known)])
        declared[cohort.clients] = cohort.inclusion
        counts[cohort.clients] += 1
    return declared, counts


def assert_frequent(counts: np.ndarray, chances: np.ndarray, draws: int, error: float = 1e-4) -> None:
    """Holds each count against its binomial distribution, whatever the counts have to do with each other.

    A right rule fails with probability `error` at most, by the union bound over clients and tails; chances of 0 and 1
    are held exactly. Seeds are fixed, so it does not fail by chance.
    """
    chances = np.where(chances > 1 - 1e-12, 1.0, chances)
    tails = np.minimum(binom.cdf(counts, draws, chances), binom.sf(counts - 1, draws, chances))
    assert tails.min() > error / (2 * len(counts))


def assert_pearson(counts: np.ndarray, chance: float, draws: int, *, fixed: bool, error: float = 1e-4) -> None:
    """Pearson's test that n clients are drawn with one chance, in cohorts of a fixed size or by independent coins.

    A right rule fails with probability `error`, half of it for counts that are too even.
    """
    n = len(counts)
    statistic = ((counts - draws * chance) ** 2).sum() / (draws * chance * (1 - chance))
    freedom, statistic = (n - 1, statistic * (n - 1) / n) if fixed else (n, statistic)
    assert chi2.ppf(error / 2, freedom) < statistic < chi2.ppf(1 - error / 2, freedom)
