"""Runs and observations know their grid by where it lies, no more by PROJ's words for its CRS."""

import sqlalchemy as sa
from alembic import op

from nowcast.grid import Grid

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_REGIONS = sa.table("regions", sa.column("name", sa.String), sa.column("grid", sa.JSON))
_OF_GRIDS = [
    sa.table(name, sa.column("region", sa.String), sa.column("grid_digest", sa.String))
    for name in ("runs", "observations")
]


def upgrade():
    _rename("digest_of_words", "digest")


def downgrade():
    _rename("digest", "digest_of_words")


def _rename(before, after):
    """Change the digests that are of a region's present grid; those of grids that it had before are nothing's."""
    connection = op.get_bind()
    for name, grid in connection.execute(sa.select(_REGIONS.c.name, _REGIONS.c.grid)).all():
        here = Grid(**grid)
        for kept in _OF_GRIDS:
            its_own = (kept.c.region == name) & (kept.c.grid_digest == getattr(here, before))
            connection.execute(sa.update(kept).where(its_own).values(grid_digest=getattr(here, after)))
