"""From an EDR request to its response."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from fastapi import Response

from api.deps import Services
from api.edr import geometry, select
from api.edr.describe import Address, place_of
from api.edr.families import Family, split
from api.edr.formats import MEDIA, Answer, empty, render
from api.freshness import Freshness
from api.lookup import find_run, require_grid
from nowcast.clock import utc
from nowcast.errors import BadRequest
from nowcast.run import RegionRecord, Run

LATEST = "latest"


@dataclass(frozen=True)
class Asked:
    """What every data query names: a collection, a run, and what of it.

    Attributes
    ----------
    form
        One of `MEDIA`.
    """

    region: RegionRecord
    family: Family
    run: Run
    names: str | None
    when: str | None
    form: str
    address: Address

    def source(self, *, every_lead: bool = False) -> select.Source:
        """Return the run with the products and leads asked for."""
        products = select.products_of(self.family, self.run, self.names)
        leads = select.leads_of(self.run, None if every_lead else self.when)
        return select.Source(self.run, self.region.grid, products, leads)


Query = Callable[[Services, Asked], Answer]


async def run_of(services: Services, region: RegionRecord, instance: str) -> Run:
    """Return the run that an instance id names: `latest` or its base time."""
    if instance == LATEST:
        return services.watch.newest(region.name)
    return require_grid(region.grid, await find_run(services, region.name, _base_time(instance)))


def _base_time(instance: str) -> datetime:
    try:
        time = datetime.fromisoformat(instance)
        known = utc(time)
    except ValueError as error:
        raise BadRequest(f"instance must be `latest` or a base time, 20260301T1200Z, got {instance[:40]!r}") from error
    if time.tzinfo is None:
        raise BadRequest(f"instance {instance[:40]!r} has no zone; add Z")
    return known


async def asked(
    services: Services,
    address: Address,
    collection: str,
    instance: str,
    names: str | None,
    when: str | None,
    form: str | None,
) -> Asked:
    """Return what is asked for, checked."""
    region_name, family = split(collection)
    region = services.watch.region(region_name)
    run = await run_of(services, region, instance)
    chosen = next((f for f in MEDIA if f.lower() == (form or "CoverageJSON").lower()), None)
    if chosen is None:
        raise BadRequest(f"f must be one of {', '.join(MEDIA)}, got {(form or '')[:40]!r}")
    return Asked(region, family, run, names, when, chosen, address)


async def answer(services: Services, freshness: Freshness, what: Asked, query: Query) -> Response:
    """Return the answer of a query: 204 when nothing of it was seen or lies in the time asked for."""
    headers = freshness.of(what.run)
    if not what.source().leads:
        return Response(status_code=204, headers=headers)
    workshop = services.writing if what.form == "NetCDF" else services.workshop
    body = await workshop.do(lambda: _rendered(services, what, query))
    if body is None:
        return Response(status_code=204, headers=headers)
    kind = MEDIA[what.form]
    return Response(body, media_type=kind, headers=headers)


def _rendered(services: Services, what: Asked, query: Query) -> bytes | None:
    found = query(services, what)
    return None if empty(found) else render(found, what.form, what.address, services.shelf)


def position(coords: str) -> Query:
    """Return the query for a POINT or MULTIPOINT."""
    points = geometry.parse(coords, "POINT", "MULTIPOINT").parts[0][:, :2]
    return lambda services, what: select.at_points(services.store.pixels, what.source(), points)


def location(name: str) -> Query:
    """Return the query for a named place."""

    def query(services: Services, what: Asked) -> Answer:
        place = place_of(what.region, name)
        return select.at_points(services.store.pixels, what.source(), np.array([[place.lon, place.lat]]))

    return query


def area(coords: str) -> Query:
    """Return the query for a POLYGON or MULTIPOLYGON."""
    rings = tuple(part[:, :2] for part in geometry.parse(coords, "POLYGON", "MULTIPOLYGON").parts)
    if min(map(len, rings)) < 3:
        raise BadRequest(f"a ring of a polygon needs three positions or more, got {coords[:80]!r}")
    return _masked(geometry.bounds(rings), lambda lon, lat: geometry.inside(rings, lon, lat))


def cube(bbox: str) -> Query:
    """Return the query for a bounding box."""
    return _masked(geometry.parse_bbox(bbox), None)


def radius(coords: str, within: str, units: str) -> Query:
    """Return the query for a circle around a POINT."""
    lon, lat = geometry.parse(coords, "POINT").parts[0][0, :2].tolist()
    metres = geometry.parse_distance(within, units)
    high = float(np.degrees(metres / geometry.EARTH))
    wide = high / max(float(np.cos(np.radians(lat))), 0.01)
    box = lon - wide, lat - high, lon + wide, lat + high
    return _masked(box, lambda x, y: geometry.distance(x, y[:, None], (lon, lat)) <= metres)


def _masked(box: geometry.Box, mask: Callable[[Any, Any], Any] | None) -> Query:
    def query(services: Services, what: Asked) -> Answer:
        most = select.MOST_LARGE if what.form == "NetCDF" else select.MOST_VALUES
        found = select.on_area(services.store.pixels, what.source(), box, most)
        if mask is not None:
            outside = ~mask(found.lon, found.lat)
            for values in found.values.values():
                values[:, outside] = np.nan
        return found

    return query


def trajectory(coords: str) -> Query:
    """Return the query for a LINESTRING or LINESTRINGM, along which the time moves."""
    shape = geometry.parse(coords, "LINESTRING")

    def query(services: Services, what: Asked) -> Answer:
        times = select.way_times(shape, what.when, what.run)
        return select.along_path(services.store.pixels, what.source(every_lead=True), shape.parts[0][:, :2], times)

    return query
