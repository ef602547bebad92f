"""Fleets made up to fit published spreads. The same seed gives the same fleet.

What is fitted, and to what, each generator says; what is assumed, too. Bring traces (`tacit.fleet.read`) for more.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log

import numpy as np
from numpy.typing import NDArray

from tacit import checks, keys
from tacit.errors import Problems, UsageError
from tacit.fleet.device import Flag, Fleet
from tacit.fleet.sessions import charging

P99 = 2.3263478740408408
"""The 99th percentile of a standard normal number."""
FLASH_DOWN, FLASH_UP = 4.318e6, 3.286e6
"""Bytes per second: medians of the 19 users whose transfers [Yang21] arXiv:2006.06983 publishes with its code."""
FLASH_JITTER = 0.37
"""sqrt(ln(1 + c^2)) of the median c over these users and both ways of a transfer's standard deviation over its mean."""
FLASH_BOTH_WAYS = 0.45
"""Correlation over these users of the logarithms of the down and the up bandwidth."""
US_ZONES = (-8.0, -7.0, -6.0, -5.0)


def phones(
    count: int,
    seed: int,
    *,
    seconds: float = 0.01,
    compute_spread: float = 100.0,
    link_spread: float = 50.0,
    hazard: float = 1.0,
    idle: bool = True,
    unmetered: bool = True,
    zones: Sequence[float] = US_ZONES,
    days: int = 7,
    tiers: int = 5,
) -> Fleet:
    """Phones of volunteers, who are asked while they charge.

    Fitted: compute a hundredfold between the 1st and the 99th percentile (a lognormal with sigma 0.99; the 333 models
    in the AI-Benchmark list that [Yang21] arXiv:2006.06983 uses spread further, 39-fold from the 10th to the 90th
    percentile, counted by model and not by phone), links fiftyfold; median bandwidths, their jitter and the correlation
    of both ways to the 19 users of [Yang21]; failures to the 6 to 10 % of a round in [Bonawitz19] arXiv:1902.01046
    (one an hour is 8 % of rounds of five minutes); the day's swing (see `sessions.py`). Assumed: the median phone's
    seconds for a unit of work, memory (lognormal, median 2 GB, larger on faster phones), a home network for 85 %, and
    that links and compute are independent.

    Args:
        count: N, how many phones.
        seed: of the fleet. A larger fleet of the same seed begins with the same phones, but for their tiers.
        seconds: of the median phone for a unit of work.
        compute_spread: the 99th percentile of `seconds` over the 1st.
        link_spread: the same of each bandwidth.
        hazard: failures per hour of taking part.
        idle: a phone takes part only while nobody uses it.
        unmetered: a phone takes part only on an unmetered link; without one at home, never.
        zones: hours ahead of UTC, each as frequent as the others.
        days: after which the sessions repeat.
        tiers: by compute.

    Raises:
        UsageError: numbers out of range.
    """
    with Problems("the phones cannot be made", UsageError) as problems:
        problems.extend([*checks.count("count", count), *checks.count("days", days), *checks.count("tiers", tiers)])
        problems.extend([*checks.positive("seconds", seconds), *checks.not_negative("hazard", hazard)])
        problems.extend([*_spread("compute_spread", compute_spread), *_spread("link_spread", link_spread)])
        good = [checks.is_number(zone) and -12 <= zone <= 14 for zone in zones]
        problems.check(bool(good) and all(good), f"zones is {zones!r}: give hours ahead of UTC, from -12 to 14")
    compute, link, other, memory = (_normal(count, seed, name) for name in ("compute", "down", "up", "memory"))
    sigma, width = log(compute_spread) / (2 * P99), log(link_spread) / (2 * P99)
    upward = FLASH_BOTH_WAYS * link + np.sqrt(1 - FLASH_BOTH_WAYS**2) * other
    zone = np.asarray(zones, float)[keys.generator(seed, "fleet", "zone").integers(0, len(zones), count)]
    home = keys.generator(seed, "fleet", "home").random(count) < 0.85
    return Fleet.of(
        seconds * np.exp(sigma * compute),
        memory=2000.0 * np.exp(0.5 * (0.8 * memory - 0.6 * compute)),
        down=FLASH_DOWN * np.exp(width * link),
        up=FLASH_UP * np.exp(width * upward),
        jitter=FLASH_JITTER,
        time_zone=zone,
        hazard=hazard,
        flags=np.where(home & unmetered, Flag.UNMETERED | Flag.CHARGING, Flag.CHARGING),
        tiers=tiers,
        availability=charging(seed, zone, home, idle=idle, unmetered=unmetered, days=days),
    )


def silos(count: int, seed: int, *, seconds: float = 0.001, compute_spread: float = 3.0, hazard: float = 0.01) -> Fleet:
    """Servers of organisations: always on, on lines of 1 Gbit/s, threefold in compute. Assumed, fitted to nothing.

    Args:
        count: N, how many.
        seed: of the fleet.
        seconds: of the median silo for a unit of work.
        compute_spread: the 99th percentile of `seconds` over the 1st.
        hazard: failures per hour of taking part.

    Raises:
        UsageError: numbers out of range.
    """
    with Problems("the silos cannot be made", UsageError) as problems:
        problems.extend([*checks.count("count", count), *checks.positive("seconds", seconds)])
        problems.extend([*_spread("compute_spread", compute_spread), *checks.not_negative("hazard", hazard)])
    speed = seconds * np.exp(log(compute_spread) / (2 * P99) * _normal(count, seed, "compute"))
    return Fleet.of(speed, memory=64e3, down=125e6, up=125e6, jitter=0.1, hazard=hazard)


def lognormal(
    count: int,
    seed: int,
    *,
    sigma: float = 1.0,
    dropout: float = 0.08,
    seconds: float = 0.01,
    bandwidth: float = 1e9,
    tiers: int = 5,
) -> Fleet:
    """Devices that differ in compute alone, and fail with one chance whatever they do: on them policies are compared.

    With sigma 1.0, compute differs 105-fold between the 1st and the 99th percentile.

    Args:
        count: N, how many.
        seed: of the fleet.
        sigma: standard deviation of the logarithm of the seconds for a unit of work.
        dropout: chance to fail in a round.
        seconds: of the median device for a unit of work.
        bandwidth: bytes per second, both ways, without jitter.
        tiers: by compute.

    Raises:
        UsageError: numbers out of range.
    """
    with Problems("the fleet cannot be made", UsageError) as problems:
        problems.extend([*checks.count("count", count), *checks.count("tiers", tiers)])
        problems.extend([*checks.not_negative("sigma", sigma), *checks.positive("seconds", seconds)])
        problems.extend([*checks.positive("bandwidth", bandwidth), *checks.decay("dropout", dropout)])
    speed = seconds * np.exp(sigma * _normal(count, seed, "compute"))
    return Fleet.of(speed, down=bandwidth, up=bandwidth, dropout=dropout, tiers=tiers)


def _normal(count: int, seed: int, column: str) -> NDArray[np.float64]:
    return keys.generator(seed, "fleet", column).standard_normal(count)


def _spread(name: str, value: float) -> list[str]:
    good = checks.is_number(value) and isfinite(value) and value >= 1
    return [] if good else [f"{name} is {value!r}: give a number from 1, where all are equal"]
