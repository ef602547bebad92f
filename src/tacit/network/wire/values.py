"""Values that only travel: what the HTTP surface says beside the words of `office`."""

from __future__ import annotations

from dataclasses import dataclass

from tacit.network.office import Code, Refused


@dataclass(frozen=True)
class Enrol:
    """Asks to be taken in.

    Attributes:
        token: of the invitation.
        name: 1 to 64 bytes.
        key: public, 32 bytes; the request is signed by it.
    """

    token: str
    name: str
    key: bytes


@dataclass(frozen=True)
class Upload:
    """Announces an answer that comes in chunks.

    Attributes:
        assignment: that it answers, 32 hexadecimal digits.
        length: of the whole answer, bytes.
        sha256: of the whole answer, 64 hexadecimal digits.
    """

    assignment: str
    length: int
    sha256: str


@dataclass(frozen=True)
class Uploaded:
    """How far an upload is.

    Attributes:
        id: of the upload, 32 hexadecimal digits.
        offset: so many bytes are there.
        length: of so many.
        chunk: most bytes of one chunk.
    """

    id: str
    offset: int
    length: int
    chunk: int


@dataclass(frozen=True)
class Time:
    """The coordinator's clock, and what it is.

    Attributes:
        now: ms since 1970.
        speaks: versions of the protocol, the best first.
        version: of the program.
    """

    now: int
    speaks: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class Problem:
    """Why a request was refused, as it travels.

    Attributes:
        code, problem, remedy: as `Refused` has them.
        after: seconds after which to come again; None where that does not help.
        now: the coordinator's clock, ms since 1970.
    """

    code: Code
    problem: str
    remedy: str
    after: float | None
    now: int

    @classmethod
    def of(cls, refused: Refused, now: int) -> Problem:
        """Says an error."""
        return cls(refused.code, refused.problem, refused.remedy, refused.after, now)

    @property
    def refused(self) -> Refused:
        """The error that it says."""
        return Refused(self.code, self.problem, self.remedy, self.after)
