"""A check says on which runtime and in which precision, and how far wet areas differ: two runtimes may share a plan."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("checks", sa.Column("csi_difference", sa.Double, nullable=True))
    op.add_column("checks", sa.Column("runtime", sa.String(64), nullable=False, server_default=sa.text("''")))
    op.add_column("checks", sa.Column("precision", sa.String(16), nullable=False, server_default=sa.text("''")))


def downgrade():
    for column in ("precision", "runtime", "csi_difference"):
        op.drop_column("checks", column)
