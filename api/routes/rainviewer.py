"""RainViewer v2: the index and the paths that its clients already know."""

from typing import Any

from fastapi import APIRouter, Request, Response

from api.again import Again
from api.deps import ServicesDep
from api.rainviewer import answer_coverage, answer_frame, weather_maps
from api.responses import media
from api.schemas import WeatherMaps

router = APIRouter(tags=["rainviewer"], route_class=Again)

_TEXT = {"type": "string", "maxLength": 64}


def _path(**examples: object) -> dict[str, Any]:
    return {
        "parameters": [
            {"name": name, "in": "path", "required": True, "example": example, "schema": _TEXT}
            for name, example in examples.items()
        ]
    }


@router.get("/public/weather-maps.json")
async def read_weather_maps(request: Request, services: ServicesDep) -> WeatherMaps:
    """The index: two hours observed, two hours forecast, of all regions together."""
    host = str(request.base_url).rstrip("/")
    return await services.workshop.do(lambda: weather_maps(services, host))


@router.get(
    "/v2/radar/{frame}/{size}/{z}/{x}/{y}/{color}/{options}.png",
    response_class=Response,
    responses=media("image/png"),
    openapi_extra=_path(frame="0", size="256", z="6", x="33", y="21", color="2", options="1_1"),
)
async def read_frame(request: Request) -> Response:
    """One tile of a frame of the index; with decimal points, x and y are latitude and longitude of its middle."""
    return await answer_frame(request)


@router.get(
    "/v2/coverage/0/{size}/{z}/{x}/{y}/0/0_0.png",
    response_class=Response,
    responses=media("image/png"),
    openapi_extra=_path(size="256", z="6", x="33", y="21"),
)
async def read_coverage(request: Request) -> Response:
    """Where any region lies: transparent inside, dark outside."""
    return await answer_coverage(request)
