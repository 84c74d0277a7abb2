"""The repository of API keys."""

from datetime import datetime

from sqlalchemy import bindparam, insert, select, update

from nowcast.errors import NotKept
from nowcast.keys import ApiKey
from nowcast.store.connections import Connections
from nowcast.store.tables import api_keys

_INSERT = insert(api_keys)
_ALL = select(api_keys).order_by(api_keys.c.created_at)
_END = update(api_keys).where(api_keys.c.id == bindparam("key_id")).values(ends_at=bindparam("time"))


class Keys:
    """API keys in the database."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(self, key: ApiKey) -> None:
        """Add a key."""
        values = {name: getattr(key, name) for name in ApiKey.__dataclass_fields__}
        self._connections.write(lambda c: c.execute(_INSERT, {**values, "scopes": list(key.scopes)}))

    def all(self) -> list[ApiKey]:
        """Return all keys, those that have ended too, oldest first."""
        rows = self._connections.read(lambda c: c.execute(_ALL).mappings().all())
        return [ApiKey(**{**row, "scopes": tuple(row["scopes"])}) for row in rows]

    def end(self, key_id: str, time: datetime) -> None:
        """Let a key end at a time, or raise `NotKept` when there is none of that id."""
        changed = self._connections.write(lambda c: c.execute(_END, {"key_id": key_id, "time": time}).rowcount)
        if not changed:
            raise NotKept(f"no key {key_id!r}; `nowcast key list` shows them")
