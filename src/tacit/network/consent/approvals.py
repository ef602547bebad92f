r"""Approvals: signatures of a participant over the terms of one run.

What travels is one Ed25519 signature (64 bytes) over bytes that both sides can make from the participant's name and
the hash of the terms, `statement`:

    "tacit approval 1\n", the hash of the terms (32 bytes), the length of the name (2 bytes, big-endian), the name in
    UTF-8

The hash covers the run, its plan, its schema and who certifies; there is no time in it, so that it needs no clock that
both agree on. How long an approval holds is the participant's own affair: its record of the decision says when it was
made and until when it holds, under a second signature, and after that the participant stops. Each decision is a line of
a file, and the last one about the same terms holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tacit.aggregation.secure.identity import verified
from tacit.errors import DamagedFile, UsageError
from tacit.network.consent.lines import Lines
from tacit.network.terms import Terms

DOMAIN = b"tacit approval 1\n"
RECORD = b"tacit decision 1\n"
"""Begin what is signed, so that no signature of one kind is one of another."""
APPROVED, REFUSED = "approved", "refused"
DAYS = 90
"""For which an approval holds where nothing else is said."""


class Signer(Protocol):
    """Whose decision it is; `aggregation.secure.identity.Identity` is one."""

    @property
    def name(self) -> str:
        """Under which the participant is enrolled."""
        ...

    @property
    def key(self) -> bytes:
        """Its public key, 32 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        ...


def statement(name: str, terms: str) -> bytes:
    """The bytes that an approval signs.

    Args:
        name: of the participant.
        terms: their hash, 64 hexadecimal digits.

    Raises:
        UsageError: one of them is no such thing.
    """
    said = name.encode("utf-8", "surrogatepass")
    if not 0 < len(said) < 2**16 or len(terms) != 64 or set(terms) - set("0123456789abcdef"):
        raise UsageError(f"no approval can be of {name[:80]!r} over the terms {terms[:80]!r}")
    return DOMAIN + bytes.fromhex(terms) + len(said).to_bytes(2, "big") + said


def holds(key: bytes, name: str, terms: str, approval: bytes) -> bool:
    """Whether `approval` is that of the participant `name`, whose public key is `key`, for terms of this hash."""
    try:
        return len(approval) == 64 and verified(key, approval, statement(name, terms))
    except UsageError:
        return False


@dataclass(frozen=True)
class Decision:
    """What a participant decided about terms.

    Attributes:
        terms: their hash.
        run: of which they are.
        name: of the participant.
        decision: "approved" or "refused".
        at, until: when it was made, and from when on it holds no longer: UTC, ISO text with seconds.
        why: of a refusal, for the operator; empty otherwise.
        approval: the signature that travels, 128 hexadecimal digits; empty for a refusal.
        signature: over all of the above, 128 hexadecimal digits.
    """

    terms: str
    run: str
    name: str
    decision: str
    at: str
    until: str
    why: str
    approval: str
    signature: str

    @property
    def wire(self) -> bytes:
        """The approval as it travels, 64 bytes; empty for a refusal."""
        return bytes.fromhex(self.approval)

    def in_force(self, now: datetime) -> bool:
        """Whether it is an approval that has not expired."""
        return self.decision == APPROVED and now < datetime.fromisoformat(self.until)

    def signed(self) -> bytes:
        """The bytes under `signature`."""
        return RECORD + _json({name: value for name, value in self.__dict__.items() if name != "signature"})


class Approvals:
    """A participant's decisions, in a file.

    Args:
        path: of the file.
        key: the participant's public key: lines that it did not sign are refused.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        self.path, self._key = path, key
        self._lines = Lines(path)
        self._seen = (0, 0, 0)
        self._read: list[Decision] = []
        """As the file was when it was read last: every signature of it is verified once."""

    def approve(self, terms: Terms, signer: Signer, *, until: datetime, now: datetime | None = None) -> Decision:
        """Approves terms, on disk when this returns.

        Args:
            terms: what is approved.
            signer: with the key of this file.
            until: from then on it holds no longer.
            now: the time; of this machine's clock where it is not given.

        Raises:
            UsageError: `until` is not after now, or the key is another one.
            StorageError: the file cannot be written.
        """
        now = now or datetime.now(UTC)
        if until <= now:
            raise UsageError(f"until is {until.isoformat()}, and it is {now.isoformat()} already: give a later time")
        approval = signer.sign(statement(signer.name, terms.hash)).hex()
        return self._add((terms.hash, terms.run), signer, APPROVED, now, until, "", approval)

    def refuse(
        self, terms: Terms | Decision, signer: Signer, *, why: str = "", now: datetime | None = None
    ) -> Decision:
        """Refuses terms; an approval of them before holds no longer.

        Args:
            terms: what is refused; or a decision about it, where the terms themselves are not at hand any more.
            signer: with the key of this file.
            why: for the coordinator's operator.
            now: the time; of this machine's clock where it is not given.

        Raises:
            UsageError: the key is another one.
            StorageError: the file cannot be written.
        """
        now = now or datetime.now(UTC)
        hash = terms.terms if isinstance(terms, Decision) else terms.hash
        return self._add((hash, terms.run), signer, REFUSED, now, now, why[:1000], "")

    def find(self, terms: str) -> Decision | None:
        """The last decision about terms of this hash; whether an approval still holds, its `in_force` says.

        Raises:
            DamagedFile: a line of the file is not as it was written.
        """
        found = [decision for decision in self.all() if decision.terms == terms]
        return found[-1] if found else None

    def in_force(self, terms: str, now: datetime | None = None) -> Decision | None:
        """The approval of terms of this hash that holds now: to be asked again in every round, for it expires, and a
        person may have taken it back meanwhile.

        Raises:
            DamagedFile: a line of the file is not as it was written.
        """
        found = self.find(terms)
        return found if found is not None and found.in_force(now or datetime.now(UTC)) else None

    def all(self) -> list[Decision]:
        """All decisions, oldest first. A line that was never finished is left out: nobody was told that it was made.

        Raises:
            DamagedFile: a line of the file is not as it was written.
        """
        try:
            now = self.path.stat()
            seen = now.st_mtime_ns, now.st_size, now.st_ino
        except OSError:
            seen = (0, 0, 0)
        if seen != self._seen or not self._read:
            lines, _ = self._lines.read()
            self._read = [self._parsed(line, place) for place, line in enumerate(lines, 1)]
            self._seen = seen
        return list(self._read)

    def _add(
        self, of: tuple[str, str], signer: Signer, what: str, now: datetime, until: datetime, why: str, approval: str
    ) -> Decision:
        """Adds a decision about the terms and the run `of`."""
        if signer.key != self._key:
            raise UsageError(f"the decisions in {self.path} are signed by another key than that of {signer.name!r}")
        at, end = (time.astimezone(UTC).isoformat(timespec="seconds") for time in (now, until))
        unsigned = Decision(*of, signer.name, what, at, end, why, approval, "")
        signature = signer.sign(unsigned.signed()).hex()
        decision = Decision(**{**unsigned.__dict__, "signature": signature})
        with self._lines.held() as held:
            held.add(_json(decision.__dict__))
        return decision

    def _parsed(self, line: bytes, place: int) -> Decision:
        try:
            values = json.loads(line)
            names = set(Decision.__dataclass_fields__)
            good = isinstance(values, dict) and set(values) == names and _json(values) == line
            good = good and all(isinstance(value, str) for value in values.values())
            decision = Decision(**values) if good else None
            good = decision is not None and verified(self._key, bytes.fromhex(decision.signature), decision.signed())
            if good and decision is not None and decision.decision == APPROVED:
                good = holds(self._key, decision.name, decision.terms, decision.wire)
                good = good and datetime.fromisoformat(decision.until).tzinfo is not None
        except (ValueError, RecursionError):
            good, decision = False, None
        if not good or decision is None:
            raise DamagedFile(
                f"line {place} of {self.path} is not as this participant signed it: find out who changed the file, "
                "move it away, and decide anew"
            )
        return decision


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
