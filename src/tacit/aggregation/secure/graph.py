"""Who masks with whom: the degree that hides everybody as surely as asked for, and the neighbours it gives a client.

[Bell20] ePrint 2020/704, section 3: clients on a ring in random order, each with the k/2 nearest on either side (a
Harary graph). Every probability is computed in whole numbers, so everybody finds the same degree on any machine.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from math import comb, floor, perm
from typing import NamedTuple

from tacit.checks import is_count, is_number, is_whole
from tacit.errors import IncompatibleOptions, Problems

COMPLETE = 100
"""Up to so many clients everybody is everybody's neighbour, and no chance is involved."""
MOST = 2000
"""Neighbours beyond which no graph is looked for: who offers the settings must not choose how long others search."""
FEWEST = 3
SEED = 32
"""Bytes of the seed of a ring."""
ROUNDING = 1e-9
"""Added before a number of clients is rounded down: 0.29 x 100 is 29, though not in binary."""


class Degree(NamedTuple):
    """Neighbours of a client, k, and threshold t: of the k + 1 shares of a client's secret, t rebuild it."""

    neighbours: int
    threshold: int


class Ring(NamedTuple):
    """Clients on a ring, (n,) each: the position of client i, and the client at position p."""

    positions: tuple[int, ...]
    order: tuple[int, ...]


@lru_cache(maxsize=1024, typed=True)
def degree(
    clients: int,
    corrupt: float = 0.1,
    dropout: float = 0.1,
    *,
    sigma: int = 40,
    eta: int = 20,
    semi_malicious: bool = True,
) -> Degree:
    """The least degree, and for it the least threshold from 2, with which a round is private and comes to an end.

    With `C = floor(corrupt n)` and `D = floor(dropout n)`, and H(A) the number of A clients among k out of n - 1:

    * no partial sum, each event with probability below `2^-(sigma + 1)`: the clients that are left, and honest, hang
      together; and no client has t corrupt neighbours: `n Pr[H(C) >= t]`;
    * the sum, with probability above `1 - 2^-eta`: `n Pr[H(n - D) < t]` is below it;
    * where the server may tell clients different things, no t shares of *both* secrets of one client, of its k + 1
      holders the corrupt giving both: `2 t > k + 1 + q`, with q the most corrupt neighbours that one has, but for
      `n Pr[H(C) > q] < 2^-(sigma + 1)`. And such a server, which knows the ring, must not cut it in two by forgetting
      the honest clients in two windows of k / 2 places: those beside a window refuse where they are left with fewer
      than t of their neighbourhood, so it takes `t - 1 - k / 2` corrupt clients in both (see `_window`).

    Up to 100 clients, and where no smaller degree will do, the graph is complete: `2 t > n + C`, `t <= n - D`, and with
    these `floor(2 n / 3) + 1` or what comes nearest.

    Args:
        clients: n, at least 3.
        corrupt: share of the clients that may work with the server, from 0 to below 1.
        dropout: share of the clients that may be lost, from 0 to below 1.
        sigma: bits of privacy.
        eta: bits of correctness.
        semi_malicious: the server is honest only while keys are exchanged. Without it: in every step.

    Raises:
        UsageError: an argument is not of this form.
        IncompatibleOptions: no degree does what is asked.
    """
    _require(clients, corrupt, dropout, sigma, eta)
    bad = _Bad.of(clients, corrupt, dropout)
    complete = _complete(bad, semi_malicious)
    found = _least(bad, sigma, eta, semi_malicious) if complete and clients > COMPLETE else None
    if found is None and clients <= MOST:
        found = complete
    if found is None:
        trust = ", or trust the server to ask everybody the same (semi_malicious=False)" if semi_malicious else ""
        raise IncompatibleOptions(
            f"no graph of up to {min(MOST, clients - 1)} neighbours hides {clients} clients where {bad.corrupt} may be "
            f"corrupt and {bad.dropped} lost (sigma {sigma}, eta {eta}): lower corrupt ({corrupt:g}) or dropout "
            f"({dropout:g}){trust}"
        )
    return found


@lru_cache(maxsize=4, typed=True)
def ring(seed: bytes, clients: int) -> Ring:
    """The ring that a seed gives: clients in the order of SHA-256(seed, index as 4 bytes, big-endian).

    Args:
        seed: 32 bytes that no client and no server could choose alone.
        clients: how many, indices from 0.

    Raises:
        UsageError: an argument is not of this form.
    """
    with Problems("the clients cannot be placed on a ring") as problems:
        problems.check(len(seed) == SEED, f"the seed is not {SEED} bytes: hash it to this length")
        problems.check(is_whole(clients, FEWEST), f"clients is {clients!r}: give at least {FEWEST}")
    placed = sha256(seed)
    digests = []
    for index in range(clients):
        hashed = placed.copy()
        hashed.update(index.to_bytes(4, "big"))
        digests.append(hashed.digest())
    order = sorted(range(clients), key=digests.__getitem__)
    positions = [0] * clients
    for position, index in enumerate(order):
        positions[index] = position
    return Ring(tuple(positions), tuple(order))


def neighbours(seed: bytes, clients: int, k: int, index: int) -> tuple[int, ...]:
    """The neighbours of a client, (k,), ascending: those within k / 2 places of it on the ring, or all others.

    Args:
        seed: of the ring, 32 bytes.
        clients: how many, n.
        k: even, or n - 1.
        index: of the client, from 0.

    Raises:
        UsageError: an argument is not of this form.
    """
    with Problems("the client has no such neighbours") as problems:
        problems.check(is_whole(clients, FEWEST), f"clients is {clients!r}: give at least {FEWEST}")
        if not problems.found:
            least = is_count(k) and (k == clients - 1 or (k < clients and k % 2 == 0))
            problems.check(least, f"k is {k!r}: give an even number below {clients}, or {clients - 1} for all others")
            inside = is_whole(index, 0) and index < clients
            problems.check(inside, f"client {index!r} is not among {clients}: give 0 to {clients - 1}")
    if k == clients - 1:
        return (*range(index), *range(index + 1, clients))
    positions, order = ring(seed, clients)
    here, half = positions[index], k // 2
    return tuple(sorted(order[(here + step) % clients] for step in range(-half, half + 1) if step))


class _Bad(NamedTuple):
    """How many clients there are, and how many of them may be corrupt and lost."""

    clients: int
    corrupt: int
    dropped: int

    @classmethod
    def of(cls, clients: int, corrupt: float, dropout: float) -> _Bad:
        """From their shares."""
        return cls(clients, floor(corrupt * clients + ROUNDING), floor(dropout * clients + ROUNDING))


def _complete(bad: _Bad, semi_malicious: bool) -> Degree | None:
    """Everybody with everybody."""
    n = bad.clients
    least = (n + bad.corrupt) // 2 + 1 if semi_malicious else bad.corrupt + 1
    most = n - bad.dropped
    return Degree(n - 1, max(least, min(2 * n // 3 + 1, most))) if least <= most else None


def _least(bad: _Bad, sigma: int, eta: int, semi_malicious: bool) -> Degree | None:
    """The least even degree for which there is a threshold, and the least threshold for it.

    The least threshold never falls as k grows and the largest grows no faster than k: a gap of g between them takes
    another g neighbours at least, so degrees in between are passed over.
    """
    degrees = range(2, min(MOST, bad.clients - 2) + 1, 2)
    k = 2 + 2 * bisect_left(degrees, True, key=lambda k: _hangs_together(bad, k, sigma))
    while k in degrees:
        quantile = _quantile(bad, k, sigma)
        least = max(quantile + 1, 2)
        if semi_malicious:
            least = max(least, (k + 1 + quantile) // 2 + 1, k // 2 + _window(bad, k, sigma) + 2)
        missing = least - _largest(bad, k, eta)
        if missing <= 0:
            return Degree(k, least)
        k += max(2, missing + missing % 2)
    return None


def _hangs_together(bad: _Bad, k: int, sigma: int) -> bool:
    """Whether two gaps of k / 2 bad clients, which would cut the ring in two, are rare enough."""
    n, gone = bad.clients, bad.corrupt + bad.dropped
    return n * (n - k - 1) * perm(gone, k) << sigma < perm(n, k)


def _quantile(bad: _Bad, k: int, sigma: int) -> int:
    """The least q with `n Pr[H(C) > q] < 2^-(sigma + 1)`."""
    limit, total = comb(bad.clients - 1, k), 0
    for corrupt, ways in _ways(bad.clients - 1, bad.corrupt, k):
        total += ways
        if bad.clients * total << (sigma + 1) >= limit:
            return corrupt
    return 0


def _window(bad: _Bad, k: int, sigma: int) -> int:
    """The least w with `n (n - k) / 2 Pr[W > w]^2 < 2^-(sigma + 1)`, for W corrupt clients among k / 2 on the ring."""
    n, half = bad.clients, k // 2
    limit, total = 2 * comb(n, half) ** 2, 0
    for corrupt, ways in _ways(n, bad.corrupt, half):
        total += ways
        if n * (n - k) * total**2 << (sigma + 1) >= limit:
            return corrupt
    return 0


def _largest(bad: _Bad, k: int, eta: int) -> int:
    """The largest t with `n Pr[H(n - D) < t] < 2^-eta`: k less the most that are lost."""
    if not bad.dropped:
        return k
    limit, total = comb(bad.clients - 1, k), 0
    for lost, ways in _ways(bad.clients - 1, bad.dropped - 1, k):
        total += ways
        if bad.clients * total << eta >= limit:
            return k - lost
    return k


def _ways(others: int, marked: int, k: int) -> Iterator[tuple[int, int]]:
    """For x from its largest value down: in how many of the `comb(others, k)` choices x are `marked`."""
    x = min(marked, k)
    ways = comb(marked, x) * comb(others - marked, k - x)
    while x >= 0 and ways:
        yield x, ways
        ways = ways * x * (others - marked - k + x) // ((marked - x + 1) * (k - x + 1))
        x -= 1


def _require(clients: int, corrupt: float, dropout: float, sigma: int, eta: int) -> None:
    """Looks at the arguments of `degree`."""
    with Problems("no graph can be chosen") as problems:
        few = f"clients is {clients!r}: give at least {FEWEST}, for of two clients each can subtract its own"
        problems.check(is_whole(clients, FEWEST), few)
        problems.check(not is_whole(clients, 2**32), f"clients is {clients!r}: give less than 2^32")
        shares = {"corrupt": corrupt, "dropout": dropout}
        wrong = [name for name, share in shares.items() if not (is_number(share) and 0 <= share < 1)]
        problems.extend(f"{name} is {shares[name]!r}: give a share from 0 to below 1" for name in wrong)
        for name, bits in (("sigma", sigma), ("eta", eta)):
            problems.check(is_count(bits) and bits <= 128, f"{name} is {bits!r}: give 1 to 128 bits")
        if problems.found or not problems.check(
            corrupt + dropout < 1, f"corrupt {corrupt:g} and dropout {dropout:g} leave no honest client: lower them"
        ):
            return
        bad = _Bad.of(clients, corrupt, dropout)
        alone = f"of {clients} clients one alone could be left and honest: lower corrupt or dropout"
        problems.check(clients - bad.corrupt - bad.dropped >= 2, alone)
