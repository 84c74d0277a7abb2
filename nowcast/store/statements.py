"""The statements, built once: SQLAlchemy then compiles each once per dialect and finds it again by its cache key."""

from sqlalchemy import Executable, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from nowcast.chunks import Chunk
from nowcast.run import ScoreRecord
from nowcast.store.tables import (
    checks,
    chunks,
    frames,
    observations,
    observed_chunks,
    plans,
    refusals,
    regions,
    run_frames,
    runs,
    scores,
)

_CHUNK_COLUMNS = [chunks.c[name] for name in Chunk.__dataclass_fields__]

REGIONS = select(*(regions.c[n] for n in ("name", "title", "grid", "sources", "model", "places"))).order_by(
    regions.c.name
)
NEWEST_ID = select(regions.c.newest_run).where(regions.c.name == bindparam("region"))
NEWEST_RUNS = select(regions.c.name, regions.c.newest_run).where(regions.c.newest_run.is_not(None))
NEWEST_BASE_TIMES = select(regions.c.name, regions.c.newest_base_time).where(regions.c.newest_base_time.is_not(None))
# Taken first by each publish: publishers of one region go one after another (SQLite has its write lock for that).
LOCK_REGION = select(regions.c.newest_base_time).where(regions.c.name == bindparam("region")).with_for_update()
POINT_REGION = (
    update(regions)
    .where(regions.c.name == bindparam("region"))
    .values(newest_run=bindparam("run_id"), newest_base_time=bindparam("time"))
)

RUN = select(runs).where(runs.c.id == bindparam("run_id"))
RUNS_AFTER = (
    select(runs.c.id, runs.c.region, runs.c.base_time, runs.c.published_at)
    .where(runs.c.id > bindparam("after"))
    .order_by(runs.c.id.desc())
    .limit(bindparam("limit"))
)
LAST_RUN_ID = select(func.max(runs.c.id))
RUN_SOURCES = (
    select(frames.c.source)
    .where(frames.c.digest.in_(bindparam("digests", expanding=True)))
    .order_by(frames.c.source)
    .distinct()
)
RUN_EXISTS = select(runs.c.id).where(runs.c.id == bindparam("run_id"))
RUN_AT = select(runs).where(runs.c.region == bindparam("region"), runs.c.base_time == bindparam("time"))
RUNS = select(runs).order_by(runs.c.base_time.desc(), runs.c.region)
RUN_FRAMES = (
    select(run_frames.c.run_id, run_frames.c.digest)
    .where(run_frames.c.run_id.in_(bindparam("run_ids", expanding=True)))
    .order_by(run_frames.c.run_id, run_frames.c.position)
)
DELETE_RUN = delete(runs).where(runs.c.region == bindparam("region"), runs.c.base_time == bindparam("time"))
INSERT_RUN = insert(runs).returning(runs.c.id)
INSERT_RUN_FRAME = insert(run_frames)
INSERT_CHUNK = insert(chunks)

_CHUNKS_OF = select(*_CHUNK_COLUMNS).where(
    chunks.c.run_id == bindparam("run_id"), chunks.c.base_time == bindparam("time")
)
CHUNKS_OF_PRODUCT = _CHUNKS_OF.where(chunks.c.product == bindparam("product"))
CHUNKS_WITHIN = CHUNKS_OF_PRODUCT.where(
    chunks.c.row.between(bindparam("top"), bindparam("bottom")),
    chunks.c.column.between(bindparam("left"), bindparam("right")),
)
CHUNKS_AT = _CHUNKS_OF.where(
    chunks.c.product.in_(bindparam("products", expanding=True)),
    chunks.c.row == bindparam("row"),
    chunks.c.column == bindparam("column"),
)
# Of many runs, newest first: what each says at one lead and place. The base times let PostgreSQL pass over whole days.
RUNS_SINCE = (
    select(runs.c.id, runs.c.base_time)
    .where(
        runs.c.region == bindparam("region"),
        runs.c.base_time >= bindparam("since"),
        runs.c.grid_digest == bindparam("grid"),
        runs.c.leads > bindparam("lead"),
    )
    .order_by(runs.c.base_time.desc())
    .limit(bindparam("limit"))
)
CHUNKS_OF_RUNS = select(chunks.c.run_id, *_CHUNK_COLUMNS).where(
    chunks.c.run_id.in_(bindparam("ids", expanding=True)),
    chunks.c.base_time.between(bindparam("first"), bindparam("last")),
    chunks.c.product == bindparam("product"),
    chunks.c.row == bindparam("row"),
    chunks.c.column == bindparam("column"),
)

OBSERVATIONS = (
    select(observations)
    .where(
        observations.c.region == bindparam("region"),
        observations.c.valid_time >= bindparam("since"),
        observations.c.valid_time <= bindparam("until"),
    )
    .order_by(observations.c.valid_time)
)
_OBSERVATION = (observations.c.region == bindparam("region"), observations.c.valid_time == bindparam("time"))
OBSERVATION_DIGEST = select(observations.c.digest).where(*_OBSERVATION).with_for_update()
DELETE_OBSERVATION = delete(observations).where(*_OBSERVATION)
INSERT_OBSERVATION = insert(observations).returning(observations.c.id)
INSERT_OBSERVED = insert(observed_chunks)
OBSERVED = select(observed_chunks).where(observed_chunks.c.observation_id.in_(bindparam("ids", expanding=True)))
OBSERVED_WITHIN = OBSERVED.where(
    observed_chunks.c.row.between(bindparam("top"), bindparam("bottom")),
    observed_chunks.c.column.between(bindparam("left"), bindparam("right")),
)

_SLOT_COLUMNS = (runs.c.region, runs.c.slot, runs.c.base_time, runs.c.flags)
SERVED_SLOTS = (
    select(*_SLOT_COLUMNS)
    .where(runs.c.slot >= bindparam("since"), runs.c.slot <= bindparam("until"))
    .order_by(runs.c.published_at)
)
REFUSED_SLOTS = select(refusals).where(refusals.c.slot >= bindparam("since"), refusals.c.slot <= bindparam("until"))

KNOWN_PATHS = select(frames.c.path).where(frames.c.source == bindparam("source")).distinct()
FRAMES = select(frames).where(frames.c.source == bindparam("source")).limit(bindparam("limit"))
PLANS = select(plans).order_by(plans.c.id)
INSERT_SCORE = insert(scores)
SCORES = (
    select(*(scores.c[n] for n in ScoreRecord.__dataclass_fields__))
    .order_by(scores.c.base_time.desc(), scores.c.id)
    .limit(bindparam("limit"))
)
INSERT_CHECK = insert(checks)
CHECKS = select(checks).order_by(checks.c.checked_at.desc(), checks.c.id.desc()).limit(bindparam("limit"))


def insert_new(dialect: str, table: Table) -> Executable:
    """Return an insert that gives the row's id, or nothing when the row is already known."""
    build = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return build(table).on_conflict_do_nothing().returning(table.c.id)


def upsert_region(dialect: str) -> Executable:
    """Return an insert that renews what a region is and leaves its pointer alone."""
    build = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = build(regions)
    renewed = {name: statement.excluded[name] for name in ("title", "grid", "sources", "model", "places")}
    return statement.on_conflict_do_update(index_elements=["name"], set_=renewed)


def upsert_refusal(dialect: str) -> Executable:
    """Return an insert that renews the reason of a slot already refused."""
    build = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = build(refusals)
    return statement.on_conflict_do_update(
        index_elements=["region", "slot"], set_={"reason": statement.excluded["reason"]}
    )
