"""The tables, for SQLite and PostgreSQL alike. Times are aware UTC on both.

`chunks` is range-partitioned by base time on PostgreSQL (`nowcast.store.partitions`), so its key includes it.
Run ids are never used twice: a rerun deletes the old run and gets a new id, which therefore names one publication.
"""

from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC instant: naive ones are refused, SQLite stores them without a zone and gives them back with it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what the driver stores."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time must be aware UTC, got naive {value.isoformat()}; add tzinfo=UTC")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the aware UTC instant."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


# SQLite only counts up an INTEGER key.
Id = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """All tables, with constraint names that migrations can rely on."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, list[str]: JSON, list[dict[str, Any]]: JSON}  # noqa: RUF012


class RegionRow(Base):
    """A region and the pointer to its newest run.

    The pointer has no foreign key, which would be circular: only a publish writes it, in the run's own transaction.
    """

    __tablename__ = "regions"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    grid: Mapped[dict[str, Any]]
    sources: Mapped[list[str]]
    model: Mapped[str] = mapped_column(String(64))
    places: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'"))
    newest_run: Mapped[int | None] = mapped_column(Id)
    newest_base_time: Mapped[datetime | None]


class FrameRow(Base):
    """A file that arrived."""

    __tablename__ = "frames"
    __table_args__ = (UniqueConstraint("source", "valid_time", "digest"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    source: Mapped[str] = mapped_column(String(64))
    valid_time: Mapped[datetime]
    digest: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(4096))
    received_at: Mapped[datetime]


class RunRow(Base):
    """A published run."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("region", "base_time"),
        Index(None, "base_time"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    region: Mapped[str] = mapped_column(String(64), ForeignKey("regions.name"))
    base_time: Mapped[datetime]
    slot: Mapped[datetime]
    published_at: Mapped[datetime]
    model: Mapped[str] = mapped_column(String(64))
    rung: Mapped[str] = mapped_column(String(64))
    plan: Mapped[str] = mapped_column(String(64))
    members: Mapped[int]
    leads: Mapped[int]
    grid_digest: Mapped[str] = mapped_column(String(64))
    products: Mapped[list[str]]
    flags: Mapped[list[str]]
    stages: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16), server_default=text("'promoted'"))


class RunFrameRow(Base):
    """Which frames a run was made from, oldest first; a digest, since a frame's row may be retired before the run."""

    __tablename__ = "run_frames"
    __table_args__ = (Index(None, "digest"),)

    run_id: Mapped[int] = mapped_column(Id, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))


class ChunkRow(Base):
    """A chunk; see `nowcast.chunks` for what its columns mean."""

    __tablename__ = "chunks"
    __table_args__ = ({"postgresql_partition_by": "RANGE (base_time)"},)

    run_id: Mapped[int] = mapped_column(Id, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    base_time: Mapped[datetime] = mapped_column(primary_key=True)
    product: Mapped[str] = mapped_column(String(32), primary_key=True)
    row: Mapped[int] = mapped_column(primary_key=True)
    column: Mapped[int] = mapped_column(primary_key=True)
    leads: Mapped[int]
    height: Mapped[int]
    width: Mapped[int]
    codec: Mapped[int]
    fill: Mapped[str] = mapped_column(String(8))
    blob: Mapped[bytes | None] = mapped_column(LargeBinary)


class ObservationRow(Base):
    """An observed field on a region's grid."""

    __tablename__ = "observations"
    __table_args__ = (UniqueConstraint("region", "valid_time"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    region: Mapped[str] = mapped_column(String(64), ForeignKey("regions.name"))
    valid_time: Mapped[datetime]
    source: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    grid_digest: Mapped[str] = mapped_column(String(64))


class ObservedChunkRow(Base):
    """A chunk of an observed field: one lead, product `rain_rate`."""

    __tablename__ = "observed_chunks"

    observation_id: Mapped[int] = mapped_column(Id, ForeignKey("observations.id", ondelete="CASCADE"), primary_key=True)
    row: Mapped[int] = mapped_column(primary_key=True)
    column: Mapped[int] = mapped_column(primary_key=True)
    leads: Mapped[int]
    height: Mapped[int]
    width: Mapped[int]
    codec: Mapped[int]
    fill: Mapped[str] = mapped_column(String(8))
    blob: Mapped[bytes | None] = mapped_column(LargeBinary)


class RefusalRow(Base):
    """A slot of a region that got no run, and why."""

    __tablename__ = "refusals"

    region: Mapped[str] = mapped_column(String(64), primary_key=True)
    slot: Mapped[datetime] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(Text)


class ScoreRow(Base):
    """One score of one lead of a run."""

    __tablename__ = "scores"
    __table_args__ = (Index(None, "region", "base_time"), Index(None, "base_time"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    region: Mapped[str] = mapped_column(String(64))
    base_time: Mapped[datetime]
    product: Mapped[str] = mapped_column(String(32))
    lead_minutes: Mapped[int]
    score: Mapped[str] = mapped_column(String(32))
    threshold: Mapped[float | None] = mapped_column(Double)
    value: Mapped[float | None] = mapped_column(Double)
    count: Mapped[int]
    made_by: Mapped[str] = mapped_column(String(64), server_default=text("''"))


class ApiKeyRow(Base):
    """An API key: its digest, never the key."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]


class PlanRow(Base):
    """A compiled plan."""

    __tablename__ = "plans"
    __table_args__ = (UniqueConstraint("digest"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(64))
    runtime: Mapped[str] = mapped_column(String(64))
    precision: Mapped[str] = mapped_column(String(16))
    versions: Mapped[dict[str, Any]]


class CheckRow(Base):
    """One product's result of one passage of the parity gate."""

    __tablename__ = "checks"
    __table_args__ = (Index(None, "plan"), Index(None, "checked_at"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    plan: Mapped[str] = mapped_column(String(64))
    checked_at: Mapped[datetime]
    case: Mapped[str] = mapped_column(String(64))
    product: Mapped[str] = mapped_column(String(32))
    psnr_all: Mapped[float | None] = mapped_column(Double)
    psnr_wet: Mapped[float | None] = mapped_column(Double)
    passed: Mapped[bool]
    csi_difference: Mapped[float | None] = mapped_column(Double)
    runtime: Mapped[str] = mapped_column(String(64), server_default=text("''"))
    precision: Mapped[str] = mapped_column(String(16), server_default=text("''"))


def _table(row: type[Base]) -> Table:
    return cast("Table", row.__table__)


regions, frames, runs = _table(RegionRow), _table(FrameRow), _table(RunRow)
run_frames, chunks = _table(RunFrameRow), _table(ChunkRow)
observations, observed_chunks, refusals = _table(ObservationRow), _table(ObservedChunkRow), _table(RefusalRow)
api_keys = _table(ApiKeyRow)
plans, checks, scores = _table(PlanRow), _table(CheckRow), _table(ScoreRow)
