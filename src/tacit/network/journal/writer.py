"""The one thread that writes: what is asked for while a commit is under way goes together into the next one.

A write is told that it is done when the transaction that holds it is on disk, and never before. A commit of many costs
as much as a commit of one, so what comes right after one waits a moment for more, and on a slow disk batches grow by
themselves. What the rounds write waits for nothing.
"""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from tacit.errors import StorageError
from tacit.network.journal.chain import forget
from tacit.network.journal.database import Database
from tacit.network.journal.errors import Away, Fenced
from tacit.network.journal.failpoint import passing
from tacit.network.journal.lease import Lease
from tacit.network.office import Code, Refused

BATCH = 512
"""Most writes in one transaction."""
PENDING = 20_000
"""Most writes that wait; beyond, those that can wait are refused."""

LATE = 4.0
"""Seconds beyond its patience after which a commit that has not come back counts as one that does not."""
WINDOW = 0.001
"""Seconds after a commit within which what requests ask for waits for the next one."""

Act = Callable[[Connection, list[Any]], Sequence[Any]]
"""Carries out several writes of one kind, in order. Gives what becomes of each: a value, or an exception."""


@dataclass
class Write:
    """Something to be written.

    Attributes:
        name: of what it does: NAME.before and NAME.after are points of `failpoint`.
        act: carries it out, together with those beside it that have the same.
        item: what `act` gets of it.
        minor: it is refused first, where there is little space or too much waits.
        free: it may be carried out before others that are free and of another kind.
        done: what becomes of it.
    """

    name: str
    act: Act
    item: Any = None
    minor: bool = False
    free: bool = False
    done: Future[Any] = field(default_factory=Future)


class _Stumbled(Exception):
    """One of several writes cannot be carried out."""


class Writer:
    """Writes for one holder of the lease, until it is closed.

    Args:
        database: where to.
        lease: held by the connection.
        connection: that writes.
        patience: seconds for which a database that is away is tried again.
        chores: what to do now and then, inside of a transaction.
    """

    def __init__(
        self,
        database: Database,
        lease: Lease,
        connection: Connection,
        patience: float,
        chores: Callable[[Connection], None],
    ) -> None:
        self._database, self._lease, self._patience, self._chores = database, lease, patience, chores
        self._connection: Connection | None = connection
        self._queue: SimpleQueue[Write | None] = SimpleQueue()
        self._process = os.getpid()
        self._closing = threading.Lock()
        self._closed = False
        self._error: StorageError | None = None
        self._final = False
        self._scarce = database.scarce()
        self._tended = self._looked = self._committed = time.monotonic()
        self._began: float | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def error(self) -> StorageError | None:
        """Why nothing can be written now."""
        began = self._began
        if self._error is None and began is not None and time.monotonic() - began > self._patience + LATE:
            return StorageError(
                f"the journal {self._database.name} has not answered for {time.monotonic() - began:.0f} seconds: see "
                "that it runs and can be reached"
            )
        return self._error

    @property
    def final(self) -> bool:
        """Whether it stays so."""
        return self._final

    @property
    def scarce(self) -> bool:
        """Whether only what must be written is."""
        return self._scarce

    def put(self, write: Write) -> Future[Any]:
        """Asks for a write. Its future is done when it is on disk, or will never be."""
        refusal: Exception | None = StorageError(f"the journal {self._database.name} is closed")
        if os.getpid() == self._process:  # a fork has no writer, and perhaps a lock that nobody opens
            with self._closing:
                refusal = self._refusal(write)
                if refusal is None:
                    self._queue.put(write)
        if refusal is not None:
            write.done.set_exception(refusal)
        return write.done

    def close(self) -> None:
        """Writes what was asked for, and gives the lease back."""
        with self._closing:
            first, self._closed = not self._closed, True
            if first:
                self._queue.put(None)
        self._thread.join()

    def _refusal(self, write: Write) -> Exception | None:
        if self._closed:
            return StorageError(f"the journal {self._database.name} is closed")
        if (error := self.error) is not None:
            return error
        if write.minor and self._scarce:
            return Away(
                f"little space is left on the disk of the journal {self._database.name}: what can wait is not written; "
                "free some space there"
            )
        if write.minor and self._queue.qsize() >= PENDING:
            return Refused(Code.BUSY, f"{PENDING:,} writes wait for the journal", "come again later", after=1.0)
        return None

    def _run(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._gathered()
            self._began = time.monotonic()
            try:
                self._commit(batch)
            except Exception as error:  # a fault of ours, not of the database: it must not leave anybody waiting
                self._fail(StorageError(f"the journal {self._database.name} has failed: {error!r}"), batch, final=True)
            self._began, self._committed = None, time.monotonic()
            self._look()
        self._leave()

    def _gathered(self) -> tuple[list[Write], bool]:
        """What waits, and whether to go on. Empty when it is time to renew the lease."""
        batch: list[Write] = []
        troubled = self._scarce or self._error is not None
        try:
            write = self._queue.get(timeout=min(self._lease.seconds / 3, 1.0 if troubled else 60.0))
            if write is not None and write.minor:
                time.sleep(max(0.0, self._committed + WINDOW - time.monotonic()))
            while write is not None:
                if write.done.set_running_or_notify_cancel():
                    batch.append(write)
                if len(batch) >= BATCH:
                    return batch, True
                write = self._queue.get_nowait()
        except Empty:
            return batch, True
        return batch, False

    def _commit(self, batch: list[Write]) -> None:
        """Writes a batch in one transaction, again where the database was away, and tells everybody."""
        if self._error is not None and (self._final or batch):
            self._fail(self._error, batch, self._final)
            return
        stamp, until = uuid.uuid4().hex, time.monotonic() + self._patience
        found: list[Any] = []
        apart = False
        for pause in _pauses():
            try:
                try:
                    self._transact(batch, stamp, found, apart)
                except _Stumbled:
                    apart = True
                    forget(self._connected())
                    self._transact(batch, stamp, found, apart)
                break
            except Fenced as error:
                self._drop()
                self._fail(error, batch, final=True)
                return
            except SQLAlchemyError as error:
                self._drop()
                if not self._database.passing(error) or time.monotonic() + pause > until or self._error is not None:
                    self._fail(self._database.explained(error), batch, not self._database.mendable(error))
                    return
            time.sleep(pause)
        self._error = None
        for write in batch:
            passing(f"{write.name}.after")
        for write, outcome in zip(batch, found, strict=True):
            if isinstance(outcome, BaseException):
                write.done.set_exception(outcome)
            else:
                write.done.set_result(outcome)

    def _transact(self, batch: list[Write], stamp: str, found: list[Any], apart: bool) -> None:
        """One transaction. If it had been committed before the connection broke, `found` holds what came of it.

        Args:
            apart: lets what stumbles fail by itself, at the price of a savepoint for each kind of write.

        Raises:
            _Stumbled: something did, and was not kept apart: nothing was written.
        """
        connection = self._connected()
        with connection.begin():
            if found and self._lease.stamped(connection) == stamp:
                return
            found[:] = [None] * len(batch)
            self._lease.fence(connection, stamp)
            carry_out = self._carried_out if apart else self._carried_out_together
            for places in _groups(batch):
                for place, outcome in zip(places, carry_out(connection, [batch[i] for i in places]), strict=True):
                    found[place] = outcome
            if time.monotonic() - self._tended > self._lease.seconds / 3:
                self._chores(connection)
                self._tended = time.monotonic()
            for write in batch:
                passing(f"{write.name}.before")

    def _carried_out_together(self, connection: Connection, group: list[Write]) -> Sequence[Any]:
        try:
            return group[0].act(connection, [write.item for write in group])
        except SQLAlchemyError as error:
            if not isinstance(error, IntegrityError | DataError):
                raise
            raise _Stumbled from error
        except Exception as error:
            raise _Stumbled from error

    def _carried_out(self, connection: Connection, group: list[Write]) -> Sequence[Any]:
        point = connection.begin_nested()
        try:
            outcomes = group[0].act(connection, [write.item for write in group])
            point.commit()
        except SQLAlchemyError as error:
            if not isinstance(error, IntegrityError | DataError):
                raise
            point.rollback()
            forget(connection)
            return [self._database.explained(error)] * len(group)
        except Exception as error:  # what one write is refused for, or stumbles over, is not the others' affair
            point.rollback()
            forget(connection)
            return [error] * len(group)
        return outcomes

    def _connected(self) -> Connection:
        if self._connection is None:
            connection = self._database.engine.connect().execution_options(write=True)
            try:
                with connection.begin():
                    self._database.claim(connection, self._lease.epoch)
            except BaseException:
                connection.invalidate()
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        """A connection after an error is not used again: what state it is in is not known."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except SQLAlchemyError:
                return  # it is broken already

    def _fail(self, error: StorageError, batch: list[Write], final: bool) -> None:
        self._error, self._final = error, final or self._final
        for write in batch:
            if not write.done.done():
                write.done.set_exception(error)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked >= 0.2:
            self._looked, self._scarce = now, self._database.scarce()

    def _leave(self) -> None:
        try:
            if not self._final:
                self._lease.give(self._connected())
                self._database.unclaim(self._lease.epoch)
        except SQLAlchemyError:
            return  # it ends by itself; and at once where its mark goes with the process
        finally:
            self._drop()


def _groups(batch: Sequence[Write]) -> list[list[int]]:
    """Places of writes that are carried out together, in an order that comes to the same as theirs.

    What requests ask for is of a few kinds, and none of them is about what another one writes. What the rounds write
    stays where it is: before it comes all that came before, and after it nothing that did.
    """
    groups: list[list[int]] = []
    open_: dict[Act, list[int]] = {}
    for place, write in enumerate(batch):
        if write.act not in open_:
            if not write.free:
                open_.clear()
            groups.append([])
            if write.free:
                open_[write.act] = groups[-1]
        (open_[write.act] if write.free else groups[-1]).append(place)
    return groups


def _pauses() -> Iterator[float]:
    """Seconds to wait before trying again: twice as long each time, up to one second, with jitter."""
    base = 0.02
    while True:
        yield base * random.uniform(0.5, 1.0)
        base = min(2 * base, 1.0)
