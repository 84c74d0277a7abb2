"""Records ↔ rows: what the store takes and gives on one side, the tables' columns on the other."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from nowcast.chunks import Chunk, Fill
from nowcast.grid import Grid
from nowcast.run import CheckRecord, FrameRecord, Observation, Place, PlanRecord, RegionRecord, Run

Row = Mapping[Any, Any]
Values = dict[str, Any]

_CHUNK_FIELDS = tuple(f.name for f in fields(Chunk))


def region_values(region: RegionRecord) -> Values:
    """Return the columns of `regions`, without the pointer."""
    return {
        "name": region.name,
        "title": region.title,
        "grid": asdict(region.grid),
        "sources": list(region.sources),
        "model": region.model,
        "places": [asdict(place) for place in region.places],
    }


def region_record(row: Row) -> RegionRecord:
    """Return the record of a row of `regions`."""
    places = tuple(Place(**place) for place in row["places"])
    return RegionRecord(row["name"], row["title"], Grid(**row["grid"]), tuple(row["sources"]), row["model"], places)


def frame_values(frame: FrameRecord) -> Values:
    """Return the columns of `frames`, without the id."""
    return _without_id(asdict(frame))


def frame_record(row: Row) -> FrameRecord:
    """Return the record of a row of `frames`."""
    return FrameRecord(**row)


def plan_values(plan: PlanRecord) -> Values:
    """Return the columns of `plans`, without the id."""
    return _without_id(asdict(plan))


def plan_record(row: Row) -> PlanRecord:
    """Return the record of a row of `plans`."""
    return PlanRecord(**row)


def check_record(row: Row) -> CheckRecord:
    """Return the record of a row of `checks`."""
    return CheckRecord(**{name: value for name, value in row.items() if name != "id"})


def run_values(run: Run) -> Values:
    """Return the columns of `runs`, without the id."""
    values = _without_id(asdict(run))
    del values["frames"]
    return {**values, "products": list(run.products), "flags": list(run.flags)}


def run_record(row: Row, frames: Iterable[str]) -> Run:
    """Return the record of a row of `runs` and the digests of its frames."""
    lists = {"products": tuple(row["products"]), "flags": tuple(row["flags"])}
    return Run(**{**row, **lists, "frames": tuple(frames)})


def chunk_values(chunk: Chunk, run_id: int, run: Run) -> Values:
    """Return the columns of `chunks`."""
    columns = {name: getattr(chunk, name) for name in _CHUNK_FIELDS}
    return {**columns, "fill": str(chunk.fill), "run_id": run_id, "base_time": run.base_time}


def chunk_record(row: Row) -> Chunk:
    """Return the chunk of a row of `chunks`."""
    return Chunk(**{**{name: row[name] for name in _CHUNK_FIELDS}, "fill": Fill(row["fill"])})


def observation_values(observation: Observation) -> Values:
    """Return the columns of `observations`, without the id."""
    return _without_id(asdict(observation))


def observed_values(chunk: Chunk, observation_id: int) -> Values:
    """Return the columns of `observed_chunks`."""
    columns = {name: getattr(chunk, name) for name in _CHUNK_FIELDS if name != "product"}
    return {**columns, "fill": str(chunk.fill), "observation_id": observation_id}


def _without_id(values: Values) -> Values:
    return {name: value for name, value in values.items() if name != "id"}
