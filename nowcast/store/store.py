"""The repository: what the cycle writes and the API reads. Safe between threads; one per process.

A publish is one transaction, and the id of a run names one publication: a rerun gets a new id. So whatever is read
by run id is whole and of one publication, and can be cached without ever serving old pixels for a new run.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, false

from nowcast.errors import NoRun
from nowcast.run import CheckRecord, Fields, FrameRecord, PlanRecord, RegionRecord, Run, ScoreRecord
from nowcast.store import records
from nowcast.store import runs as stored
from nowcast.store import statements as sql
from nowcast.store.cache import ByteCache
from nowcast.store.connections import Connections
from nowcast.store.database import check_migrated, open_engine
from nowcast.store.hindsight import Hindsight
from nowcast.store.keys import Keys
from nowcast.store.leases import Lease, Leases, require_lease
from nowcast.store.models import ModelLives
from nowcast.store.observations import Observations
from nowcast.store.origins import Origins
from nowcast.store.partitions import ensure_partition
from nowcast.store.pixels import BlockCache, RunPixels, Series
from nowcast.store.retention import Retention
from nowcast.store.slots import Slots
from nowcast.store.tables import frames, plans, runs, scores
from nowcast.store.trials import Trials
from nowcast.store.verification import Verification

CACHE_BYTES = 256 * 2**20
_KNOWN_RUNS = 512
_ATTEMPTS = 5


@dataclass(frozen=True)
class Point:
    """The newest run of a region at one of its cells."""

    run: Run
    series: Series


@dataclass(frozen=True)
class Publication:
    """A run that was published; its id is higher than those of earlier publications."""

    id: int
    region: str
    base_time: datetime
    published_at: datetime


class Store:
    """Regions, frames, runs, plans and checks in one database.

    Parameters
    ----------
    engine
        From `open_engine`.
    cache_bytes
        Most bytes of decoded chunks to keep.

    Raises
    ------
    StoreError
        From every method, when the database is away or unusable.
    """

    def __init__(self, engine: Engine, cache_bytes: int = CACHE_BYTES) -> None:
        self._db = Connections(engine)
        self._blocks = BlockCache(cache_bytes)
        self.pixels = RunPixels(self._db, self._blocks)
        self.observations = Observations(self._db, self._blocks)
        self.hindsight = Hindsight(self._db, self._blocks)
        self.slots = Slots(self._db)
        self.leases = Leases(self._db)
        self.models = ModelLives(self._db)
        self.retention = Retention(self._db)
        self.trials = Trials(self._db)
        self.verification = Verification(self._db)
        self.keys = Keys(self._db)
        self.origins = Origins(self._db)
        self._runs: ByteCache[int, Run] = ByteCache(_KNOWN_RUNS)  # each of size 1
        self._insert_frame = sql.insert_new(engine.dialect.name, frames)
        self._insert_plan = sql.insert_new(engine.dialect.name, plans)
        self._upsert_region = sql.upsert_region(engine.dialect.name)

    @classmethod
    def open(cls, url: str, cache_bytes: int = CACHE_BYTES) -> "Store":
        """Return the store of a migrated database, or raise `StoreError` or `StoreNotMigrated`."""
        engine = open_engine(url)
        try:
            check_migrated(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, cache_bytes)

    def close(self) -> None:
        """Close all connections."""
        self._db.engine.dispose()

    @property
    def cached_bytes(self) -> int:
        """Bytes of decoded chunks that are kept."""
        return self._blocks.size

    # Regions

    def put_regions(self, regions: Iterable[RegionRecord]) -> None:
        """Add regions, or renew what is known of them; their newest runs stay."""
        values = [records.region_values(r) for r in sorted(regions, key=lambda r: r.name)]
        if values:
            self._db.write(lambda c: c.execute(self._upsert_region, values))

    def regions(self) -> list[RegionRecord]:
        """Return all regions by name."""
        rows = self._db.read(lambda c: c.execute(sql.REGIONS).mappings().all())
        return [records.region_record(row) for row in rows]

    # Frames

    def add_frame(self, frame: FrameRecord) -> bool:
        """Add a frame; False when it is already known."""
        values = records.frame_values(frame)
        return self._db.write(lambda c: c.execute(self._insert_frame, values).first()) is not None

    def known_paths(self, source: str) -> set[str]:
        """Return the paths of all frames of a source."""
        return set(self._db.read(lambda c: c.execute(sql.KNOWN_PATHS, {"source": source}).scalars().all()))

    def frames(
        self, source: str, *, newest_first: bool = True, until: datetime | None = None, limit: int = 100
    ) -> list[FrameRecord]:
        """Return at most `limit` frames of a source, valid at or before `until`; of one valid time by arrival."""
        order = (frames.c.valid_time, frames.c.received_at, frames.c.id)
        statement = sql.FRAMES.order_by(*(c.desc() if newest_first else c for c in order))
        if until is not None:
            statement = statement.where(frames.c.valid_time <= until)
        rows = self._db.read(lambda c: c.execute(statement, {"source": source, "limit": limit}).mappings().all())
        return [records.frame_record(row) for row in rows]

    # Runs: writing

    def publish(self, run: Run, fields: Fields, lease: Lease | None = None) -> int:
        """Publish a run with its products in one transaction, and return its id.

        A rerun of the same region and base time replaces the run before. The region's newest run moves to this one
        unless it has a later base time. With a lease, its token is checked in the same transaction.

        Raises
        ------
        LeaseLost
            When another worker has taken the lease meanwhile.
        UnknownRegion
            When the region has not been put.
        ValueError
            When the fields are not those that the run states.
        """
        pieces = stored.encode(run, fields)

        def work(connection: Connection) -> int:
            require_lease(connection, lease)
            return stored.publish(connection, run, pieces)

        return self._db.write(work, lambda e: ensure_partition(e, run.base_time))

    # Runs: reading

    def newest(self, region: str) -> Run | None:
        """Return the newest run of a region; None when there is none."""
        run_id = self._db.read(lambda c: c.execute(sql.NEWEST_ID, {"region": region}).scalar())
        if run_id is None:
            return None
        return self._runs.get(run_id) or self._newest(region)

    def _newest(self, region: str) -> Run | None:
        def work(connection: Connection) -> Run | None:
            run_id = connection.execute(sql.NEWEST_ID, {"region": region}).scalar()
            return next(iter(stored.select_runs(connection, sql.RUN, {"run_id": run_id})), None)

        run = self._db.snapshot(work)
        if run is not None:
            self._runs.put(run.id, run, 1)
        return run

    def newest_runs(self) -> dict[str, int]:
        """Return the id of the newest run of each region that has one: one small query."""
        rows = self._db.read(lambda c: c.execute(sql.NEWEST_RUNS).all())
        return {name: run_id for name, run_id in rows}  # noqa: C416  rows are no tuples for mypy

    def runs_after(self, run_id: int, limit: int) -> list[Publication]:
        """Return the last `limit` publications with a higher id, oldest first: what events are made of."""
        values = {"after": run_id, "limit": limit}
        rows = self._db.read(lambda c: c.execute(sql.RUNS_AFTER, values).all())
        return [Publication(*row) for row in reversed(rows)]

    def last_run_id(self) -> int:
        """Return the highest run id; 0 without runs."""
        return self._db.read(lambda c: c.execute(sql.LAST_RUN_ID).scalar()) or 0

    def sources(self, run: Run) -> list[str]:
        """Return the sources of the frames that a run was made from; empty once their records are retired."""
        values = {"digests": list(run.frames)}
        return list(self._db.read(lambda c: c.execute(sql.RUN_SOURCES, values).scalars().all())) if run.frames else []

    def newest_base_times(self) -> dict[str, datetime]:
        """Return the base time of the newest run of each region that has one."""
        rows = self._db.read(lambda c: c.execute(sql.NEWEST_BASE_TIMES).all())
        return {name: time for name, time in rows}  # noqa: C416  rows are no tuples for mypy

    def run(self, region: str, base_time: datetime) -> Run | None:
        """Return the run of a region and base time; None when there is none."""
        values = {"region": region, "time": base_time}
        found = self._db.snapshot(lambda c: stored.select_runs(c, sql.RUN_AT, values))
        return found[0] if found else None

    def runs(
        self,
        region: str | None = None,
        limit: int = 100,
        before: datetime | None = None,
        beyond: str | None = None,
    ) -> list[Run]:
        """Return at most `limit` runs with a base time before `before`, newest first, then by region.

        With `beyond`, a region's name, the runs at `before` itself whose region comes after it are returned first: what
        follows the run of (`before`, `beyond`), so that a page may end within a base time.
        """
        statement = sql.RUNS.limit(limit)
        if region is not None:
            statement = statement.where(runs.c.region == region)
        if before is not None:
            earlier = runs.c.base_time < before
            rest = (runs.c.base_time == before) & (runs.c.region > beyond) if beyond is not None else false()
            statement = statement.where(earlier | rest)
        return self._db.snapshot(lambda c: stored.select_runs(c, statement, {}))

    def point(self, region: str, row: int, column: int) -> Point | None:
        """Return the newest run of a region with its values at a cell; None when there is no run."""
        for attempt in range(_ATTEMPTS):
            run = self.newest(region)
            if run is None:
                break
            try:
                return Point(run, self.series(run, row, column))
            except NoRun:  # replaced between the two: there is a newer one now
                if attempt == _ATTEMPTS - 1:
                    raise
        return None

    def series(self, run: Run, row: int, column: int) -> Series:
        """Return the values at a cell of a run; see `RunPixels.series`."""
        return self.pixels.series(run, row, column)

    def field(self, run: Run, product: str) -> NDArray:
        """Return one product of a run, (K, H, W) float32, or raise `NoRun` when the run has been replaced."""
        return self.pixels.field(run, product)

    def fields(self, run: Run) -> Fields:
        """Return all products of a run, each (K, H, W) float32, or raise `NoRun` when it has been replaced."""
        return self.pixels.fields(run)

    # Plans and checks

    def add_plan(self, plan: PlanRecord) -> bool:
        """Add a plan; False when its digest is already known."""
        values = records.plan_values(plan)
        return self._db.write(lambda c: c.execute(self._insert_plan, values).first()) is not None

    def plans(self) -> list[PlanRecord]:
        """Return all plans, oldest first."""
        rows = self._db.read(lambda c: c.execute(sql.PLANS).mappings().all())
        return [records.plan_record(row) for row in rows]

    def add_checks(self, checks: Iterable[CheckRecord]) -> None:
        """Add results of the parity gate."""
        values = [asdict(check) for check in checks]
        if values:
            self._db.write(lambda c: c.execute(sql.INSERT_CHECK, values))

    def add_scores(self, scored: Iterable[ScoreRecord]) -> None:
        """Add scores of runs against what was then seen."""
        values = [asdict(score) for score in scored]
        if values:
            self._db.write(lambda c: c.execute(sql.INSERT_SCORE, values))

    def scores(self, region: str | None = None, limit: int = 1000) -> list[ScoreRecord]:
        """Return the last scores, newest base time first."""
        statement = sql.SCORES if region is None else sql.SCORES.where(scores.c.region == region)
        rows = self._db.read(lambda c: c.execute(statement, {"limit": limit}).mappings().all())
        return [ScoreRecord(**row) for row in rows]

    def checks(self, limit: int = 100) -> list[CheckRecord]:
        """Return the last results of the parity gate, newest first."""
        rows = self._db.read(lambda c: c.execute(sql.CHECKS, {"limit": limit}).mappings().all())
        return [records.check_record(row) for row in rows]
