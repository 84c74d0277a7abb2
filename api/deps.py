"""What routes ask for, as named `Annotated` types. All are `async`: none waits for a thread."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from pydantic import BeforeValidator

from api.coverage import Coverages
from api.files.shelf import Shelf
from api.freshness import Freshness
from api.live import Live
from api.pictures import Gallery
from api.points import RunText
from api.watch import Watch
from api.work import Workshop
from nowcast.clock import Clock, utc
from nowcast.run import RegionRecord, Run
from nowcast.store.cache import ByteCache
from nowcast.store.store import Store


@dataclass(frozen=True)
class Services:
    """What the application holds, one of each.

    Attributes
    ----------
    writing
        For NetCDF answers: netCDF-C writes one file at a time, and who waits for it keeps no thread from other work.
    """

    store: Store
    clock: Clock
    watch: Watch
    live: Live
    gallery: Gallery
    coverages: Coverages
    workshop: Workshop
    writing: Workshop
    texts: ByteCache[int, RunText]
    layers: ByteCache[tuple, tuple]
    tiles: ByteCache[tuple, bytes]
    shelf: Shelf


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    await services.watch.ensure()
    return services


ServicesDep = Annotated[Services, Depends(_services)]


async def _store(services: ServicesDep) -> Store:
    return services.store


async def _clock(services: ServicesDep) -> Clock:
    return services.clock


async def _watch(services: ServicesDep) -> Watch:
    return services.watch


async def _freshness(request: Request, services: ServicesDep) -> Freshness:
    return Freshness(request, services.clock)


StoreDep = Annotated[Store, Depends(_store)]
ClockDep = Annotated[Clock, Depends(_clock)]
WatchDep = Annotated[Watch, Depends(_watch)]
FreshnessDep = Annotated[Freshness, Depends(_freshness)]
Latitude = Annotated[
    float, Query(ge=-90, le=90, allow_inf_nan=False, description="Degrees north (WGS 84).", examples=[52.1])
]
Longitude = Annotated[
    float, Query(ge=-180, le=180, allow_inf_nan=False, description="Degrees east (WGS 84).", examples=[5.2])
]
RegionName = Annotated[str, Path(description="A region's name.", examples=["lowlands"], max_length=64)]


async def _region(watch: WatchDep, region: RegionName) -> RegionRecord:
    return watch.region(region)


RegionDep = Annotated[RegionRecord, Depends(_region)]


def _instant(text: object) -> object:
    """Return an aware UTC instant of ISO 8601 text, extended or basic (20260301T2350Z); UTC without a zone."""
    if not isinstance(text, str):
        return text
    return utc(datetime.fromisoformat(text.strip()))


Instant = Annotated[datetime, BeforeValidator(_instant)]
BaseTime = Annotated[Instant, Path(description="Base time of a run, UTC.", examples=["2026-03-01T23:50:00Z"])]


async def newest_run(watch: WatchDep, region: RegionDep) -> Run:
    """Return the newest run of the region in the path."""
    return watch.newest(region.name)


NewestRunDep = Annotated[Run, Depends(newest_run)]
