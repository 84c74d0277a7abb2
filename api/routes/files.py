"""Runs as files. All are conditional; NetCDF and GeoTIFF answer ranges."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.again import Again
from api.deps import BaseTime, FreshnessDep, RegionDep, Services, ServicesDep
from api.files import netcdf, zarr
from api.files.ranges import ranged, unmade
from api.files.tiff import lead_tiff
from api.freshness import Freshness
from api.head import headers_alone
from api.lookup import find_run, lead_index, require_grid, require_product
from api.responses import media
from nowcast.run import Run

router = APIRouter(prefix="/v1", tags=["files"], route_class=Again)

Version = Annotated[int | None, Query(description="The run's id: with it the file may be kept for ever.")]
NETCDF = "application/netcdf"
WRITERS = {"nc": netcdf.write_cf, "pysteps.nc": netcdf.write_pysteps}


@router.get("/files/{region}/{base_time}.pysteps.nc", response_class=Response, responses=media(NETCDF))
async def read_pysteps(
    request: Request,
    region: RegionDep,
    base_time: BaseTime,
    services: ServicesDep,
    freshness: FreshnessDep,
    v: Version = None,
) -> Response:
    """The run as pysteps writes its own forecasts: `precip_intensity` over `ens_number, time, y, x`."""
    run = await find_run(services, region.name, base_time)
    return await _netcdf(request, services, freshness, run, "pysteps.nc", v)


@router.get("/files/{region}/{base_time}.nc", response_class=Response, responses=media(NETCDF))
async def read_netcdf(
    request: Request,
    region: RegionDep,
    base_time: BaseTime,
    services: ServicesDep,
    freshness: FreshnessDep,
    v: Version = None,
) -> Response:
    """The whole run as CF NetCDF."""
    run = await find_run(services, region.name, base_time)
    return await _netcdf(request, services, freshness, run, "nc", v)


async def _netcdf(
    request: Request, services: Services, freshness: Freshness, run: Run, kind: str, v: int | None
) -> Response:
    write, grid = WRITERS[kind], services.watch.region(run.region).grid
    run = require_grid(grid, run)
    headers = freshness.immutable(f"run {run.id}", run.published_at, pinned=v == run.id)
    headers["Content-Disposition"] = f'attachment; filename="{run.region}_{run.base_time:%Y%m%d%H%M}.{kind}"'
    key = run.id, kind
    if headers_alone(request) and services.shelf.kept(key) is None:
        return unmade(NETCDF, headers)
    file = await services.shelf.file(key, lambda path: write(services.store.pixels, run, grid, path))
    return ranged(request, file, NETCDF, headers)


@router.get(
    "/files/{region}/{base_time}/{product}/{lead_minutes}.tif", response_class=Response, responses=media("image/tiff")
)
async def read_tiff(
    request: Request,
    region: RegionDep,
    base_time: BaseTime,
    product: Annotated[str, Path(description="A product, or `accumulated`.", examples=["rain_mean"])],
    lead_minutes: Annotated[int, Path(ge=5, le=1440, multiple_of=5, description="Lead time.", examples=[5])],
    services: ServicesDep,
    freshness: FreshnessDep,
    v: Version = None,
) -> Response:
    """One lead as a cloud-optimised GeoTIFF on the region's own grid; NaN is not seen."""
    run = require_grid(region.grid, await find_run(services, region.name, base_time))
    name, lead = require_product(run, product), lead_index(run, lead_minutes)
    headers = freshness.immutable(f"run {run.id}", run.published_at, pinned=v == run.id)
    body = await services.workshop.do(lambda: lead_tiff(services, run, region.grid, name, lead))
    return ranged(request, body, "image/tiff; application=geotiff; profile=cloud-optimized", headers)


@router.get(
    "/zarr/{region}/{base_time}/{key:path}",
    response_class=Response,
    responses=media("application/octet-stream", "application/json"),
)
async def read_zarr(
    region: RegionDep,
    base_time: BaseTime,
    key: Annotated[str, Path(max_length=200, description="A key of the group.", examples=["zarr.json"])],
    services: ServicesDep,
    freshness: FreshnessDep,
) -> Response:
    """The run as a Zarr v3 group: `xarray.open_zarr` reads the address without the key."""
    run = require_grid(region.grid, await find_run(services, region.name, base_time))
    headers = freshness.immutable(f"run {run.id}", run.published_at, pinned=False)
    body, kind = await services.workshop.do(lambda: zarr.entry(services.store.pixels, run, region.grid, key))
    return Response(body, media_type=kind, headers=headers)
