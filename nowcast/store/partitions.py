"""Daily partitions of `chunks` by base time on PostgreSQL: made on demand before a publish, dropped for retention."""

import re
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, text

from nowcast.errors import StoreError

NAME = re.compile(r"chunks_\d{8}")
_LOCK = 0x6E6F7763
"""Key of the advisory lock under which partitions are made, one process at a time ("nowc")."""


def partition_of(base_time: datetime) -> str:
    """Return the name of the partition that holds a base time: its UTC day."""
    return f"chunks_{base_time.astimezone(UTC):%Y%m%d}"


def ensure_partition(engine: Engine, base_time: datetime) -> None:
    """Make the partition for a base time, if there is none (PostgreSQL; else nothing to do).

    `engine` is the one for writing, `Modes.write`: the partition gets its own transaction.

    Raises
    ------
    StoreError
        When retention is removing that day, or was interrupted at it.
    """
    if engine.dialect.name != "postgresql":
        return
    with engine.begin() as connection:
        if not _exists(connection, partition_of(base_time)):
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            if not _exists(connection, partition_of(base_time)):
                _create(connection, base_time)


# Not `to_regclass`: it may answer from the session's cache of names that were absent before the lock was granted.
_PARTITION = text(
    "SELECT coalesce(NOT inhdetachpending, false) FROM pg_class LEFT JOIN pg_inherits ON pg_class.oid = inhrelid"
    " WHERE relname = :name AND relnamespace ="
    " (SELECT relnamespace FROM pg_class WHERE oid = CAST('chunks' AS regclass))"
)


def _exists(connection: Connection, name: str) -> bool:
    """Return whether the partition is there to be written to; raise `StoreError` for one on its way out."""
    attached = connection.execute(_PARTITION, {"name": name}).scalar()
    if attached is False:  # it takes no rows any more, and its name is not free yet
        raise StoreError(
            f"partition {name} is being removed by retention; it is made anew once that is done, try again"
        )
    return attached is not None


def _create(connection: Connection, base_time: datetime) -> None:
    # Made beside the table and then attached: PARTITION OF would lock out every reader, ATTACH does not.
    name = partition_of(base_time)
    start = base_time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = start + timedelta(days=1)
    connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE chunks INCLUDING ALL)")
    connection.exec_driver_sql(
        f"ALTER TABLE chunks ATTACH PARTITION {name} FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
    )
