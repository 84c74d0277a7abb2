"""Observed fields on each region's grid: what forecasts start from, and what they are held against.

One field per region and valid time, in the chunk codec with one lead. A revision (another digest) replaces it and
gets a new id, so that whatever is kept by id is of one publication.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from nowcast import chunks as codec
from nowcast.chunks import Chunk, Codes
from nowcast.run import Observation
from nowcast.store import records
from nowcast.store import statements as sql
from nowcast.store.connections import Connections
from nowcast.store.pixels import BlockCache, Place, Window, cut, places_of, rate, within

PRODUCT = "rain_rate"


class Observations:
    """The repository of observed fields."""

    def __init__(self, connections: Connections, cache: BlockCache) -> None:
        self._connections, self._cache = connections, cache

    def put(self, observation: Observation, field: NDArray[np.float32]) -> bool:
        """Store an observed field (H, W), mm/h, NaN = not seen; False when that very one is already there."""
        pieces = codec.encode(PRODUCT, field[None])
        return self._connections.write(lambda c: _put(c, observation, pieces))

    def between(self, region: str, since: datetime, until: datetime) -> list[Observation]:
        """Return the observations of a region with `since` ≤ valid time ≤ `until`, oldest first."""
        values = {"region": region, "since": since, "until": until}
        rows = self._connections.read(lambda c: c.execute(sql.OBSERVATIONS, values).mappings().all())
        return [Observation(**row) for row in rows]

    def at(self, region: str, valid_time: datetime) -> Observation | None:
        """Return the observation of a region and valid time; None when there is none."""
        found = self.between(region, valid_time, valid_time)
        return found[0] if found else None

    def plane(self, observation: Observation, window: Window) -> Codes | None:
        """Return the codes in a window, (h, w); None when the observation has been replaced or removed."""
        places = places_of(window)
        blocks = self._cache.filled(
            observation.id, PRODUCT, places, lambda absent: [chunk for _, chunk in self._load([observation.id], absent)]
        )
        return cut(blocks, window, 0) if len(blocks) == len(places) else None  # some may be kept after the rest is gone

    def field(self, observation: Observation) -> NDArray[np.float32] | None:
        """Return the whole field, (H, W) mm/h; None when the observation has been replaced or removed."""
        rows = self._connections.read(lambda c: c.execute(sql.OBSERVED, {"ids": [observation.id]}).mappings().all())
        return codec.assemble([_chunk(row) for row in rows])[0] if rows else None

    def series(self, found: Iterable[Observation], row: int, column: int) -> list[tuple[datetime, float | None]]:
        """Return (valid time, mm/h at a cell) per observation, in their order; None = not seen."""
        found, place = list(found), (row // codec.SIDE, column // codec.SIDE)
        codes = self._cache.cells(
            [o.id for o in found], PRODUCT, 0, (row, column), lambda absent: dict(self._load(absent, [place]))
        )
        return [(o.valid_time, rate(codes.get(o.id))) for o in found]

    def _load(self, ids: list[int], places: list[Place]) -> list[tuple[int, Chunk]]:
        """Return (observation, chunk) of those places alone: the rest of their fields stays where it is."""
        values, wanted = {"ids": ids, **within(places)}, set(places)
        rows = self._connections.read(lambda c: c.execute(sql.OBSERVED_WITHIN, values).mappings().all())
        return [(row["observation_id"], _chunk(row)) for row in rows if (row["row"], row["column"]) in wanted]


def _chunk(row: records.Row) -> Chunk:
    return records.chunk_record({**row, "product": PRODUCT})


def _put(connection: Connection, observation: Observation, pieces: list[Chunk]) -> bool:
    key = {"region": observation.region, "time": observation.valid_time}
    connection.execute(sql.LOCK_REGION, key)  # as publishers do: there may be no row of that time yet to wait for
    known = connection.execute(sql.OBSERVATION_DIGEST, key).scalar()
    if known == observation.digest:
        return False
    connection.execute(sql.DELETE_OBSERVATION, key)
    values = records.observation_values(replace(observation, id=0))
    owner: int = connection.execute(sql.INSERT_OBSERVATION, values).scalar_one()
    connection.execute(sql.INSERT_OBSERVED, [records.observed_values(piece, owner) for piece in pieces])
    return True
