"""What one coordinator process gives to peers at most: connections, memory, disk, time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from tacit.errors import Problems, UsageError


@dataclass(frozen=True)
class Limits:
    """Bounds on what peers may take. Sizes are bytes, times seconds.

    Attributes:
        body: the most of one request; longer answers come as uploads in chunks.
        chunk: the most of one chunk of an upload.
        memory: that all bodies together may hold while they are read and taken.
        connections: open at once.
        per_address: of them from one address; many participants may share one behind a proxy.
        idle: for which a connection may be silent, or dawdle over the head of a request.
        handshake: for which it may take to agree on TLS.
        grace: for which a body may come as slowly as it likes.
        rate: bytes a second that a body, or the reading of a reply, must keep up after that.
        requests: a second of one participant, sustained.
        burst: of requests at once.
        enrolments: a second from one address, sustained.
        window: by which the time in a signature may be off.
        spool: of uploads that are not complete, on disk, together.
        share: of these that all uploads of one participant may announce; one more, and its oldest are forgotten. A
            single one may have more, as much as it is asked for.
        uploads: that one participant may have begun; one more, and its oldest is forgotten.
        expiry: after which an upload to which nothing was added is forgotten.
        headroom: that stays free on the disk of the uploads.
    """

    body: int = 4 * 2**20
    chunk: int = 2**20
    memory: int = 256 * 2**20
    connections: int = 8192
    per_address: int = 4096
    idle: float = 15.0
    handshake: float = 10.0
    grace: float = 10.0
    rate: int = 16 * 2**10
    requests: float = 50.0
    burst: int = 200
    enrolments: float = 10.0
    window: float = 300.0
    spool: int = 4 * 2**30
    share: int = 2**30
    uploads: int = 4
    expiry: float = 3600.0
    headroom: int = 256 * 2**20

    def __post_init__(self) -> None:
        with Problems("limits that serve nobody", UsageError) as problems:
            problems.extend(self._problems())

    def _problems(self) -> Iterator[str]:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in {"grace", "headroom"} else 1e-3
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
                yield f"{field.name} is {value!r}: give a number above 0"
        if self.memory < max(self.body, self.chunk):
            yield f"memory is {self.memory:,} bytes: one body may have {max(self.body, self.chunk):,}"
