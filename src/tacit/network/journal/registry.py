"""Who takes part: tokens to enrol with, participants and their keys, and those who left or were sent away for good."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, func, select

from tacit.errors import UsageError
from tacit.network.journal.chain import as_json, log
from tacit.network.journal.part import Part
from tacit.network.journal.schema import PARTICIPANTS, TOKENS
from tacit.network.office import Code, Refused

LONGEST = 200
"""Most characters of a participant's name."""


class Standing(StrEnum):
    """Whether a participant may take part. It becomes one of the last two once, and stays so."""

    ACTIVE = "active"
    REVOKED = "revoked"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class Participant:
    """Somebody who was taken in.

    Attributes:
        name: under which it is known.
        key: its public key (32 bytes).
        position: from 0, in the order of enrolment.
        enrolled: when, in milliseconds since 1970.
        state: whether it may take part.
        reason: why not.
    """

    name: str
    key: bytes
    position: int
    enrolled: int
    state: Standing
    reason: str = ""


class Registry(Part):
    """The participants of a journal. Tokens are known by their sha256 alone: whoever reads the journal has none.

    A token is found by its digest, so how long that takes says nothing of how much of a guess was right.
    """

    def add_token(self, digest: bytes, *, uses: int = 1, expires_ms: int, note: str = "") -> None:
        """Adds a token to enrol with. Returns when it is on disk.

        Args:
            digest: sha256 of the token.
            uses: for how many participants.
            expires_ms: until when, in milliseconds since 1970.
            note: for the operator.

        Raises:
            UsageError: it is there already, or `uses` or `digest` is not of this kind.
        """
        if len(digest) != 32 or uses < 1:
            raise UsageError(f"a token has a sha256 of 32 bytes and at least one use, not {len(digest)} and {uses}")
        at = self._ms()

        def add(connection: Connection) -> None:
            if _token(connection, digest) is not None:
                raise UsageError("this token was added before: draw another one")
            values = {"digest": digest, "uses": uses, "expires": expires_ms, "note": note}
            connection.execute(TOKENS.insert().values(**values))
            log(connection, at, "token.added", as_json({"uses": uses, "expires": expires_ms, "note": note}))

        self._now("add_token", add, minor=True)

    def enrol(self, token: bytes, name: str, key: bytes) -> Future[Participant]:
        """Takes a participant in, and spends one use of the token in the same transaction.

        Who asks again with the same name and key gets the same record, and spends nothing. The caller has verified
        that the key is the asker's own.

        Args:
            token: sha256 of the token.
            name: at most 200 printable characters.
            key: public key (32 bytes).

        The future raises:
            Refused: the token is wrong, spent or expired; the name or the key is somebody else's (FORBIDDEN); the
                participant was revoked or has withdrawn (REVOKED); the name or the key is none (MALFORMED).
        """
        at = self._ms()
        return self._later("enrol", lambda connection: _enrol(connection, token, name, key, at), minor=True)

    def participants(self) -> list[Participant]:
        """All who were ever taken in, in the order in which they were."""
        query = select(PARTICIPANTS).order_by(PARTICIPANTS.c.position)
        return self._read(lambda connection: [_participant(row) for row in connection.execute(query)])

    def revoke(self, name: str, reason: str) -> Participant:
        """Sends a participant away for good. Returns when it is on disk.

        Raises:
            Refused: there is none of this name (UNKNOWN).
        """
        at = self._ms()
        return self._now("revoke", lambda connection: _end(connection, name, Standing.REVOKED, reason, at))

    def withdraw(self, name: str) -> Future[Participant]:
        """Lets a participant leave for good. The future is done when it is on disk.

        The future raises:
            Refused: there is none of this name (UNKNOWN).
        """
        at, reason = self._ms(), "it has withdrawn its consent"
        return self._later("withdraw", lambda connection: _end(connection, name, Standing.WITHDRAWN, reason, at))


def _enrol(connection: Connection, digest: bytes, name: str, key: bytes, at: int) -> Participant:
    if not (0 < len(name) <= LONGEST and name.isprintable()) or len(key) != 32:
        raise Refused(Code.MALFORMED, f"a name has 1 to {LONGEST} printable characters, and a key 32 bytes")
    token = _token(connection, digest)
    if token is None:  # before anything is said of names, which only those with a token may learn
        raise Refused(Code.FORBIDDEN, "the token is not known here", "ask the operator for one")
    known = connection.execute(select(PARTICIPANTS).where(PARTICIPANTS.c.name == name)).first()
    if known is not None and bytes(known.key) == key:
        found = _participant(known)
        if found.state is not Standing.ACTIVE:
            raise Refused(Code.REVOKED, f"{name!r} is {found.state}: {found.reason}", "it cannot come back")
        return found
    if at >= token.expires:
        raise Refused(Code.FORBIDDEN, "the token has expired", "ask the operator for a new one")
    if token.uses < 1:
        raise Refused(Code.FORBIDDEN, "the token is spent", "ask the operator for a new one")
    if known is not None:
        raise Refused(Code.FORBIDDEN, f"the name {name!r} is taken by another key", "take another name")
    if connection.scalar(select(PARTICIPANTS.c.name).where(PARTICIPANTS.c.key == key)) is not None:
        raise Refused(Code.FORBIDDEN, "the key is enrolled under another name", "take that name, or make a new key")
    position = connection.scalar(select(func.count()).select_from(PARTICIPANTS)) or 0
    new = Participant(name, key, position, at, Standing.ACTIVE)
    connection.execute(TOKENS.update().where(TOKENS.c.digest == digest).values(uses=TOKENS.c.uses - 1))
    row = {"name": name, "key": key, "position": position, "token": digest, "enrolled": at}
    connection.execute(PARTICIPANTS.insert().values(**row, state=new.state.value, reason=""))
    log(connection, at, "participant.enrolled", as_json({"name": name, "position": position, "key": key.hex()}))
    return new


def _end(connection: Connection, name: str, state: Standing, reason: str, at: int) -> Participant:
    row = connection.execute(select(PARTICIPANTS).where(PARTICIPANTS.c.name == name)).first()
    if row is None:
        raise Refused(Code.UNKNOWN, f"there is no participant {name!r}", "look at the list of participants")
    known = _participant(row)
    if known.state is not Standing.ACTIVE:
        return known
    change = PARTICIPANTS.update().where(PARTICIPANTS.c.name == name)
    connection.execute(change.values(state=state.value, reason=reason))
    log(connection, at, f"participant.{state.value}", as_json({"name": name, "reason": reason}))
    return Participant(known.name, known.key, known.position, known.enrolled, state, reason)


def _token(connection: Connection, digest: bytes) -> Row[Any] | None:
    return connection.execute(select(TOKENS).where(TOKENS.c.digest == digest)).first()


def _participant(row: Row[Any]) -> Participant:
    return Participant(row.name, bytes(row.key), row.position, row.enrolled, Standing(row.state), row.reason)
