"""A journal in a PostgreSQL database, which several machines may share; one of them leads."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Float, cast, create_engine, event, func, text
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from tacit.errors import StorageError, UsageError
from tacit.network.journal.database import WAIT, cause_of
from tacit.network.journal.errors import Away

KEY = "hashtext('tacit ' || current_schema())"
"""The first of the two numbers of the advisory locks: a database may hold one journal in each schema. The second is the
epoch, 0 for making tables."""
PASSING = ("08", "40", "53300", "55P03", "57014", "57P", "25P03")
"""How the codes of errors begin that may go away: connections, deadlocks, too many clients, locks, shutting down, a
transaction that was ended while its process was paused."""
SETTINGS = (
    "SET synchronous_commit = on",  # a commit that has returned is on disk, whatever the server's default
    f"SET lock_timeout = '{WAIT:g}s'",
    f"SET idle_in_transaction_session_timeout = '{2 * WAIT:g}s'",  # a paused process keeps nobody's row locked
    f"SET statement_timeout = '{6 * WAIT:g}s'",
)


class Postgres:
    """The database. Whoever leads holds an advisory lock in its session, which the server ends when its process dies.

    Args:
        url: of the database, for psycopg.

    Raises:
        UsageError: psycopg is not installed.
    """

    def __init__(self, url: URL) -> None:
        self.name = url.render_as_string(hide_password=True)
        alive = {
            "connect_timeout": "5",
            "keepalives_idle": "5",
            "keepalives_interval": "3",
            "tcp_user_timeout": "15000",
        }
        try:
            self.engine = create_engine(
                url,
                connect_args={key: value for key, value in alive.items() if key not in url.query},
                isolation_level="READ COMMITTED",
                pool_pre_ping=True,
                pool_timeout=WAIT,
            )
        except ImportError:
            raise UsageError("a journal in PostgreSQL needs psycopg: pip install 'psycopg[binary]'") from None
        event.listen(self.engine, "connect", _settle)

    def prepare(self) -> None:
        """Nothing to do: the database exists, or cannot be connected to."""

    def alone(self, connection: Connection) -> None:
        """Waits for whoever makes the tables."""
        connection.execute(text(f"SELECT pg_advisory_xact_lock({KEY}, 0)"))

    def now(self) -> ColumnElement[float]:
        """The server's clock, so that those of several machines need not agree."""
        return cast(func.extract("epoch", func.clock_timestamp()), Float(53))

    def told(self) -> dict[str, float]:
        """Nothing: the server knows."""
        return {}

    def claim(self, connection: Connection, epoch: int) -> bool:
        """Takes the lock of an epoch, for this session. The server lends it once more to a session that has it."""
        return bool(connection.scalar(text(f"SELECT pg_try_advisory_lock({KEY}, :epoch)"), {"epoch": epoch}))

    def died(self, connection: Connection, epoch: int, renewed: float) -> bool:
        """Whether no session holds its lock, though the server has run ever since the holder was last heard of."""
        started = connection.scalar(text("SELECT extract(epoch FROM pg_postmaster_start_time())::float8"))
        if started is None or started >= renewed:
            return False
        return bool(connection.scalar(text(f"SELECT pg_try_advisory_xact_lock({KEY}, :epoch)"), {"epoch": epoch}))

    def unclaim(self, epoch: int) -> None:
        """Nothing to do: the lock goes with the session."""

    def passing(self, error: BaseException) -> bool:
        """A server that is away, or comes back; a lock."""
        if isinstance(error, PoolTimeout):
            return True
        code = getattr(cause_of(error), "sqlstate", None)
        if code is not None:
            return str(code).startswith(PASSING)
        return isinstance(error, DBAPIError) and (error.connection_invalidated or _unreached(error))

    def mendable(self, error: BaseException) -> bool:
        """Always: the server answers for what it has committed, and does not go on after a failed flush."""
        return True

    def explained(self, error: BaseException) -> StorageError:
        """What the server said, and what to do."""
        said = " ".join(str(cause_of(error)).split())
        away = self.passing(error)
        remedy = "see that it runs and can be reached" if away else "look at the server's log"
        kind = Away if away else StorageError
        return kind(f"the journal {self.name} cannot be read or written ({said}): {remedy}")

    def scarce(self) -> bool:
        """Never known here: the disk is the server's."""
        return False

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()


def _unreached(error: DBAPIError) -> bool:
    import psycopg

    return isinstance(error.orig, psycopg.OperationalError)


def _settle(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    try:
        for setting in SETTINGS:
            cursor.execute(setting)
    finally:
        cursor.close()
    connection.commit()
