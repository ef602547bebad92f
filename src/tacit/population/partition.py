"""Partitioners: ways to deal pooled data to clients, for experiments whose data have no owners yet.

Every partitioner is a frozen value with `split(labels, seed)`, and keeps the same laws: each example goes to exactly
one client, no client is left without, the same seed deals the same way, and a client's rows keep the order of the pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit import keys
from tacit.checks import count, is_whole, make_plain, offers, positive, truth
from tacit.errors import DataError, Problems, UsageError
from tacit.population.arrays import ArrayPopulation
from tacit.population.population import Int, Population, as_tensor, checked_ids, some, widthless

TRIES = 1000
# Below this, proportions are too coarse to be scaled up to a sum of one.
TINY = 1e-290


class Partitioner(Protocol):
    """Deals n examples to clients."""

    def split(self, labels: NDArray[Any], seed: int) -> list[Int]:
        """The rows of each client.

        Args:
            labels: (n, ...) targets of the pooled examples; (n,) where the partitioner looks at them.
            seed: of the draws.

        Raises:
            UsageError: the examples cannot be dealt that way.
        """
        ...

    def ids(self) -> tuple[str, ...]:
        """The clients' ids, in the order of `split`."""
        ...


@dataclass(frozen=True)
class _Counted:
    """What partitioners with a given number of clients share."""

    clients: int

    def __post_init__(self) -> None:
        with Problems(f"{type(self).__name__} cannot be built", UsageError) as problems:
            problems.extend(count("clients", self.clients))
            self._check(problems)
        make_plain(self)

    def _check(self, problems: Problems) -> None:
        """Records what is wrong with the other fields."""

    def ids(self) -> tuple[str, ...]:
        """The clients' ids: their numbers from 0."""
        return tuple(str(k) for k in range(self.clients))

    def _need(self, examples: int, needed: int, remedy: str) -> None:
        if examples < needed:
            raise UsageError(f"{self} needs at least {needed} examples and there are {examples}: {remedy}")

    def _rng(self, seed: int) -> np.random.Generator:
        return keys.generator(seed, "partition", type(self).__name__)


@dataclass(frozen=True)
class IID(_Counted):
    """Equal shares of the shuffled pool; sizes differ by one at most."""

    def split(self, labels: NDArray[Any], seed: int) -> list[Int]:
        """See `Partitioner.split`."""
        self._need(len(labels), self.clients, "ask for fewer clients")
        return _by_owner(self._rng(seed).permutation(len(labels)) % self.clients, self.clients)


@dataclass(frozen=True)
class Shards(_Counted):
    """Few labels at each client [McMahan17] arXiv:1602.05629, section 3.

    The pool is sorted by label (at random within a label) and cut into `clients * per_client` shards, whose sizes
    differ by one at most; every client is dealt `per_client` of them.
    """

    per_client: int = 2

    def _check(self, problems: Problems) -> None:
        problems.extend(count("per_client", self.per_client))

    def split(self, labels: NDArray[Any], seed: int) -> list[Int]:
        """See `Partitioner.split`; labels are (n,)."""
        count = self.clients * self.per_client
        self._need(len(labels), count, "ask for fewer clients or shards")
        rng = self._rng(seed)
        shuffled = rng.permutation(len(labels))
        by_label = shuffled[np.argsort(_flat(labels)[shuffled], kind="stable")]
        lengths = np.full(count, len(labels) // count) + (np.arange(count) < len(labels) % count)
        owners = np.empty(len(labels), dtype=np.int64)
        owners[by_label] = np.repeat(rng.permutation(count) % self.clients, lengths)
        return _by_owner(owners, self.clients)


@dataclass(frozen=True)
class Dirichlet(_Counted):
    """Labels in proportions drawn from a Dirichlet distribution; a small `alpha` makes clients differ much.

    Args:
        clients: how many.
        alpha: concentration, above 0.
        minimum: fewest examples that a client may have.
        balanced: True gives all clients the same number of examples (by one at most), with labels drawn from
            q_k ~ Dir(alpha p), p the proportions in the pool [Hsu19] arXiv:1909.06335; a class that has
            run out is drawn no more, so the clients that draw last take what is left. False cuts each class into
            shares ~ Dir(alpha, ..., alpha) over the clients [Yurochkin19] arXiv:1905.12022, so sizes differ too, and
            draws again until each client has `minimum`.
    """

    alpha: float
    minimum: int = 1
    balanced: bool = True

    def _check(self, problems: Problems) -> None:
        problems.extend(positive("alpha", self.alpha) + count("minimum", self.minimum))
        problems.extend(truth("balanced", self.balanced))

    def split(self, labels: NDArray[Any], seed: int) -> list[Int]:
        """See `Partitioner.split`; labels are (n,) classes."""
        self._need(len(labels), self.clients * self.minimum, "ask for fewer clients or a lower minimum")
        rng = self._rng(seed)
        _, numbers, pool = np.unique(_flat(labels), return_inverse=True, return_counts=True)
        counts = self._equal_sizes(pool, rng) if self.balanced else self._class_shares(pool, rng)
        owners = np.empty(len(labels), dtype=np.int64)
        for c, share in enumerate(counts.T):
            owners[numbers == c] = rng.permutation(np.repeat(np.arange(self.clients), share))
        return _by_owner(owners, self.clients)

    def _equal_sizes(self, pool: Int, rng: np.random.Generator) -> Int:
        """(clients, classes) counts: clients draw labels in turn while the pool lasts."""
        left, n = pool.copy(), int(pool.sum())
        sizes = np.full(self.clients, n // self.clients) + (np.arange(self.clients) < n % self.clients)
        counts = np.zeros((self.clients, len(pool)), dtype=np.int64)
        mixes = rng.dirichlet(self.alpha * pool / n, size=self.clients)
        for k in rng.permutation(self.clients):
            while (need := int(sizes[k] - counts[k].sum())) > 0:
                mix = np.where(left > 0, mixes[k], 0.0)
                # Where all that the client wanted has run out, what is left decides.
                mix = mix / mix.sum() if mix.sum() > TINY else left / left.sum()
                drawn = np.minimum(rng.multinomial(need, mix), left)
                counts[k] += drawn
                left -= drawn
        return counts

    def _class_shares(self, pool: Int, rng: np.random.Generator) -> Int:
        """(clients, classes) counts: each class is cut at Dirichlet shares."""
        for _ in range(TRIES):
            shares = rng.dirichlet(np.full(self.clients, self.alpha), size=len(pool))
            edges = (np.cumsum(shares, axis=1)[:, :-1] * pool[:, None]).astype(np.int64)
            counts = np.diff(edges, axis=1, prepend=0, append=pool[:, None]).T
            if counts.sum(axis=1).min() >= self.minimum:
                return counts
        raise UsageError(
            f"{self} left a client with fewer than minimum={self.minimum} of {int(pool.sum())} examples in each of "
            f"{TRIES} draws: raise alpha, ask for fewer clients, or give balanced=True"
        )


@dataclass(frozen=True)
class Quantity(_Counted):
    """The same distribution everywhere, and unequal numbers of examples.

    Every client gets `minimum` examples; the rest is shared out in proportions drawn from Dir(alpha, ..., alpha)
    [Li22] arXiv:2102.02079, or from a log-normal distribution with standard deviation `sigma` of the
    logarithm [Acar21] arXiv:2111.04263. Give one of them.
    """

    alpha: float | None = None
    sigma: float | None = None
    minimum: int = 1

    def _check(self, problems: Problems) -> None:
        both = f"alpha={self.alpha!r} and sigma={self.sigma!r}: give exactly one of them"
        problems.check((self.alpha is None) != (self.sigma is None), both)
        for name, value in (("alpha", self.alpha), ("sigma", self.sigma)):
            problems.extend([] if value is None else positive(name, value))
        problems.extend(count("minimum", self.minimum))

    def split(self, labels: NDArray[Any], seed: int) -> list[Int]:
        """See `Partitioner.split`."""
        self._need(len(labels), self.clients * self.minimum, "ask for fewer clients or a lower minimum")
        rng = self._rng(seed)
        if self.alpha is not None:
            shares = rng.dirichlet(np.full(self.clients, self.alpha))
        else:
            logs = rng.normal(0.0, self.sigma or 0.0, self.clients)
            shares = np.exp(logs - logs.max())
        sizes = self.minimum + _apportion(shares / shares.sum(), len(labels) - self.clients * self.minimum)
        return _by_owner(rng.permutation(np.repeat(np.arange(self.clients), sizes)), self.clients)


@dataclass(frozen=True, eq=False)
class ByColumn:
    """One client for each value of a column: a hospital, a writer, a station. Draws nothing.

    Args:
        values: (n,) whose each pooled example is; clients come in sorted order of these.

    Raises:
        DataError: missing values, or values that differ and are equal as text.
    """

    values: ArrayLike

    def __post_init__(self) -> None:
        with Problems("ByColumn cannot be built", DataError) as problems:
            try:
                column = np.asarray(self.values)
            except ValueError as error:
                problems.add(f"values are no column ({error}): give one for each example")
                return
            one_each = column.ndim == 1 and len(column) > 0
            if not problems.check(one_each, f"values have the shape {column.shape}: give one for each example"):
                return
            missing = np.flatnonzero([v is None or v != v for v in column.tolist()])
            rows = some(missing.tolist())
            if problems.check(not len(missing), f"values are missing in rows {rows}: drop those, or name their client"):
                checked_ids(_distinct(column), problems)

    def ids(self) -> tuple[str, ...]:
        """The values as text."""
        return tuple(str(v) for v in _distinct(np.asarray(self.values)))

    def split(self, labels: NDArray[Any], seed: int) -> list[Int]:
        """See `Partitioner.split`."""
        column = np.asarray(self.values)
        if len(column) != len(labels):
            raise UsageError(f"ByColumn has {len(column)} values and there are {len(labels)} examples: give one each")
        place = {value: k for k, value in enumerate(_distinct(column))}
        return _by_owner(np.array([place[v] for v in column.tolist()], dtype=np.int64), len(place))


def population_by(x: Any, y: Any, by: Partitioner, seed: int) -> Population:
    """See `Population.partition`."""
    with Problems("the data cannot be partitioned", UsageError) as problems:
        usable = offers(by, "split", "ids")
        problems.check(usable, f"by is {by!r}: give a partitioner, such as tacit.IID(10) or tacit.Dirichlet(10, 0.5)")
        problems.check(is_whole(seed), f"seed is {seed!r}: give a whole number")
    with Problems("the data cannot be partitioned", DataError) as problems:
        inputs, target = as_tensor(x), as_tensor(y)
        lengths = [column.shape[0] if column.dim() else 0 for column in (inputs, target)]
        same = lengths[0] == lengths[1]
        problems.check(same, f"there are {lengths[0]} inputs and {lengths[1]} targets: give one target each")
        problems.check(lengths[0] > 0, "there are no examples: give at least one")
        problems.extend(widthless(inputs))
    parts = by.split(target.numpy(), seed)
    sizes = np.array([len(part) for part in parts], dtype=np.int64)
    return ArrayPopulation.gathered(by.ids(), inputs, target, np.concatenate(parts), sizes)


def _flat(labels: NDArray[Any]) -> NDArray[Any]:
    if labels.ndim != 1:
        raise UsageError(f"labels are {labels.shape}: this partitioner needs one label an example; use IID or Quantity")
    return labels


def _distinct(column: NDArray[Any]) -> list[Any]:
    values = set(column.tolist())
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=str)


def _apportion(shares: NDArray[np.float64], total: int) -> Int:
    """`total` whole pieces in proportion to `shares`, largest remainders first."""
    pieces = np.floor(shares * total).astype(np.int64)
    rest = total - int(pieces.sum())
    pieces[np.argsort(pieces - shares * total, kind="stable")[:rest]] += 1
    return pieces


def _by_owner(owners: Int, clients: int) -> list[Int]:
    """The rows of each client, in the order of the pool."""
    order = np.argsort(owners, kind="stable")
    return np.split(order, np.cumsum(np.bincount(owners, minlength=clients))[:-1])
