"""What this process knows of the store without asking: regions, newest runs, and what was published when.

One small look at the database every quarter of a second, whatever the number of clients. Who asks while the last look
is older than a second (start-up, a stalled loop, a store that was away) waits for a new one.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import structlog
from anyio import to_thread

from nowcast.errors import NoRun, NowcastError, OutsideGrid, StoreError, UnknownRegion
from nowcast.grid import Grid
from nowcast.run import RegionRecord, Run
from nowcast.store.cache import ByteCache
from nowcast.store.store import Publication, Store

log = structlog.get_logger()

LOOK_SECONDS = 0.25
TRUSTED_SECONDS = 1.0
REGIONS_SECONDS = 10.0
OVERLAP = 32
"""How many ids before the last are looked at again: PostgreSQL may commit them out of order."""

KEPT_RUNS = 512

T = TypeVar("T")


class Watch:
    """Regions by name, the newest run of each, and publications since this process began."""

    trusted_seconds = TRUSTED_SECONDS
    regions_seconds = REGIONS_SECONDS

    def __init__(self, store: Store) -> None:
        self._store = store
        self._newest: dict[str, Run] = {}
        self._regions: dict[str, RegionRecord] = {}
        self._regions_until = self._looked = self._failed = float("-inf")
        self._failure: NowcastError | None = None
        self._seen: set[int] | None = None
        self._at: ByteCache[tuple[str, datetime], tuple[Run, float]] = ByteCache(KEPT_RUNS)  # each of size 1
        self._lock = asyncio.Lock()

    # Asking

    async def ensure(self) -> None:
        """Look now unless the last look can be trusted.

        Raises
        ------
        StoreError
            When the store is away; asked at most once a second then.
        """
        if time.monotonic() - self._looked <= self.trusted_seconds:
            return
        async with self._lock:
            now = time.monotonic()
            if now - self._looked <= self.trusted_seconds:
                return
            if self._failure and now - self._failed <= self.trusted_seconds:
                raise StoreError(str(self._failure)) from self._failure
            await self._look()

    def learn(self, run: Run) -> None:
        """Take a newest run that somebody met before we looked; ids of a region's publications only grow."""
        known = self._newest.get(run.region)
        if known is None or run.id > known.id:
            self._newest = {**self._newest, run.region: run}

    async def renew(self) -> None:
        """Look at the store now and forget which runs were where: one of them has been replaced.

        Who waited while others looked need not look again: what they found is of after it asked.
        """
        asked = time.monotonic()
        self._at.clear()
        async with self._lock:
            if self._looked <= asked:
                await self._look()

    async def look(self) -> list[Publication]:
        """Look at the store and return what was published since the last such look.

        Publications are asked for before the newest runs: whoever is told of a run is answered with it or a later one.
        """
        async with self._lock:
            found = await self._ask(self._last_published)
            await self._look()
            return self._new(found)

    async def _look(self) -> None:
        await self._ask(self._refresh)

    async def _ask(self, question: Callable[[], T]) -> T:
        try:
            return await to_thread.run_sync(question)
        except NowcastError as error:
            self._failure, self._failed = error, time.monotonic()
            raise

    @property
    def away(self) -> bool:
        """Whether the last look failed."""
        return self._failed > self._looked

    def regions(self) -> dict[str, RegionRecord]:
        """Return the regions by name."""
        return self._regions

    def region(self, name: str) -> RegionRecord:
        """Return the region of that name, or raise `UnknownRegion` with those there are."""
        try:
            return self._regions[name]
        except KeyError:
            raise UnknownRegion(f"no region {name!r}; there are: {', '.join(self._regions) or 'none yet'}") from None

    def at(self, lat: float, lon: float) -> tuple[RegionRecord, int, int]:
        """Return the first region in which a point lies, and its (row, column) there, or raise `OutsideGrid`."""
        for region in self._regions.values():
            cell = _cell_in(region.grid, lat, lon)
            if cell:
                return region, *cell
        raise OutsideGrid(f"point lat={lat}, lon={lon} lies in no region; see /v1/regions for their bounds")

    def newest(self, region: str) -> Run:
        """Return the newest run of a region, or raise `NoRun` before the first."""
        run = self._newest.get(region)
        if run is None:
            raise NoRun(f"region {region} has no forecast yet; the first follows two frames, five minutes apart")
        if run.grid_digest != self._regions[region].grid.digest:
            raise NoRun(f"region {region} has another grid than its newest run; the next one will be on it")
        return run

    def newest_or_none(self, region: str) -> Run | None:
        """Return the newest run of a region, or None before the first."""
        return self._newest.get(region)

    def run(self, region: str, base_time: datetime) -> Run | None:
        """Return the run of a region and base time; asks the store, at most once a second for each."""
        newest, now = self._newest.get(region), time.monotonic()
        if newest is not None and newest.base_time == base_time:
            return newest
        kept = self._at.get((region, base_time))
        if kept and now - kept[1] <= self.trusted_seconds:
            return kept[0]
        found = self._store.run(region, base_time)
        if found is not None:
            self._at.put((region, base_time), (found, now), 1)
        return found

    def known_run(self, region: str, base_time: datetime) -> Run | None:
        """Return what `run` would, if it need not ask the store; else None."""
        newest = self._newest.get(region)
        if newest is not None and newest.base_time == base_time:
            return newest
        kept = self._at.get((region, base_time))
        return kept[0] if kept and time.monotonic() - kept[1] <= self.trusted_seconds else None

    # Looking

    def _refresh(self) -> None:
        looked = time.monotonic()
        if looked > self._regions_until:
            self._regions = {region.name: region for region in self._store.regions()}
            self._regions_until = looked + (self.regions_seconds if self._regions else 0)
        ids = self._store.newest_runs()
        newest = dict(self._newest)
        for region, run_id in ids.items():
            if region not in newest or newest[region].id != run_id:
                run = self._store.newest(region)
                if run is not None:
                    newest[region] = run
        self._newest = {region: _later(newest[region], self._newest.get(region)) for region in ids if region in newest}
        self._looked = looked

    def _last_published(self) -> list[Publication]:
        if self._seen is None:
            return self._store.runs_after(0, 2 * OVERLAP)
        return self._store.runs_after(max(self._seen, default=0) - OVERLAP, 8 * OVERLAP)

    def _new(self, found: list[Publication]) -> list[Publication]:
        """Return those not met before; none of those from before this process began."""
        first, seen = self._seen is None, self._seen or set()
        new = [p for p in found if p.id not in seen]
        seen |= {p.id for p in new}
        self._seen = {i for i in seen if i > max(seen) - 4 * OVERLAP}
        return [] if first else new


def _later(run: Run, other: Run | None) -> Run:
    return other if other is not None and other.id > run.id else run


def _cell_in(grid: Grid, lat: float, lon: float) -> tuple[int, int] | None:
    try:
        return grid.cell(lat, lon)
    except OutsideGrid:
        return None
