"""Runs migrations on the connection that `nowcast.store.database` hands over, inside its transaction."""

from alembic import context

from nowcast.store.life_tables import Base
from nowcast.store.partitions import NAME


def include_name(name, type_, parent_names):
    """Leave out the partitions of `chunks`, which the store makes by itself."""
    return not (type_ == "table" and name and NAME.fullmatch(name))


connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("migrations run through `nowcast db upgrade`, which says where the database is")
context.configure(connection=connection, target_metadata=Base.metadata, include_name=include_name)
with context.begin_transaction():
    context.run_migrations()
