"""Fleets by their settings: what a plan says of devices, from which a run makes them for its clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Protocol

from tacit import checks
from tacit.errors import DataError, TacitError
from tacit.fleet import generators
from tacit.fleet.device import Fleet
from tacit.fleet.traces import read

CHUNK = 1 << 20
CSV = ".csv"


class Recipe(Protocol):
    """How a fleet is made."""

    @property
    def basis(self) -> str:
        """What of it is fitted or measured, and what is assumed, in a sentence or two."""
        ...

    def made(self, clients: Sequence[str], seed: int) -> Fleet:
        """The devices of `clients`."""
        ...

    def problems(self) -> list[str]:
        """What is wrong with the settings."""
        ...


@dataclass(frozen=True)
class _Generated:
    """Settings of a generator, whose arguments they are."""

    generator: ClassVar[Callable[..., Fleet]]
    basis: ClassVar[str]

    def made(self, clients: Sequence[str], seed: int) -> Fleet:
        """A device for each of `clients`, in their order.

        Raises:
            UsageError: settings out of range.
        """
        return type(self).generator(len(clients), seed, **{f.name: getattr(self, f.name) for f in fields(self)})

    def problems(self) -> list[str]:
        """What the generator refuses."""
        return _refusals(lambda: self.made(["one"], 0))


@dataclass(frozen=True)
class Phones(_Generated):
    """Phones of volunteers, who are asked while they charge. See `tacit.fleet.phones`, whose arguments these are."""

    seconds: float = 0.01
    compute_spread: float = 100.0
    link_spread: float = 50.0
    hazard: float = 1.0
    idle: bool = True
    unmetered: bool = True
    zones: tuple[float, ...] = generators.US_ZONES
    days: int = 7
    tiers: int = 5

    generator = staticmethod(generators.phones)
    basis = (
        "fitted: the spread of compute and links, bandwidths, jitter and the correlation of both ways [Yang21], "
        "failures and the swing over the day [Bonawitz19]; assumed: the median phone's seconds for a unit, memory, who "
        "has a network at home, habits of charging, and that links and compute are independent"
    )


@dataclass(frozen=True)
class Lognormal(_Generated):
    """Devices that differ in compute alone. See `tacit.fleet.lognormal`, whose arguments these are."""

    sigma: float = 1.0
    dropout: float = 0.08
    seconds: float = 0.01
    bandwidth: float = 1e9
    tiers: int = 5

    generator = staticmethod(generators.lognormal)
    basis = "fitted: nothing; assumed: all of it, to compare policies on devices that differ in compute alone"


@dataclass(frozen=True)
class Silos(_Generated):
    """Servers of organisations, always on. See `tacit.fleet.silos`, whose arguments these are."""

    seconds: float = 0.001
    compute_spread: float = 3.0
    hazard: float = 0.01

    generator = staticmethod(generators.silos)
    basis = "fitted: nothing; assumed: all of it, servers that are always on, on lines of 1 Gbit/s"


@dataclass(frozen=True)
class Trace:
    """Devices from files, which belong to clients by their `id`.

    Args:
        profiles: a .csv, .json or .npz file, see `tacit.fleet.read`.
        sessions: a .csv file with the sessions, where the profiles are one.
        period: seconds after which sessions repeat; what the file states, or whole days that hold all, when None.
        tiers: how many tiers the devices are put into, by compute.
        sha256: of both files, once they were read; another content is refused then.
    """

    profiles: str
    sessions: str | None = None
    period: float | None = None
    tiers: int = 5
    sha256: str | None = None

    @property
    def basis(self) -> str:
        """Where it comes from."""
        when = f"; sessions from {self.sessions}" if self.sessions else ""
        return f"measured by whoever made it: profiles from {self.profiles}{when}"

    def made(self, clients: Sequence[str], seed: int) -> Fleet:
        """All devices of the files, with the names of their clients: a run takes those of its own.

        Raises:
            DataError: a file that cannot be read, with all of its mistakes, or that is not the one it was.
            UsageError: settings out of range.
        """
        if self.sha256 is not None:
            self._require(self.digest())
        return read(self.profiles, self.sessions, period=self.period, tiers=self.tiers)

    def problems(self) -> list[str]:
        """Settings out of range, and a second file where the first holds all. Nothing is read."""
        found = [] if self.profiles else ["profiles is empty: give the path of a .csv, .json or .npz file"]
        if self.sessions is not None and not str(self.profiles).lower().endswith(CSV):
            found.append(f"sessions is {self.sessions!r}: only .csv profiles have their sessions in another file")
        found += [] if self.period is None else checks.positive("period", self.period, " number of seconds")
        return found + checks.count("tiers", self.tiers)

    def digest(self) -> str:
        """sha256 of the content of the files, one after the other.

        Raises:
            DataError: one cannot be read.
        """
        found = sha256()
        for path in filter(None, (self.profiles, self.sessions)):
            try:
                with Path(path).open("rb") as stream:
                    while part := stream.read(CHUNK):
                        found.update(part)
            except OSError as error:
                reason = error.strerror or str(error)
                raise DataError(f"{path} cannot be read ({reason}): give a file of profiles") from None
        return found.hexdigest()

    def settled(self) -> dict[str, Any]:
        """The fields, with absolute paths and the sha256 of what lies there.

        Raises:
            DataError: as `digest`; or the content is not the one that was.
        """
        found = self.digest()
        self._require(found)
        where = {n: str(Path(p).resolve()) for n in ("profiles", "sessions") if (p := getattr(self, n)) is not None}
        return {f.name: getattr(self, f.name) for f in fields(self)} | where | {"sha256": found}

    def _require(self, found: str) -> None:
        if self.sha256 not in (None, found):
            raise DataError(
                f"{self.profiles} does not hold the fleet that the plan was made with: the sha256 is {found}, not "
                f"{self.sha256}. Bring that file back, or remove the line sha256 from [fleet]"
            )


RECIPES: dict[str, type[Any]] = {"phones": Phones, "lognormal": Lognormal, "silos": Silos}
"""The generators' recipes by the names of the generators."""


def _refusals(make: Callable[[], object]) -> list[str]:
    try:
        make()
    except TacitError as error:
        lines = [line.removeprefix("  - ") for line in str(error).splitlines() if line.startswith("  - ")]
        return lines or [str(error)]
    return []
