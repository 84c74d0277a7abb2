"""XYZ tiles, their TileJSON, and legends."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from api.again import Again
from api.deps import ServicesDep
from api.legends import legend
from api.palettes import PALETTES, palette_for
from api.responses import media
from api.schemas import TileJson
from api.tiles import MOSAIC, base_time_of
from api.tiling import DEEPEST, answer_tile, shown_as
from nowcast.errors import NotKept

router = APIRouter(prefix="/v1", tags=["pictures"], route_class=Again)


def _parameter(name: str, place: str, example: object, schema: dict[str, Any], description: str) -> dict[str, Any]:
    required = place == "path"
    told = {"name": name, "in": place, "required": required, "description": description}
    return {**told, "example": example, "schema": schema}


_INTEGER = {"type": "integer", "minimum": 0}
TILE = {
    "parameters": [
        _parameter("region", "path", "mosaic", {"type": "string", "maxLength": 64}, "A region, or `mosaic` for all."),
        _parameter("base_time", "path", "latest", {"type": "string"}, "Base time of a run, UTC, or `latest`."),
        _parameter("product", "path", "rain_mean", {"type": "string", "maxLength": 32}, "A product, or `accumulated`."),
        _parameter(
            "lead", "path", 5, {**_INTEGER, "maximum": 1440, "multipleOf": 5}, "Minutes; 0 is what was observed."
        ),
        _parameter("z", "path", 6, {**_INTEGER, "maximum": DEEPEST}, "Zoom."),
        _parameter("x", "path", 33, _INTEGER, "Column, from the west."),
        _parameter("y", "path", 21, _INTEGER, "Row, from the north."),
        _parameter("form", "path", "png", {"type": "string", "enum": ["png", "webp"]}, "Format."),
        _parameter("palette", "query", "rain", {"type": "string"}, "A palette of the product's kind."),
        _parameter("size", "query", "256", {"type": "string", "enum": ["256", "512"]}, "Pixels a side."),
        _parameter("v", "query", 1, {"type": "integer"}, "Any number of yours: with it the tile may be kept for ever."),
    ]
}


@router.get(
    "/tiles/{region}/{base_time}/{product}/{lead}/{z}/{x}/{y}.{form}",
    response_class=Response,
    responses=media("image/png", "image/webp"),
    openapi_extra=TILE,
)
async def read_tile(request: Request) -> Response:
    """One XYZ tile: dry and outside the regions transparent, not seen hatched."""
    return await answer_tile(request)


@router.get("/tiles/{region}/{base_time}/{product}/{lead}/tilejson.json")
async def read_tilejson(
    request: Request,
    services: ServicesDep,
    region: Annotated[str, Path(max_length=64, description="A region, or `mosaic`.", examples=["mosaic"])],
    base_time: Annotated[str, Path(max_length=32, description="Base time, or `latest`.", examples=["latest"])],
    product: Annotated[str, Path(max_length=32, description="A product.", examples=["rain_mean"])],
    lead: Annotated[int, Path(ge=0, le=1440, multiple_of=5, description="Minutes.", examples=[5])],
    palette: Annotated[str | None, Query(description="A palette.", examples=["rain"])] = None,
) -> TileJson:
    """TileJSON 3.0: what a map needs to show these tiles."""
    chosen = palette_for(shown_as(product, lead), palette)
    if base_time == "latest":
        base_time_of(services, region, base_time)
    boxes = [r.grid.bounds for r in services.watch.regions().values() if region in (MOSAIC, r.name)]
    if not boxes:
        services.watch.region(region)
    west, south, east, north = zip(*boxes, strict=True)
    root = str(request.base_url).rstrip("/")
    url = f"{root}/v1/tiles/{region}/{base_time}/{product}/{lead}/{{z}}/{{x}}/{{y}}.png?palette={chosen.name}"
    return TileJson(
        name=f"{product} {region} +{lead} min",
        tiles=[url],
        bounds=[min(west), min(south), max(east), max(north)],
        attribution="nowcast",
        legend=f"{root}/v1/palettes/{chosen.name}/legend.svg",
    )


@router.get("/palettes/{name}/legend.svg", response_class=Response, responses=media("image/svg+xml"))
async def read_legend(
    name: Annotated[str, Path(max_length=64, description="A palette.", examples=["rain"])],
) -> Response:
    """A palette's legend as SVG, with the hatch for not seen."""
    found = next((p for p in PALETTES if p.name == name), None)
    if found is None:
        raise NotKept(f"no palette {name!r}; /v1/palettes lists them")
    headers = {"Cache-Control": "public, max-age=3600"}
    return Response(legend(found), media_type="image/svg+xml", headers=headers)
