"""From a tile's URL to its answer; like points, read from the request itself: most tiles have been drawn before."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError, model_validator
from starlette.responses import Response

from api.deps import Instant, Services
from api.freshness import IMMUTABLE, NEVER, SHORT, etag_of, has_already, http_date
from api.mercator import Box, tile_box
from api.palettes import Palette, palette_for
from api.pictures import MEDIA_TYPES, Format
from api.pointing import services_of
from api.tiles import LATEST, Layers, base_time_of, draw, layers_of

DEEPEST = 20
SOME_MINUTES = "public, max-age=300"
"""For a run named by its base time, which a rerun may replace."""


class TilePath(BaseModel):
    """What a tile's URL names."""

    region: str = Field(max_length=64)
    base_time: Instant | Literal["latest"] = Field(union_mode="left_to_right")
    product: str = Field(max_length=32)
    lead: int = Field(ge=0, le=1440, multiple_of=5)
    z: int = Field(ge=0, le=DEEPEST)
    x: int = Field(ge=0)
    y: int = Field(ge=0)
    form: Format
    palette: str | None = None
    size: Literal["256", "512"] = "256"
    v: int | None = None

    @model_validator(mode="after")
    def _within_the_world(self) -> "TilePath":
        if max(self.x, self.y) >= 2**self.z:
            raise ValueError(f"tile x and y must be below {2**self.z} at zoom {self.z}, got {self.x}/{self.y}")
        return self

    @classmethod
    def of(cls, request: Request) -> "TilePath":
        """Return what the URL names, or raise what FastAPI raises for an invalid one."""
        try:
            return cls.model_validate({**request.query_params, **request.path_params})
        except ValidationError as error:
            raise RequestValidationError([{**e, "loc": ("path", *e["loc"])} for e in error.errors()]) from None


async def answer_tile(request: Request) -> Response:
    """Return a tile, drawn now or before."""
    services = await services_of(request)
    asked = TilePath.of(request)
    palette = palette_for(shown_as(asked.product, asked.lead), asked.palette)
    box = tile_box(asked.z, asked.x, asked.y, int(asked.size))
    kept_for = SHORT if asked.base_time == LATEST else IMMUTABLE if asked.v is not None else SOME_MINUTES
    look = Look(palette, asked.form, kept_for)
    return await answer_picture(request, await _layers(services, asked), box, look)


async def _layers(services: Services, asked: TilePath) -> Layers:
    base = base_time_of(services, asked.region, asked.base_time)
    return await known_layers(services, asked.region, base, asked.product, asked.lead)


def shown_as(product: str, lead: int) -> str:
    """Return the product that a tile shows: lead 0 is the observed rate, whatever the product."""
    return product if lead else "rain_rate"


async def known_layers(services: Services, region: str, base: datetime, product: str, lead: int) -> Layers:
    """Return `layers_of`, which is kept for a second."""
    key, now = (region, base, product, lead), time.monotonic()
    kept = services.layers.get(key)
    if kept is not None and now - kept[0] < services.watch.trusted_seconds:
        return kept[1]
    layers = await services.workshop.do(lambda: layers_of(services, region, base, product, lead))
    services.layers.put(key, (now, layers), 1)
    return layers


@dataclass(frozen=True)
class Look:
    """How a picture is drawn and for how long it may be kept."""

    palette: Palette
    form: Format
    kept_for: str


async def answer_picture(request: Request, layers: Layers, box: Box, look: Look) -> Response:
    """Return a picture of layers, or 304 to who has it."""
    services: Services = request.app.state.services
    modified = services.clock.to_wall(layers.modified).replace(microsecond=0)
    etag = etag_of(request, layers.identity)
    headers = {"ETag": etag, "Last-Modified": http_date(modified), "Cache-Control": look.kept_for}
    if has_already(request, etag, modified.timestamp() if layers.dated else NEVER):
        return Response(status_code=304, headers=headers)
    key = layers.identity, box, look.palette.name, look.form
    picture = services.tiles.get(key)
    if picture is None:
        picture = await services.workshop.do(lambda: draw(services, layers, box, look.palette, look.form))
        services.tiles.put(key, picture, len(picture) + 600)
    return Response(picture, media_type=MEDIA_TYPES[look.form], headers=headers)
