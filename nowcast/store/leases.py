"""The lease: which of several workers may publish, and the token by which the store refuses one that was too slow.

A holder whose process stops for longer than the lease lasts wakes up believing that it still holds it. Each change of
holder therefore raises the token, and a publish checks it in its own transaction (fencing; Kleppmann, "How to do
distributed locking", 2016): the late one is refused, not merged.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from nowcast.errors import LeaseLost
from nowcast.store.connections import Connections
from nowcast.store.life_tables import leases

CYCLE = "cycle"
LASTS = timedelta(seconds=30)

_KEY = leases.c.name == bindparam("lease")
_TOKEN = select(leases.c.token).where(_KEY).with_for_update(read=True)
_ROW = select(leases).where(_KEY).with_for_update()
_TAKE = (
    update(leases)
    .where(_KEY)
    .values(holder=bindparam("who"), token=bindparam("new_token"), expires_at=bindparam("until"))
)
_FREE = update(leases).where(_KEY, leases.c.token == bindparam("held")).values(holder="", expires_at=bindparam("until"))


@dataclass(frozen=True)
class Lease:
    """The right to publish, as long as the store's token is this one."""

    name: str
    holder: str
    token: int
    expires_at: datetime


class Leases:
    """The repository of leases."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        build = postgresql.insert if connections.dialect == "postgresql" else sqlite.insert
        self._first = build(leases).on_conflict_do_nothing()

    def take(self, name: str, holder: str, now: datetime, lasts: timedelta = LASTS, gone: str = "") -> Lease | None:
        """Take or renew the lease; None when another holds it, but for `gone`, a holder that is known to have ended.

        A lease that ends later than any could that is taken now was given by a clock that has been set back since:
        it counts as ended, or a dead holder would keep it for as long as the clock jumped.
        """

        def work(connection: Connection) -> Lease | None:
            row = connection.execute(_ROW, {"lease": name}).first()
            if row is None:
                values = {"name": name, "holder": "", "token": 0, "expires_at": now}
                connection.execute(self._first, values)
                row = connection.execute(_ROW, {"lease": name}).one()
            mine = row.holder == holder and row.token > 0
            free = not row.holder or row.holder == gone
            if not mine and not free and now < row.expires_at <= now + lasts:
                return None
            lease = Lease(name, holder, row.token if mine else row.token + 1, now + lasts)
            connection.execute(
                _TAKE, {"lease": name, "who": holder, "new_token": lease.token, "until": lease.expires_at}
            )
            return lease

        return self._connections.write(work)

    def release(self, lease: Lease) -> None:
        """Give the lease back, so that another worker need not wait for its end."""
        values = {"lease": lease.name, "held": lease.token, "until": lease.expires_at - LASTS}
        self._connections.write(lambda c: c.execute(_FREE, values))

    def holder(self, name: str) -> Lease | None:
        """Return the lease as it stands, expired or not; None when it was never taken."""
        row = self._connections.read(
            lambda c: c.execute(select(leases).where(_KEY), {"lease": name}).mappings().first()
        )
        return Lease(**row) if row else None


def require_lease(connection: Connection, lease: Lease | None) -> None:
    """Raise `LeaseLost` unless the lease's token is still the store's; keeps it from changing until the commit."""
    if lease is None:
        return
    token = connection.execute(_TOKEN, {"lease": lease.name}).scalar()
    if token != lease.token:
        raise LeaseLost(
            f"lease {lease.name!r}: token {lease.token} of {lease.holder} has been followed by {token};"
            " nothing to do, this worker stands by"
        )
