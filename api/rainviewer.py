"""RainViewer v2 over the mosaic: a frame is `TIME` (observed) or `BASE-LEAD` (forecast), in seconds and minutes."""

import io
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
from fastapi import Request
from PIL import Image
from starlette.responses import Response

from api.deps import Services
from api.mercator import HALF, Box, from_lonlat, tile_box
from api.palettes import palette_for
from api.pointing import services_of
from api.schemas import Radar, WeatherMap, WeatherMaps
from api.tiles import MOSAIC, covered
from api.tiling import DEEPEST, SOME_MINUTES, Look, answer_picture, known_layers
from nowcast.clock import STEP
from nowcast.errors import BadRequest, NotKept

PAST = timedelta(hours=2)
SCHEMES = {0: "grey", 2: "classic", 8: "viridis"}
"""RainViewer's colour schemes by number; every other one is our default, which is safe for colour blindness."""

SIZES = (256, 512)


def weather_maps(services: Services, host: str) -> WeatherMaps:
    """Return the index over all regions."""
    runs = [run for run in map(services.watch.newest_or_none, services.watch.regions()) if run is not None]
    base = max((run.base_time for run in runs), default=None)
    past, nowcast = [], []
    if base is not None:
        observed = services.store.observations
        times = {o.valid_time for r in services.watch.regions() for o in observed.between(r, base - PAST, base)}
        past = [WeatherMap(time=_seconds(t), path=f"/v2/radar/{_seconds(t)}") for t in sorted(times)]
        leads = max(run.leads for run in runs if run.base_time == base)
        for lead in range(1, leads + 1):
            path = f"/v2/radar/{_seconds(base)}-{lead * 5}"
            nowcast.append(WeatherMap(time=_seconds(base + lead * STEP), path=path))
    generated = max((_seconds(run.published_at) for run in runs), default=0)
    return WeatherMaps(generated=generated, host=host, radar=Radar(past=past, nowcast=nowcast))


def _seconds(time: datetime) -> int:
    return int(time.timestamp())


async def answer_frame(request: Request) -> Response:
    """Return one tile of a frame."""
    services = await services_of(request)
    path = request.path_params
    base, lead = _frame(path["frame"])
    palette = palette_for("rain_mean", SCHEMES.get(_whole(path["color"], "color", 255)))
    layers = await known_layers(services, MOSAIC, base, "rain_mean", lead)
    return await answer_picture(request, layers, _box(path), Look(palette, "png", SOME_MINUTES))


async def answer_coverage(request: Request) -> Response:
    """Return where there is radar, as RainViewer draws it: black and half opaque where there is none."""
    services = await services_of(request)
    box = _box(request.path_params)
    inside = await services.workshop.do(lambda: covered(services, box))
    return Response(
        _coverage_png(inside.tobytes(), box.width), media_type="image/png", headers={"Cache-Control": SOME_MINUTES}
    )


@lru_cache(maxsize=64)
def _coverage_png(inside: bytes, size: int) -> bytes:
    picture = Image.frombytes("P", (size, size), np.frombuffer(inside, np.uint8).tobytes())
    picture.putpalette(bytes(6))
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=bytes((128, 0)), compress_level=1)
    return file.getvalue()


def _frame(text: str) -> tuple[datetime, int]:
    time, _, lead = text.partition("-")
    if not (time.isdecimal() and len(time) <= 11 and (not lead or (lead.isdecimal() and len(lead) <= 4))):
        raise NotKept(f"no frame {text!r}; /public/weather-maps.json lists the frames")
    if int(lead or 0) % 5:
        raise NotKept(f"no frame {text!r}: a lead is 0, 5, 10 … minutes; /public/weather-maps.json lists the frames")
    return datetime.fromtimestamp(int(time), UTC), int(lead or 0)


def _box(path: dict[str, str]) -> Box:
    size, z = _whole(path["size"], "size", SIZES[-1]), _whole(path["z"], "z", DEEPEST)
    if size not in SIZES:
        raise BadRequest(f"size must be 256 or 512, got {size}")
    if "." in path["x"] or "." in path["y"]:
        return _centred(_degrees(path["x"], 85.05), _degrees(path["y"], 180.0), z, size)
    x, y = (_whole(path[name], name, 2**z - 1) for name in ("x", "y"))
    return tile_box(z, x, y, size)


def _centred(lat: float, lon: float, z: int, size: int) -> Box:
    x, y = from_lonlat(lon, lat)
    half = HALF / 2**z
    return Box(x - half, y - half, x + half, y + half, size, size)


def _whole(text: str, name: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) <= most):
        raise BadRequest(f"{name} must be a whole number from 0 to {most}, got {text!r}")
    return int(text)


def _degrees(text: str, most: float) -> float:
    digits = text.removeprefix("-").replace(".", "", 1)
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 20 and abs(float(text)) <= most):
        raise BadRequest(f"latitude and longitude must be decimal degrees up to {most:g}, got {text!r}")
    return float(text)
