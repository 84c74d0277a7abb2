"""OGC API – EDR 1.1. A data query on a collection is one on its `latest` instance."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from api.again import Again
from api.deps import FreshnessDep, ServicesDep
from api.edr import answer as edr
from api.edr import describe
from api.edr.families import split
from api.edr.formats import MEDIA
from api.responses import Responses, media
from nowcast.errors import NotKept

router = APIRouter(prefix="/edr", tags=["edr"], route_class=Again)

Collection = Annotated[str, Path(max_length=80, description="A collection.", examples=["lowlands_rain"])]
Instance = Annotated[str, Path(max_length=40, description="A run's base time, or `latest`.", examples=["latest"])]
Location = Annotated[str, Path(max_length=80, description="A place.", examples=["de-bilt"])]
Names = Annotated[
    str | None, Query(alias="parameter-name", max_length=200, description="Comma-separated.", examples=["rain_mean"])
]
When = Annotated[
    str | None,
    Query(alias="datetime", max_length=80, description="Instant or interval, `..` for open.", examples=["../.."]),
]
Form = Annotated[str | None, Query(max_length=20, description=", ".join(MEDIA), examples=["CoverageJSON"])]
Crs = Annotated[
    str | None,
    Query(alias="crs", max_length=80, pattern="CRS84$", description="CRS84 alone.", examples=["OGC:CRS84"]),
]
"""Checked and not used: in another CRS `coords` would be another place."""
Units = Annotated[str, Query(alias="within-units", max_length=8, description="km, m, mi or nmi.", examples=["km"])]


class GeoJson(JSONResponse):
    """GeoJSON under its own name."""

    media_type = MEDIA["GeoJSON"]


DATA: Responses = {
    **media(*MEDIA.values()),
    204: {"description": "Nothing was seen there, or the run says nothing for that time."},
}
IN_COLLECTION, IN_INSTANCE = "/collections/{collection}", "/collections/{collection}/instances/{instance}"


def _coords(example: str) -> Any:  # noqa: ANN401  FastAPI has no name for it
    return Query(max_length=20000, description="WKT, longitude first (CRS84).", examples=[example])


Point = Annotated[str, _coords("POINT(5.18 52.1)")]
Polygon = Annotated[str, _coords("POLYGON((5 52,5.4 52,5.4 52.3,5 52.3,5 52))")]
Line = Annotated[str, _coords("LINESTRING(4.9 52.37,5.18 52.1)")]
Bbox = Annotated[str, Query(max_length=200, description="West,south,east,north.", examples=["5,52,5.4,52.3"])]
Within = Annotated[str, Query(max_length=20, description="Distance.", examples=["10"])]


def _root(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}/edr"


async def _asked(
    services: ServicesDep,
    collection: Collection,
    request: Request,
    names: Names = None,
    when: When = None,
    f: Form = None,
    _crs: Crs = None,
) -> edr.Asked:
    instance = request.path_params.get("instance")
    path = f"{_root(request)}/collections/{collection}" + (f"/instances/{instance}" if instance else "")
    address = describe.Address(str(request.url), path)
    return await edr.asked(services, address, collection, instance or edr.LATEST, names, when, f)


def _declared(instance: Instance) -> None:
    """Declare the path parameter that `_asked` reads: only half of the paths that share a function have it."""


AskedDep = Annotated[edr.Asked, Depends(_asked)]
NAMED = [Depends(_declared)]


@router.get("")
async def read_landing(request: Request) -> dict[str, Any]:
    """Landing page with links to all else."""
    return describe.landing(_root(request))


@router.get("/conformance")
async def read_conformance() -> dict[str, list[str]]:
    """Conformance classes."""
    return {"conformsTo": describe.CONFORMANCE}


@router.get("/collections")
async def read_collections(request: Request, services: ServicesDep) -> dict[str, Any]:
    """Collections: each region's families of products that its newest run has."""
    root = _root(request)
    there = [
        describe.collection(root, region, family, run)
        for region in services.watch.regions().values()
        if (run := services.watch.newest_or_none(region.name)) is not None
        for family in describe.families_of(run)
    ]
    return {"links": [describe.link(f"{root}/collections", "self")], "collections": there}


@router.get(IN_COLLECTION)
async def read_collection(request: Request, services: ServicesDep, collection: Collection) -> dict[str, Any]:
    """One collection, as it stands with the newest run."""
    name, family = split(collection)
    region = services.watch.region(name)
    run = services.watch.newest(name)
    if family not in describe.families_of(run):
        raise NotKept(f"no collection {collection!r}; /edr/collections lists them")
    return describe.collection(_root(request), region, family, run)


@router.get(f"{IN_COLLECTION}/instances")
async def read_instances(
    request: Request,
    services: ServicesDep,
    collection: Collection,
    limit: Annotated[int, Query(ge=1, le=100, description="At most so many.", examples=[10])] = 24,
) -> dict[str, Any]:
    """The runs of a collection, newest first."""
    name, family = split(collection)
    region = services.watch.region(name)
    runs = await services.workshop.do(lambda: services.store.runs(name, limit))
    root = _root(request)
    there = [
        describe.collection(root, region, family, run, f"{run.base_time:%Y%m%dT%H%M%SZ}")
        for run in runs
        if run.grid_digest == region.grid.digest and family in describe.families_of(run)
    ]
    return {"links": [describe.link(f"{root}/collections/{collection}/instances", "self")], "instances": there}


@router.get(IN_INSTANCE)
async def read_instance(
    request: Request, services: ServicesDep, collection: Collection, instance: Instance
) -> dict[str, Any]:
    """One run of a collection."""
    name, family = split(collection)
    region = services.watch.region(name)
    run = await edr.run_of(services, region, instance)
    return describe.collection(_root(request), region, family, run, instance)


@router.get(f"{IN_COLLECTION}/position", response_class=Response, responses=DATA)
@router.get(f"{IN_INSTANCE}/position", response_class=Response, responses=DATA, dependencies=NAMED)
async def read_position(services: ServicesDep, fresh: FreshnessDep, what: AskedDep, coords: Point) -> Response:
    """Values at a POINT, or at each of a MULTIPOINT inside the region."""
    return await edr.answer(services, fresh, what, edr.position(coords))


@router.get(f"{IN_COLLECTION}/area", response_class=Response, responses=DATA)
@router.get(f"{IN_INSTANCE}/area", response_class=Response, responses=DATA, dependencies=NAMED)
async def read_area(services: ServicesDep, fresh: FreshnessDep, what: AskedDep, coords: Polygon) -> Response:
    """Values in a POLYGON, where it overlaps the region."""
    return await edr.answer(services, fresh, what, edr.area(coords))


@router.get(f"{IN_COLLECTION}/cube", response_class=Response, responses=DATA)
@router.get(f"{IN_INSTANCE}/cube", response_class=Response, responses=DATA, dependencies=NAMED)
async def read_cube(services: ServicesDep, fresh: FreshnessDep, what: AskedDep, bbox: Bbox) -> Response:
    """Values in a box, where it overlaps the region."""
    return await edr.answer(services, fresh, what, edr.cube(bbox))


@router.get(f"{IN_COLLECTION}/radius", response_class=Response, responses=DATA)
@router.get(f"{IN_INSTANCE}/radius", response_class=Response, responses=DATA, dependencies=NAMED)
async def read_radius(
    services: ServicesDep, fresh: FreshnessDep, what: AskedDep, coords: Point, within: Within, units: Units
) -> Response:
    """Values around a POINT, where the circle overlaps the region."""
    return await edr.answer(services, fresh, what, edr.radius(coords, within, units))


@router.get(f"{IN_COLLECTION}/trajectory", response_class=Response, responses=DATA)
@router.get(f"{IN_INSTANCE}/trajectory", response_class=Response, responses=DATA, dependencies=NAMED)
async def read_trajectory(services: ServicesDep, fresh: FreshnessDep, what: AskedDep, coords: Line) -> Response:
    """Rain along a way: LINESTRINGM says when (seconds since 1970), else `datetime` (start/end, at an even pace)."""
    return await edr.answer(services, fresh, what, edr.trajectory(coords))


@router.get(f"{IN_COLLECTION}/locations", response_class=GeoJson)
@router.get(f"{IN_INSTANCE}/locations", response_class=GeoJson, dependencies=NAMED)
async def read_locations(what: AskedDep) -> dict[str, Any]:
    """Named places, as GeoJSON."""
    return describe.locations(what.region, what.family, what.run, what.address)


@router.get(f"{IN_COLLECTION}/locations/{{location}}", response_class=Response, responses=DATA)
@router.get(f"{IN_INSTANCE}/locations/{{location}}", response_class=Response, responses=DATA, dependencies=NAMED)
async def read_location(services: ServicesDep, fresh: FreshnessDep, what: AskedDep, location: Location) -> Response:
    """Values at a named place."""
    return await edr.answer(services, fresh, what, edr.location(location))
