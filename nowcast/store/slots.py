"""What became of each slot: published or degraded (from the runs), refused with its reason, or missing."""

from collections.abc import Iterable
from datetime import datetime

from nowcast.clock import STEP, floor
from nowcast.run import Slot
from nowcast.store import statements as sql
from nowcast.store.connections import Connections

HARMLESS = {"all-dry", "out-of-order", "revision"}
"""Flags that say how an input came, not that the run is any worse for it."""


class Slots:
    """The repository of slots; only refusals have rows of their own."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._put = sql.upsert_refusal(connections.dialect)

    def refuse(self, region: str, slot: datetime, reason: str) -> None:
        """Note why a slot of a region got no run (yet); the last reason stays."""
        values = {"region": region, "slot": slot, "reason": reason}
        self._connections.write(lambda c: c.execute(self._put, values))

    def between(self, regions: Iterable[str], since: datetime, until: datetime) -> list[Slot]:
        """Return the slots with `since` ≤ slot ≤ `until`, newest first, then by region.

        A slot is missing when it has ended with neither run nor refusal since the region's first one.
        """
        values = {"since": since, "until": until}
        served = self._connections.read(lambda c: c.execute(sql.SERVED_SLOTS, values).mappings().all())
        refused = self._connections.read(lambda c: c.execute(sql.REFUSED_SLOTS, values).mappings().all())
        known: dict[tuple[str, datetime], Slot] = {}
        for row in refused:
            known[row["region"], row["slot"]] = Slot(row["region"], row["slot"], "refused", reason=row["reason"])
        for row in served:
            flags = tuple(row["flags"])
            slot = Slot(
                row["region"],
                row["slot"],
                "degraded" if set(flags) - HARMLESS else "published",
                row["base_time"],
                flags,
            )
            known[row["region"], row["slot"]] = slot
        for region in regions:
            for slot in _missing(region, known, until):
                known[region, slot.slot] = slot
        return sorted(known.values(), key=lambda s: (-s.slot.timestamp(), s.region))


def _missing(region: str, known: dict[tuple[str, datetime], Slot], until: datetime) -> list[Slot]:
    there = {slot for name, slot in known if name == region}
    slot, found = min(there, default=until), []
    while slot + STEP <= floor(until):
        if slot not in there:
            found.append(Slot(region, slot, "missing", reason="nothing was tried: was the worker running?"))
        slot += STEP
    return found
