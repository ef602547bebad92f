"""Who leads: one coordinator at a time, each under a number of its own, the epoch, to which its writes are held.

The lease ends by itself if it is not renewed, and at once where it is certain that its holder died. A holder that was
paused for too long cannot know that another has taken over, so it is not asked: each of its transactions begins by
writing the lease's row under its own epoch, and finds no such row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection, Float, Update, bindparam, select

from tacit.network.journal.database import Database
from tacit.network.journal.errors import Fenced, LeaseHeld
from tacit.network.journal.schema import LEASE, make


@dataclass(frozen=True)
class Lease:
    """A lease that was taken.

    Attributes:
        database: whose.
        epoch: its number. Each one taken has a greater one.
        holder: who has it, for people.
        seconds: for which it holds from every renewal.
    """

    database: Database
    epoch: int
    holder: str
    seconds: float

    @classmethod
    def take(cls, database: Database, holder: str, seconds: float, connection: Connection) -> Lease:
        """Takes the lease, and makes the tables where there are none.

        Args:
            database: of which.
            holder: who takes it, for people.
            seconds: for which it holds from every renewal.
            connection: that will write. It must stay open for as long as the lease is held.

        Raises:
            LeaseHeld: somebody else has it.
            StorageError: the tables are of another version.
        """
        with connection.begin():
            database.alone(connection)
            make(connection, database.name)
            row = connection.execute(select(LEASE).with_for_update()).one()
            now = float(connection.scalar(select(database.now()), database.told()) or 0.0)
            held = bool(row.holder) and now < row.until and not database.died(connection, row.epoch, row.renewed)
            epoch = row.epoch + 1
            if held or not database.claim(connection, epoch):
                raise LeaseHeld(database.name, row.holder or "somebody", row.until, now)
            connection.execute(
                LEASE.update().values(epoch=epoch, holder=holder, renewed=now, until=now + seconds, stamp="")
            )
        database.unclaim(row.epoch)
        return cls(database, epoch, holder, seconds)

    @cached_property
    def _renewal(self) -> Update:
        """Built once, as it begins every transaction."""
        now = self.database.now()
        mine = LEASE.update().where(LEASE.c.epoch == bindparam("this"), LEASE.c.holder != "")
        return mine.values(renewed=now, until=now + bindparam("lasts", type_=Float(53)), stamp=bindparam("name"))

    def fence(self, connection: Connection, stamp: str) -> None:
        """Begins a transaction: renews the lease, and keeps any other holder out until the transaction ends.

        Args:
            connection: in the transaction.
            stamp: names the transaction, so that it can be seen later whether it was committed.

        Raises:
            Fenced: somebody else holds the lease.
        """
        said = {"this": self.epoch, "lasts": self.seconds, "name": stamp, **self.database.told()}
        if connection.execute(self._renewal, said).rowcount != 1:
            row = connection.execute(select(LEASE)).one()
            raise Fenced(
                f"this coordinator ({self.holder!r}, epoch {self.epoch}) does not hold the journal "
                f"{self.database.name} any more: {row.holder or 'nobody'!r} does, in epoch {row.epoch}. Nothing that "
                "it still writes is taken: stop it"
            )

    def stamped(self, connection: Connection) -> str:
        """Which transaction was committed last; waits for one that is not decided yet."""
        return str(connection.scalar(select(LEASE.c.stamp).where(LEASE.c.epoch == self.epoch).with_for_update()) or "")

    def give(self, connection: Connection) -> None:
        """Gives the lease back, in a transaction of its own."""
        with connection.begin():
            connection.execute(LEASE.update().where(LEASE.c.epoch == self.epoch).values(holder="", until=0.0))
