"""Pictures of whole regions in Web-Mercator. `v` in a URL pins a publication: such a picture never changes."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.again import Again
from api.deps import BaseTime, FreshnessDep, Instant, RegionDep, Services, ServicesDep
from api.lookup import find_observation, find_run, lead_index, require_grid, require_product
from api.mercator import region_box
from api.palettes import palette_for
from api.pictures import DOTTED, Shown
from api.responses import media
from nowcast.errors import NotKept
from nowcast.run import RAIN_SOURCE, RegionRecord, Run

router = APIRouter(prefix="/v1/images", tags=["pictures"], route_class=Again)

PaletteName = Annotated[
    str | None, Query(description="A palette of the product's kind; else its default.", examples=["rain"])
]
Publication = Annotated[int | None, Query(description="The run's or observation's id, as the timeline gives it.")]
ProductName = Annotated[
    str, Path(description="A product of the run, `accumulated`, or `satellite`.", examples=["rain_mean"])
]
LeadMinutes = Annotated[int, Path(ge=5, le=1440, multiple_of=5, description="Lead time, minutes.", examples=[5])]
PNG = media("image/png")


@router.get("/{region}/observed/{valid_time}.png", response_class=Response, responses=PNG)
async def read_observed_image(
    region: RegionDep,
    valid_time: Annotated[Instant, Path(description="Valid time, UTC.", examples=["2026-03-01T23:50:00Z"])],
    services: ServicesDep,
    freshness: FreshnessDep,
    palette: PaletteName = None,
    v: Publication = None,
) -> Response:
    """What was observed: dry is transparent, not seen hatched."""
    seen = await services.workshop.do(lambda: find_observation(services.store, region.name, valid_time))
    require_grid(region.grid, seen)
    headers = freshness.of_seen(seen, pinned=v == seen.id)
    return await _picture(services, Shown(seen, "rain_rate", 0, region.grid), palette, headers)


@router.get("/{region}/{base_time}/{product}/{lead_minutes}.png", response_class=Response, responses=PNG)
async def read_image(
    region: RegionDep,
    base_time: BaseTime,
    product: ProductName,
    lead_minutes: LeadMinutes,
    services: ServicesDep,
    freshness: FreshnessDep,
    palette: PaletteName = None,
    v: Publication = None,
) -> Response:
    """One lead of a product: dry is transparent, not seen hatched.

    `satellite` shows no rain but where it was a satellite that saw it, or saw none: dots, to lay over the rain.
    """
    run = require_grid(region.grid, await find_run(services, region.name, base_time))
    lead = lead_index(run, lead_minutes)
    headers = freshness.immutable(f"run {run.id}", run.published_at, pinned=v == run.id)
    if product == DOTTED:
        return await _dots(services, run, region, lead, headers)
    name = require_product(run, product)
    return await _picture(services, Shown(run, name, lead, region.grid), palette, headers)


async def _picture(services: Services, shown: Shown, palette: str | None, headers: dict[str, str]) -> Response:
    chosen = palette_for(shown.product, palette)
    kept = services.gallery.kept(shown, region_box(shown.grid), chosen, "png")
    png = kept or await services.workshop.do(lambda: services.gallery.region(shown, chosen))
    return Response(png, media_type="image/png", headers=headers)


async def _dots(services: Services, run: Run, region: RegionRecord, lead: int, headers: dict[str, str]) -> Response:
    codes = services.coverages.codes(region)
    if not codes or RAIN_SOURCE not in run.products:
        raise NotKept(f"no satellite fills region {region.name}; the timeline lists the pictures that there are")
    shown = Shown(run, RAIN_SOURCE, lead, region.grid)
    png = services.gallery.kept_dots(shown) or await services.workshop.do(lambda: services.gallery.dots(shown, codes))
    return Response(png, media_type="image/png", headers=headers)
