"""What coordinator and participant say to each other, as plain values; and what the HTTP surface asks of a coordinator.

Participants pull: they check in, and are told what to do. Everything that one is asked for is an `Assignment`, answered
once by bytes. How these values travel is the business of `wire` and `http`; what they mean, that of the rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from tacit.errors import TacitError

ID = 32
"""Hexadecimal digits of the id of an assignment, and of an incarnation."""


INLINE = 64 * 2**10
"""Most bytes of a blob that travels with the assignment that names it."""
READY = b"ready"
"""That a training is done whose report will be asked for."""


class Kind(StrEnum):
    """What an assignment asks for. The answer to the first is a report, or keys; to the others, one message each."""

    TRAIN = "train"
    """Train from a broadcast. The answer: a report where the server adds it itself; in a secure sum an `Advertise`.

    Where rounds overlap the answer is `READY`, and `KEYS` asks for the rest.
    """
    KEYS = "keys"
    """Where rounds overlap: give what an earlier training came to, as `TRAIN` does else."""
    SHARE = "share"
    """Look at the roster, and share secrets: a `Shares`."""
    MASK = "mask"
    """Open the inbox, and hide the report: a `Masked`."""
    CONFIRM = "confirm"
    """Sign who survived: a `Confirm`."""
    UNMASK = "unmask"
    """Give the one answer that removes masks: an `Unmask`."""


class Code(StrEnum):
    """Why something was refused. Each has one HTTP status."""

    MALFORMED = "malformed"
    """400: no message of this protocol."""
    UNSIGNED = "unsigned"
    """401: no signature, a false one, or of an unknown key."""
    SKEWED = "skewed"
    """401: signed at another time than the coordinator's clock shows; the reply tells its time."""
    REPLAYED = "replayed"
    """401: a nonce that was used before."""
    REVOKED = "revoked"
    """403: the participant was revoked, or has withdrawn."""
    FORBIDDEN = "forbidden"
    """403: a token that is spent, expired or wrong; a name that is taken; something that is somebody else's."""
    UNKNOWN = "unknown"
    """404: there is no such thing."""
    SLOW = "slow"
    """408: the body came too slowly."""
    CONFLICT = "conflict"
    """409: answered before, with other bytes."""
    GONE = "gone"
    """410: the assignment is closed. Check in again."""
    TOO_LARGE = "too_large"
    """413: more bytes than may come."""
    UPGRADE = "upgrade"
    """426: a version of the protocol that this side does not speak."""
    TOO_MANY = "too_many"
    """429: too many requests; the reply says when to come again."""
    BUSY = "busy"
    """503: not now: no memory, no space on disk, or closing down; the reply says when to come again."""


class Refused(TacitError):
    """The other side refused, and says why.

    Attributes:
        code: why, for programs.
        remedy: what to do about it, a sentence.
        after: seconds after which to come again; None where coming again does not help.
    """

    exit_code = 8

    def __init__(self, code: Code, problem: str, remedy: str = "", after: float | None = None) -> None:
        super().__init__(f"{problem}: {remedy}" if remedy else problem)
        self.code, self.problem, self.remedy, self.after = code, problem, remedy, after


@dataclass(frozen=True)
class Blob:
    """Bytes by their content.

    Attributes:
        sha256: 64 hexadecimal digits.
        size: in bytes.
        data: themselves, where they are few and at hand; else empty, and to be fetched.
    """

    sha256: str
    size: int
    data: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True)
class Assignment:
    """What one participant is asked for.

    Attributes:
        id: 32 hexadecimal digits.
        kind: of the answer.
        round: from 0.
        attempt: how often this round was tried before.
        seconds: for which an answer is waited for, from when this was sent.
        limit: most bytes of the answer.
        payload: what it takes beside the blobs, in a form of its kind's own; at most 1 MiB.
        blobs: by name: "down", "roster".
    """

    id: str
    kind: Kind
    round: int
    attempt: int
    seconds: float
    limit: int
    payload: bytes = b""
    blobs: Mapping[str, Blob] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckIn:
    """What a participant says of itself when it asks what to do.

    Attributes:
        incarnation: of its process: 32 hexadecimal digits, drawn when it starts.
        terms: hash of the terms that it has approved; empty before.
        approval: its signature over them (64 bytes); empty before.
        version: of tacit, or of the program that it is.
        engine: that runs its local steps; empty before it has trained.
        wait: seconds for which it is ready to wait for an assignment, at most 25.
        working: ids of the assignments that it is working on.
        note: why it does not take part, for the operator; empty where it does.
    """

    incarnation: str
    terms: str = ""
    approval: bytes = b""
    version: str = ""
    engine: str = ""
    wait: float = 0.0
    working: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a round, for one participant.

    Attributes:
        round, attempt: of which.
        counted: whether its report is in the sum that was used; of a round in which it is not, nothing is said.
    """

    round: int
    attempt: int
    counted: bool


@dataclass(frozen=True)
class Reply:
    """What a participant is told when it checks in.

    Attributes:
        state: of the run: "gathering" (participants), "training", "finished", "failed".
        round, rounds: how many are done, of how many.
        assignments: to be answered; all that are open for this participant.
        terms: of the run, as a blob: to be approved where they are not those it said.
        outcome: of the last round that holds its report; None before.
        model: of the run that is finished.
        wait: seconds after which to check in again.
        said: a sentence for people.
    """

    state: str
    round: int = 0
    rounds: int = 0
    assignments: tuple[Assignment, ...] = ()
    terms: Blob | None = None
    outcome: Outcome | None = None
    model: Blob | None = None
    wait: float = 0.0
    said: str = ""


@dataclass(frozen=True)
class Enrolled:
    """What a participant gets for its token.

    Attributes:
        name: under which it is known.
        authority: public key of who certified it (32 bytes).
        certificate: its signature (64 bytes) over name and key, as `aggregation.secure.identity` has it.
    """

    name: str
    authority: bytes
    certificate: bytes


@dataclass(frozen=True)
class Failure:
    """Why a participant does not answer an assignment.

    Attributes:
        kind: "refused" (its policy), "data", "memory", "session" (the secure sum's rules), "unexpected".
        text: a sentence without any of its data.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Receipt:
    """That an answer was taken, durably.

    Attributes:
        again: whether it had been taken before.
        reply: what to do now, where that was asked for with the answer.
    """

    again: bool = False
    reply: Reply | None = None


@dataclass(frozen=True)
class Withdrawal:
    """What a participant is told that leaves.

    Attributes:
        counted: in how many rounds its reports were counted.
        remains: what remains of them, sentences.
    """

    counted: int
    remains: tuple[str, ...]


class Office(Protocol):
    """What the HTTP surface asks of a coordinator. All methods run on one event loop, and none blocks it."""

    def key_of(self, participant: str) -> bytes:
        """The public key (32 bytes) by which a participant's requests are verified.

        Raises:
            Refused: it is unknown (UNSIGNED), revoked or withdrawn (REVOKED).
        """
        ...

    async def fresh(self, participant: str, nonce: bytes, until: int) -> bool:
        """Whether a nonce was not used before; it is remembered, durably, until a time (ms since 1970)."""
        ...

    async def enrol(self, token: str, name: str, key: bytes) -> Enrolled:
        """Takes a participant in, once for each token. The caller has verified that it owns the key.

        Raises:
            Refused: a token that is wrong, spent or expired; a name that is taken by another key (FORBIDDEN).
        """
        ...

    async def check_in(self, participant: str, said: CheckIn) -> Reply:
        """What to do now; waits for up to `said.wait` seconds while there is nothing."""
        ...

    async def next(self, participant: str, wait: float) -> Reply:
        """What to do now, for one that has just answered and works on nothing else; waits for up to `wait` seconds."""
        ...

    def expected(self, participant: str, assignment: str) -> Assignment:
        """An assignment that may be answered, before a byte of the answer is read.

        Raises:
            Refused: it is closed (GONE), or was never this participant's (UNKNOWN).
        """
        ...

    async def answer(self, participant: str, assignment: str, body: bytes | memoryview, digest: bytes) -> Receipt:
        """Takes an answer whose SHA-256 is `digest`; returns when it is durable that it was taken.

        Raises:
            Refused: CONFLICT, GONE, UNKNOWN, MALFORMED, BUSY.
        """
        ...

    async def fail(self, participant: str, assignment: str, why: Failure) -> Receipt:
        """Notes that an assignment will not be answered.

        Raises:
            Refused: GONE, UNKNOWN.
        """
        ...

    def blob(self, participant: str, sha256: str) -> Path | bytes:
        """Bytes that participants may fetch: a file, or what is in memory.

        Raises:
            Refused: there are none of this content (UNKNOWN).
        """
        ...

    async def withdraw(self, participant: str) -> Withdrawal:
        """Lets a participant leave for good; what remains of it is said."""
        ...

    def status(self) -> Mapping[str, Any]:
        """How the run goes, as JSON values, with nothing of single participants: what the dashboard shows."""
        ...

    def unready(self) -> list[str]:
        """Why it cannot serve now; empty where it can."""
        ...
