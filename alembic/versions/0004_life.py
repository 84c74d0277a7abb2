"""The lease, the life of models, trials beside the serving run, who made a score, the state that a run served in."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade():
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("holder", sa.String(200), nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "transitions",
        sa.Column("id", ID, nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("family", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("regions", sa.JSON, nullable=False),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("numbers", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_transitions"),
    )
    op.create_index("ix_transitions_model", "transitions", ["model"])
    op.create_table(
        "trials",
        sa.Column("region", sa.String(64), nullable=False),
        sa.Column("base_time", TIME, nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("shape", sa.JSON, nullable=False),
        sa.Column("blob", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("region", "base_time", "model", name="pk_trials"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE trials ALTER COLUMN blob SET STORAGE EXTERNAL")
    op.add_column("scores", sa.Column("made_by", sa.String(64), nullable=False, server_default=sa.text("''")))
    op.add_column("runs", sa.Column("state", sa.String(16), nullable=False, server_default=sa.text("'promoted'")))


def downgrade():
    op.drop_column("runs", "state")
    op.drop_column("scores", "made_by")
    for table in ("trials", "transitions", "leases"):
        op.drop_table(table)
