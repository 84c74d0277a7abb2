"""How the repositories reach the database: one statement, a snapshot of several, or a writing transaction."""

from collections.abc import Callable
from contextlib import nullcontext
from threading import Lock
from typing import TypeVar

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError

from nowcast.store.database import Modes, told

T = TypeVar("T")


class Connections:
    """The modes of one engine; what the driver says about an absent database becomes a `StoreError`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.dialect = engine.dialect.name
        self._modes = Modes.of(engine)
        # SQLite has one writer, and who waits for it looks again ever more seldom: here, threads take turns at once.
        self._turn = Lock() if self.dialect == "sqlite" else nullcontext()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` makes of one reading statement, without a transaction."""
        with told(self.engine.url):
            return _connected(self._modes.single, work)

    def snapshot(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` makes of several reading statements that see the same state."""
        with told(self.engine.url):
            return _connected(self._modes.snapshot, work)

    def write(self, work: Callable[[Connection], T], before: Callable[[Engine], None] | None = None) -> T:
        """Return what `work` did in a writing transaction; `before` it, something that needs one of its own."""
        with told(self.engine.url):
            self._revive()
            if before is not None:
                before(self._modes.write)
            with self._turn, self._modes.write.begin() as connection:
                return work(connection)

    def _revive(self) -> None:
        # After a restart of the server, the pool's connections are dead: find out before the transaction, not in it.
        if self.dialect == "postgresql":
            _connected(self._modes.single, lambda c: c.execute(select(1)))


def _connected(mode: Engine, work: Callable[[Connection], T]) -> T:
    try:
        with mode.connect() as connection:
            return work(connection)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    with mode.connect() as connection:  # the pool has dropped its dead connections
        return work(connection)
