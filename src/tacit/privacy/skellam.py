"""Skellam noise that nobody can predict: the difference of two Poisson draws, made in one step.

With variance mu its probabilities are `p(k) = exp(-mu) I_k(mu)`, of the modified Bessel function I. Sums of independent
draws are Skellam again and their variances add up: clients that each add a share make the noise of the whole
([Agarwal21] arXiv:2110.04995). A draw is a sign and a magnitude, from AES in counter mode.

What double precision makes of it: from `FINE` on, the magnitude is proposed in whole numbers, exactly uniform in one of
64 strips of one area, and accepted with a probability that is right to 1e-13 of itself: no rounding to a grid, so every
probability is right to that. 13 standard deviations are never exceeded; 1e-37 of the distribution lies beyond. Below
`FINE` the magnitude is looked up in a table of tails: every probability is right to 2^-52, in the tail to 2^-63, and
what is rarer than that does not occur.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, isfinite, sqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit.jit import Int, Real, jit, jit_cached
from tacit.secret_draws import CHUNK, SecretDraws, Words, key_of

LARGEST = 2.0**54
"""Variance up to which a place in a strip takes at most 32 random bits."""
MOST = 64 * LARGEST
"""Variance up to which draws are made at all, as sums of so many."""
FINE = 2.0**14
"""Variance from which strips are some integers wide, and the series of `_log_probability` is right to 1e-17."""
WIDEST = 13
"""Standard deviations that are never exceeded."""
STRIPS, BISECTIONS = 64, 40
GUIDE = 256
"""Entries of the table that says where a search begins."""
SPARE = 128
"""Words kept for the draw that goes on: its place fails so often with a probability below 2^-127."""

Table: TypeAlias = tuple[NDArray[Any], ...]


def skellam(key: bytes, variance: float, count: int) -> Int:
    """`count` independent draws of mean 0, (count,) int64; of a large variance as sums of several.

    Args:
        key: 32 bytes, as hard to guess as the draws. The same key, variance and count give the same draws.
        variance: mu, of each draw, above 0 and at most 2^60.
        count: how many.

    Raises:
        ValueError: the variance is out of range.
    """
    if not (isfinite(variance) and 0 < variance <= MOST):
        raise ValueError(f"the variance of Skellam noise is {variance!r}: give a number above 0, at most {MOST:g}")
    parts = ceil(variance / LARGEST)
    if parts > 1:  # sums of independent draws are Skellam again
        total = np.zeros(count, np.int64)
        for k in range(parts):
            total += skellam(key_of(key, "part", k), variance / parts, count)
        return total
    variance = float(variance)
    source, draws, done = SecretDraws(key), np.empty(count, np.int64), 0
    if variance < FINE:
        tails, guide = _tails(variance)
        for start in range(0, count, CHUNK):
            part = draws[start : start + CHUNK]
            _looked_up(source.words(part.size), part, tails, guide)
        return draws
    strips, left = _strips(variance), np.empty(0, np.uint64)
    while done < count:
        if left.size <= SPARE:
            left = np.concatenate([left, source.words(CHUNK)])
        made, used = _proposed(left, SPARE, draws[done:], variance, *strips)
        left, done = left[used:], done + int(made)
    return draws


@lru_cache(maxsize=32)
def _tails(variance: float) -> tuple[NDArray[np.float64], Int]:
    """`P(|X| >= j)`, summed from the far end so that small ones are right too, and where searches in it begin."""
    from scipy.special import ive

    probabilities = 2 * ive(np.arange(1, WIDEST * ceil(sqrt(variance)) + 40), variance)
    tails = np.concatenate([[1.0], np.cumsum(probabilities[::-1])[::-1], [0.0]])
    ends = np.arange(1, GUIDE + 1) / GUIDE
    return tails, (tails.size - np.searchsorted(tails[::-1], ends, side="left") - 1).clip(0)


@lru_cache(maxsize=32)
def _strips(variance: float) -> Table:
    """Strips that cover all magnitudes: `_cover` with the least area for which they do."""
    strips = np.empty(STRIPS, np.int64), np.empty(STRIPS, np.int64), np.empty(STRIPS), np.empty(STRIPS, np.int64)
    reach = WIDEST * ceil(sqrt(variance))
    low, high = 0.0, 4.0 / STRIPS
    for _ in range(BISECTIONS):
        area = (low + high) / 2
        low, high = (low, area) if _cover(area, reach, variance, *strips) else (area, high)
    _cover(high, reach, variance, *strips)
    return strips


@jit
def _log_probability(k: float, variance: float) -> Any:
    """`log(exp(-mu) I_k(mu))` by the expansion of large orders that holds for all arguments, DLMF 10.41.3."""
    w = np.sqrt(k * k + variance * variance)
    t = (k / w) ** 2
    one = (3 - 5 * t) / (24 * w)
    two = (81 - 462 * t + 385 * t**2) / (1152 * w**2)
    three = (30375 - 369603 * t + 765765 * t**2 - 425425 * t**3) / (414720 * w**3)
    exponent = k * (k / (w + variance) - np.arcsinh(k / variance))
    return exponent - 0.5 * np.log(2 * np.pi * w) + np.log1p(one + two + three)


def _cover_with(area: float, reach: int, variance: float, start: Int, width: Int, height: Real, safe: Int) -> Any:
    """Fills the table of strips, from the most probable magnitudes on; returns whether they come to `reach`.

    Args:
        area: of a strip; its width is a whole number, its height at least the largest probability in it.
        reach: the largest magnitude.
        variance: mu.
        start: where strips begin.
        width: of strips.
        height: its logarithm; infinite for strips that are not needed.
        safe: share of the strip that lies below all probabilities in it, in units of 2^-23.
    """
    start[:], width[:], height[:], safe[:] = 0, 1, np.inf, 0
    at = 0
    for i in range(start.size):
        wide = min(np.floor(area * np.exp(-_log_probability(at, variance))), float(reach + 1 - at))
        if wide < 1:
            return False
        start[i], width[i], height[i] = at, np.int64(wide), np.log(area / wide)
        at += width[i]
        safe[i] = np.int64(np.exp(_log_probability(at - 1, variance) - height[i]) * 2.0**23 * (1 - 1e-6))
        if at > reach:
            return True
    return False


def _propose(
    words: Words, spare: int, draws: Int, variance: float, start: Int, width: Int, height: Real, safe: Int
) -> Any:
    """Fills `draws` as far as the words reach; returns how many were made, and how many words they took.

    Of a word, 6 bits choose the strip, one the sign, 32 the place in the strip, by multiplication and with the
    rejection that makes it exactly uniform ([Lemire19] arXiv:1805.10941), and 23 begin the height. Where these do not
    decide whether the point lies below the probability, 53 bits of another word go on.
    """
    at, made, last = 0, 0, words.size - spare
    while made < draws.size and at < last:
        word = words[at]
        at += 1
        strip = np.int64(word & np.uint64(63))
        wide = np.uint64(width[strip])
        product = ((word >> np.uint64(7)) & np.uint64(0xFFFFFFFF)) * wide
        rest = product & np.uint64(0xFFFFFFFF)
        while rest < wide and rest < (np.uint64(2**32) - wide) % wide:  # another place: the strip stays as likely
            product = (words[at] & np.uint64(0xFFFFFFFF)) * wide
            rest = product & np.uint64(0xFFFFFFFF)
            at += 1
        k = start[strip] + np.int64(product >> np.uint64(32))
        negative = word & np.uint64(64)
        if k == 0 and negative:
            continue
        high = np.int64(word >> np.uint64(41))
        if high >= safe[strip]:
            low = np.float64(np.int64(words[at] >> np.uint64(11))) * 2.0**-53
            at += 1
            if (high + low) * 2.0**-23 >= np.exp(_log_probability(k, variance) - height[strip]):
                continue
        draws[made] = -k if negative else k
        made += 1
    return made, at


def _look_up(words: Words, draws: Int, tails: Real, guide: Int) -> None:
    for i in range(draws.size):
        word = words[i]
        place = (np.float64(np.int64(word >> np.uint64(1))) + 0.5) * 2.0**-63
        k = guide[np.int64(word >> np.uint64(56))]
        while place < tails[k + 1]:
            k += 1
        draws[i] = -k if word & np.uint64(1) else k


_cover, _proposed, _looked_up = jit_cached(_cover_with), jit_cached(_propose), jit_cached(_look_up)
