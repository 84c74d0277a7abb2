"""The API application: `uvicorn --factory api.main:create_app`. Stateless over the store."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from api import docs, hot, page, problems
from api.access import MOST_BODY, Guard
from api.coverage import Coverages
from api.deps import Services
from api.files.shelf import Shelf
from api.head import Head
from api.live import Live
from api.metrics import CountRequests, Metrics
from api.pictures import Gallery
from api.routes import edr, files, forecasts, images, live, models, operations, provenance, rainviewer, regions, tiles
from api.watch import Watch
from api.work import Workshop
from nowcast import __version__
from nowcast.clock import Clock
from nowcast.config import Settings, read_settings
from nowcast.satellites import satellites
from nowcast.store.cache import ByteCache
from nowcast.store.store import Store

DESCRIPTION = """
Rain in the next two hours, from radar and satellite, renewed every five minutes.

Times are UTC. Rates are mm/h over the five minutes that a lead ends; `null` is *not seen*, never dry. Every answer says
its base time, its age and the rung of the ladder that made it: look at them before you rely on it. Errors are
RFC 9457 problems. `ETag`, `Last-Modified` and `Expires` come with every forecast; please send them back.
"""

FAMILIES = (forecasts, regions, images, tiles, rainviewer, edr, files, provenance, models, live, operations)
KNOWN_TEXTS, KNOWN_LAYERS = 64, 4096
STOP_SECONDS = 2
TILE_BYTES = 64 * 2**20
CORS_ASKED = ("Authorization", "X-API-Key", "If-None-Match", "Range", "If-Range")
CORS_TOLD = ("ETag", "Link", "Retry-After", "Content-Range", "Accept-Ranges")
"""Headers that pages of other origins may send, and may read, beyond those that every page may."""

PROBLEM = {"model": problems.Problem, "content": {problems.MEDIA_TYPE: {}}}


def create_app(settings: Settings | None = None, static: Path = page.STATIC) -> FastAPI:
    """Return the application over the store that the settings name.

    Raises
    ------
    StoreError
        When the database is away or not migrated.
    """
    settings = settings or read_settings()
    app = FastAPI(
        title="nowcast",
        version=__version__,
        description=DESCRIPTION,
        responses={"4XX": PROBLEM, "5XX": PROBLEM},
        lifespan=_lifespan,
        max_body_size=MOST_BODY,
        docs_url=None,
        redoc_url=None,
    )
    services = _services(settings)
    app.state.services = services
    app.state.metrics = Metrics(services.store, services.clock)
    app.add_middleware(hot.Hot)  # innermost: keys, limits, CORS and metrics hold for it too
    app.add_middleware(Head)
    app.add_middleware(Guard, settings=settings, store=services.store)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=CORS_ASKED,
            expose_headers=CORS_TOLD,
        )
    app.add_middleware(CountRequests, metrics=app.state.metrics)
    for family in FAMILIES:
        app.include_router(family.router)
    app.include_router(docs.router)
    problems.install(app)
    page.install(app, static)
    return app


def _services(settings: Settings) -> Services:
    store = Store.open(settings.url)
    clock = Clock(settings.clock_speed, settings.clock_epoch)
    watch = Watch(store)
    return Services(
        store,
        clock,
        watch,
        Live(store, watch, clock),
        Gallery(store),
        Coverages(store, satellites(settings.sources_file)),
        Workshop(),
        writing=Workshop(threads=1),
        texts=ByteCache(KNOWN_TEXTS),
        layers=ByteCache(KNOWN_LAYERS),
        tiles=ByteCache(TILE_BYTES),
        shelf=Shelf(),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    _freeze()
    looking = asyncio.create_task(services.live.run())
    try:
        yield
    finally:
        services.live.stop()
        await asyncio.wait([looking], timeout=STOP_SECONDS)  # cancelled, it would leave a thread with a connection
        looking.cancel()
        services.shelf.clear()
        services.store.close()


def _freeze() -> None:
    """Let the garbage collector pass over what the start has made: looking through all of it halts every request."""
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()
