"""What a publish writes and what comes back of it, on a connection that is already in its transaction."""

from itertools import chain
from typing import Any

from sqlalchemy import Connection, Executable

from nowcast.chunks import Chunk
from nowcast.chunks import encode as encode_field
from nowcast.errors import NoRun, OutsideGrid, UnknownRegion
from nowcast.run import Fields, Run
from nowcast.side import side_by_side
from nowcast.store import records
from nowcast.store import statements as sql


def encode(run: Run, fields: Fields) -> list[Chunk]:
    """Return the chunks of a run, or raise `ValueError` when the fields are not those that it states."""
    if set(fields) != set(run.products) or not fields:
        raise ValueError(f"fields {sorted(fields)} must be the run's products {sorted(run.products)}, at least one")
    shapes = {field.shape for field in fields.values()}
    if len(shapes) != 1 or next(iter(shapes))[0] != run.leads:
        raise ValueError(f"fields must all be ({run.leads}, H, W), got {sorted(shapes)}")
    pieces = side_by_side(lambda product: encode_field(product, fields[product]), run.products)
    return list(chain.from_iterable(pieces))


def publish(connection: Connection, run: Run, pieces: list[Chunk]) -> int:
    """Write a run and its chunks, replace the one before it, move the pointer forward; return the run's id."""
    key: dict[str, Any] = {"region": run.region, "time": run.base_time}
    pointer = connection.execute(sql.LOCK_REGION, key).first()
    if pointer is None:
        raise UnknownRegion(f"region {run.region!r} is not in the store; put it first, as the worker does at its start")
    connection.execute(sql.DELETE_RUN, key)
    run_id: int = connection.execute(sql.INSERT_RUN, records.run_values(run)).scalar_one()
    if run.frames:
        used = [{"run_id": run_id, "position": i, "digest": digest} for i, digest in enumerate(run.frames)]
        connection.execute(sql.INSERT_RUN_FRAME, used)
    connection.execute(sql.INSERT_CHUNK, [records.chunk_values(chunk, run_id, run) for chunk in pieces])
    if pointer.newest_base_time is None or pointer.newest_base_time <= run.base_time:
        connection.execute(sql.POINT_REGION, {**key, "run_id": run_id})
    return run_id


def select_runs(connection: Connection, statement: Executable, values: dict[str, Any]) -> list[Run]:
    """Return the runs that a statement on `runs` selects, each with its frames."""
    rows = connection.execute(statement, values).mappings().all()
    used: dict[int, list[str]] = {row["id"]: [] for row in rows}
    if used:
        for run_id, digest in connection.execute(sql.RUN_FRAMES, {"run_ids": list(used)}):
            used[run_id].append(digest)
    return [records.run_record(row, used[row["id"]]) for row in rows]


def gone(run: Run, product: str = "") -> NoRun:
    """Return the error for a run that has been replaced or removed since it was read."""
    what = f"{product} of run {run.id}" if product else f"run {run.id}"
    return NoRun(f"{what} ({run.region}, {run.base_time.isoformat()}) is not there or has been replaced; ask again")


def no_cell(run: Run, row: int, column: int) -> OutsideGrid:
    """Return the error for a cell that a run does not have."""
    return OutsideGrid(f"run of {run.region} has no cell ({row}, {column}); choose one inside the region's grid")
