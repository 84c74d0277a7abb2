"""Observed fields, refused slots, scores, places."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade():
    op.add_column("regions", sa.Column("places", sa.JSON, nullable=False, server_default=sa.text("'[]'")))
    op.create_table(
        "observations",
        sa.Column("id", ID, nullable=False),
        sa.Column("region", sa.String(64), nullable=False),
        sa.Column("valid_time", TIME, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("grid_digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_observations"),
        sa.ForeignKeyConstraint(["region"], ["regions.name"], name="fk_observations_region"),
        sa.UniqueConstraint("region", "valid_time", name="uq_observations_region_valid_time"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "observed_chunks",
        sa.Column("observation_id", ID, nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("column", sa.Integer, nullable=False),
        sa.Column("leads", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("codec", sa.Integer, nullable=False),
        sa.Column("fill", sa.String(8), nullable=False),
        sa.Column("blob", sa.LargeBinary, nullable=True),
        sa.PrimaryKeyConstraint("observation_id", "row", "column", name="pk_observed_chunks"),
        sa.ForeignKeyConstraint(
            ["observation_id"], ["observations.id"], name="fk_observed_chunks_observation_id", ondelete="CASCADE"
        ),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE observed_chunks ALTER COLUMN blob SET STORAGE EXTERNAL")
    op.create_table(
        "refusals",
        sa.Column("region", sa.String(64), nullable=False),
        sa.Column("slot", TIME, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("region", "slot", name="pk_refusals"),
    )
    op.create_table(
        "scores",
        sa.Column("id", ID, nullable=False),
        sa.Column("region", sa.String(64), nullable=False),
        sa.Column("base_time", TIME, nullable=False),
        sa.Column("product", sa.String(32), nullable=False),
        sa.Column("lead_minutes", sa.Integer, nullable=False),
        sa.Column("score", sa.String(32), nullable=False),
        sa.Column("threshold", sa.Double, nullable=True),
        sa.Column("value", sa.Double, nullable=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_scores"),
    )
    op.create_index("ix_scores_region_base_time", "scores", ["region", "base_time"])
    op.create_index("ix_scores_base_time", "scores", ["base_time"])


def downgrade():
    for table in ("scores", "refusals", "observed_chunks", "observations"):
        op.drop_table(table)
    op.drop_column("regions", "places")
