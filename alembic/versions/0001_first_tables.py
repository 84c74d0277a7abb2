"""Regions, frames, runs, chunks, plans, checks."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade():
    _regions_and_frames()
    _runs()
    _chunks()
    _plans_and_checks()


def _regions_and_frames():
    op.create_table(
        "regions",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("grid", sa.JSON, nullable=False),
        sa.Column("sources", sa.JSON, nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("newest_run", ID, nullable=True),
        sa.Column("newest_base_time", TIME, nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_regions"),
    )
    op.create_table(
        "frames",
        sa.Column("id", ID, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("valid_time", TIME, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("path", sa.String(4096), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_frames"),
        sa.UniqueConstraint("source", "valid_time", "digest", name="uq_frames_source_valid_time_digest"),
    )


def _runs():
    op.create_table(
        "runs",
        sa.Column("id", ID, nullable=False),
        sa.Column("region", sa.String(64), nullable=False),
        sa.Column("base_time", TIME, nullable=False),
        sa.Column("slot", TIME, nullable=False),
        sa.Column("published_at", TIME, nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("rung", sa.String(64), nullable=False),
        sa.Column("plan", sa.String(64), nullable=False),
        sa.Column("members", sa.Integer, nullable=False),
        sa.Column("leads", sa.Integer, nullable=False),
        sa.Column("grid_digest", sa.String(64), nullable=False),
        sa.Column("products", sa.JSON, nullable=False),
        sa.Column("flags", sa.JSON, nullable=False),
        sa.Column("stages", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.ForeignKeyConstraint(["region"], ["regions.name"], name="fk_runs_region"),
        sa.UniqueConstraint("region", "base_time", name="uq_runs_region_base_time"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_runs_base_time", "runs", ["base_time"])
    op.create_table(
        "run_frames",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "position", name="pk_run_frames"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_frames_run_id", ondelete="CASCADE"),
    )
    op.create_index("ix_run_frames_digest", "run_frames", ["digest"])


def _chunks():
    op.create_table(
        "chunks",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("base_time", TIME, nullable=False),
        sa.Column("product", sa.String(32), nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("column", sa.Integer, nullable=False),
        sa.Column("leads", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("codec", sa.Integer, nullable=False),
        sa.Column("fill", sa.String(8), nullable=False),
        sa.Column("blob", sa.LargeBinary, nullable=True),
        sa.PrimaryKeyConstraint("run_id", "base_time", "product", "row", "column", name="pk_chunks"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_chunks_run_id", ondelete="CASCADE"),
        postgresql_partition_by="RANGE (base_time)",
    )
    if op.get_bind().dialect.name == "postgresql":
        # zstd has already been there: PostgreSQL would only waste time on compressing it again.
        op.execute("ALTER TABLE chunks ALTER COLUMN blob SET STORAGE EXTERNAL")


def _plans_and_checks():
    op.create_table(
        "plans",
        sa.Column("id", ID, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("runtime", sa.String(64), nullable=False),
        sa.Column("precision", sa.String(16), nullable=False),
        sa.Column("versions", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_plans"),
        sa.UniqueConstraint("digest", name="uq_plans_digest"),
    )
    op.create_table(
        "checks",
        sa.Column("id", ID, nullable=False),
        sa.Column("plan", sa.String(64), nullable=False),
        sa.Column("checked_at", TIME, nullable=False),
        sa.Column("case", sa.String(64), nullable=False),
        sa.Column("product", sa.String(32), nullable=False),
        sa.Column("psnr_all", sa.Double, nullable=True),
        sa.Column("psnr_wet", sa.Double, nullable=True),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_checks"),
    )
    op.create_index("ix_checks_plan", "checks", ["plan"])
    op.create_index("ix_checks_checked_at", "checks", ["checked_at"])


def downgrade():
    for table in ("checks", "plans", "chunks", "run_frames", "runs", "frames", "regions"):
        op.drop_table(table)
