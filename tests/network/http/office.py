"""An office that keeps everything in memory, for tests of what stands before it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tacit.network.office import (
    Assignment,
    CheckIn,
    Code,
    Enrolled,
    Failure,
    Kind,
    Receipt,
    Refused,
    Reply,
    Withdrawal,
)


@dataclass
class Memory:
    """Does what `Office` says, and shows everything that it was asked."""

    keys: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    nonces: dict[tuple[str, bytes], int] = field(default_factory=dict)
    assignments: dict[str, tuple[str, Assignment]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    answers: dict[str, bytes] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    blobs: dict[str, Path | bytes] = field(default_factory=dict)
    said: list[tuple[str, CheckIn]] = field(default_factory=list)
    reply: Reply = field(default_factory=lambda: Reply("gathering", wait=1.0))
    news: asyncio.Event = field(default_factory=asyncio.Event)
    taking: asyncio.Event | None = None
    taken: int = 0

    def key_of(self, participant: str) -> bytes:
        if participant in self.revoked:
            raise Refused(Code.REVOKED, f"{participant} was revoked")
        if participant not in self.keys:
            raise Refused(Code.UNSIGNED, "nobody of this name is known", "enrol first")
        return self.keys[participant]

    async def fresh(self, participant: str, nonce: bytes, until: int) -> bool:
        known = (participant, nonce) in self.nonces
        self.nonces[participant, nonce] = until
        return not known

    async def enrol(self, token: str, name: str, key: bytes) -> Enrolled:
        if token not in self.tokens or self.keys.get(name, key) != key:
            raise Refused(Code.FORBIDDEN, "the token is spent or wrong", "ask for another invitation")
        self.tokens.discard(token)
        self.keys[name] = key
        return Enrolled(name, bytes(32), bytes(64))

    async def check_in(self, participant: str, said: CheckIn) -> Reply:
        self.said.append((participant, said))
        if said.wait:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), said.wait)
        return self.reply

    async def next(self, participant: str, wait: float) -> Reply:
        self.key_of(participant)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.news.wait(), wait)
        self.key_of(participant)
        return self.reply

    def expected(self, participant: str, assignment: str) -> Assignment:
        owner, found = self.assignments.get(assignment, ("", None))
        if found is None or owner != participant:
            raise Refused(Code.UNKNOWN, "no such assignment")
        if assignment in self.closed:
            raise Refused(Code.GONE, "it is closed", "check in again")
        return found

    async def answer(self, participant: str, assignment: str, body: bytes | memoryview, digest: bytes) -> Receipt:
        self.expected(participant, assignment)
        if self.taking is not None:
            await self.taking.wait()
        before = self.answers.get(assignment)
        if before is not None and before != body:
            raise Refused(Code.CONFLICT, "answered with other bytes")
        assert hashlib.sha256(body).digest() == digest
        self.answers[assignment] = bytes(body)
        self.taken += 1
        return Receipt(before is not None)

    async def fail(self, participant: str, assignment: str, why: Failure) -> Receipt:
        self.expected(participant, assignment)
        self.failures[assignment] = why
        return Receipt()

    def blob(self, participant: str, sha256: str) -> Path | bytes:
        if sha256 not in self.blobs:
            raise Refused(Code.UNKNOWN, "no such blob")
        return self.blobs[sha256]

    async def withdraw(self, participant: str) -> Withdrawal:
        self.revoked.add(participant)
        return Withdrawal(2, ("two models hold what it sent, in sums",))

    def status(self) -> Mapping[str, Any]:
        return {}

    def unready(self) -> list[str]:
        return []

    def ask(self, participant: str, id: str = "a" * 32, limit: int = 2**30) -> Assignment:
        """Opens an assignment."""
        found = Assignment(id, Kind.TRAIN, 0, 0, 60.0, limit)
        self.assignments[id] = participant, found
        return found
