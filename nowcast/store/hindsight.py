"""What runs had said for one cell at one lead: to set beside what was then seen there."""

from dataclasses import dataclass
from datetime import datetime

from nowcast.chunks import SIDE, Chunk
from nowcast.store import records
from nowcast.store import statements as sql
from nowcast.store.connections import Connections
from nowcast.store.pixels import BlockCache, Place, rate

PRODUCT = "rain_mean"


@dataclass(frozen=True)
class Told:
    """What the run of a base time had said: mm/h, None = not seen."""

    base_time: datetime
    rate: float | None


class Hindsight:
    """One lead of many runs at a cell."""

    def __init__(self, connections: Connections, cache: BlockCache) -> None:
        self._connections, self._cache = connections, cache

    def series(self, region: str, grid_digest: str, at: Place, lead: int, since: datetime, limit: int) -> list[Told]:
        """Return what the newest `limit` runs since a base time had said at a cell, oldest first.

        Parameters
        ----------
        grid_digest
            Of the grid that `at`, (row, column), is a cell of: runs on another are left out.
        lead
            Its index, 0 is the first; runs that are not as long are left out.
        """
        values = {"region": region, "grid": grid_digest, "lead": lead, "since": since, "limit": limit}
        found = self._connections.read(lambda c: c.execute(sql.RUNS_SINCE, values).all())
        times = {row.id: row.base_time for row in reversed(found)}
        codes = self._cache.cells(
            list(times), f"{PRODUCT} {lead}", lead, at, lambda absent: self._load({i: times[i] for i in absent}, at)
        )
        return [Told(time, rate(codes[run_id])) for run_id, time in times.items() if run_id in codes]

    def _load(self, times: dict[int, datetime], at: Place) -> dict[int, Chunk]:
        """Return by run the chunk that holds a cell; runs that are gone meanwhile are left out."""
        span = {"first": min(times.values()), "last": max(times.values())}
        place = {"row": at[0] // SIDE, "column": at[1] // SIDE}
        values = {"ids": list(times), "product": PRODUCT, **span, **place}
        rows = self._connections.read(lambda c: c.execute(sql.CHUNKS_OF_RUNS, values).mappings().all())
        return {row["run_id"]: records.chunk_record(row) for row in rows}
