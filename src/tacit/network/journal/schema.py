"""The tables of a coordinator's journal. Times are milliseconds since 1970, except those of the lease (seconds)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    inspect,
)

from tacit.errors import DamagedFile, StorageError

VERSION = 1
TABLES = MetaData()

JOURNAL = Table(
    "tacit_journal",
    TABLES,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)
LEASE = Table(
    "tacit_lease",
    TABLES,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),  # empty: nobody
    Column("renewed", Float(53), nullable=False),
    Column("until", Float(53), nullable=False),
    Column("stamp", Text, nullable=False),  # of the last transaction
)
TOKENS = Table(
    "tacit_tokens",
    TABLES,
    Column("digest", LargeBinary, primary_key=True),
    Column("uses", Integer, nullable=False),  # that are left
    Column("expires", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
)
PARTICIPANTS = Table(
    "tacit_participants",
    TABLES,
    Column("name", Text, primary_key=True),
    Column("position", Integer, nullable=False, unique=True),
    Column("key", LargeBinary, nullable=False, unique=True),
    Column("token", LargeBinary, nullable=False),
    Column("enrolled", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
NONCES = Table(
    "tacit_nonces",
    TABLES,
    Column("participant", Text, primary_key=True),
    Column("nonce", LargeBinary, primary_key=True),
    Column("until", BigInteger, nullable=False),
)
Index("tacit_nonces_until", NONCES.c.until)
FACTS = Table(
    "tacit_facts",
    TABLES,
    Column("key", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("text", Integer, nullable=False),  # 1: the value was text
)
ROUNDS = Table(
    "tacit_rounds",
    TABLES,
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("cohort", Text, nullable=False),  # names, as a JSON array
    Column("down", Text, nullable=False),
    Column("survivors", Text),  # names, as a JSON array
    Column("model", Text),
    Column("reason", Text, nullable=False),
    Column("facts", Text, nullable=False),  # a JSON object
    Column("opened", BigInteger, nullable=False),
    Column("moved", BigInteger, nullable=False),
)


def _of_a_round(*names: str) -> tuple[Column[int] | Column[str] | ForeignKeyConstraint, ...]:
    """Columns by which something belongs to an attempt."""
    return (
        Column("round", Integer, primary_key=True, autoincrement=False),
        Column("attempt", Integer, primary_key=True, autoincrement=False),
        *(Column(name, Text, primary_key=True) for name in names),
        ForeignKeyConstraint(["round", "attempt"], [ROUNDS.c.round, ROUNDS.c.attempt]),
    )


STEPS = Table("tacit_steps", TABLES, *_of_a_round("kind"), Column("closed", BigInteger, nullable=False))
ANSWERS = Table(
    "tacit_answers",
    TABLES,
    *_of_a_round("kind", "participant"),
    Column("digest", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)
LOSSES = Table(
    "tacit_losses",
    TABLES,
    *_of_a_round("kind", "participant"),
    Column("cause", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)
EVENTS = Table(
    "tacit_events",
    TABLES,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("facts", Text, nullable=False),  # a JSON object
    Column("digest", Text, nullable=False),
)


def make(connection: Connection, where: str) -> None:
    """The tables, made where there are none, and checked where there are.

    Args:
        connection: in a transaction that keeps everybody else from writing.
        where: the journal's name, for messages.

    Raises:
        StorageError: they are of another version.
        DamagedFile: some are missing, or not as they are made here.
    """
    found = set(inspect(connection).get_table_names())
    if JOURNAL.name not in found:
        clash = sorted(found & set(TABLES.tables))
        if clash:
            raise DamagedFile(
                f"the journal {where} has {', '.join(clash)} but does not say of which version: put back a copy, or "
                "give an empty database"
            )
        TABLES.create_all(connection)
        connection.execute(JOURNAL.insert().values(id=1, version=VERSION))
        connection.execute(LEASE.insert().values(id=1, epoch=0, holder="", renewed=0.0, until=0.0, stamp=""))
        return
    version = connection.scalar(JOURNAL.select().with_only_columns(JOURNAL.c.version))
    if version != VERSION:
        raise StorageError(
            f"the journal {where} has version {version}, and this tacit reads {VERSION}: use the tacit that wrote it, "
            "or give a new journal"
        )
    for table in TABLES.sorted_tables:
        columns = {one["name"] for one in inspect(connection).get_columns(table.name)} if table.name in found else set()
        if columns != set(table.columns.keys()):
            raise DamagedFile(
                f"the table {table.name} of the journal {where} is not as tacit makes it: put back a copy"
            )
