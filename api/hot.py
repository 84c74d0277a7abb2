"""The hottest paths, answered before FastAPI's router, which takes some 20 µs of a point's 100.

FastAPI's routes of the same paths (`api.routes`) describe them in the OpenAPI document and answer without this. Both
call the same functions and turn errors into problems by the same table; `tests/api/served/test_hot.py` compares them.
"""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.again import TRIES, tried
from api.paths import path_of
from api.pointing import answer_point
from api.tiling import answer_tile

Endpoint = Callable[[Request], Awaitable[Response]]

POINT = "/v1/forecast"
"""Found without a pattern, since it has no parameters."""

TILE_TRIES = 5
"""A map asks for many at once, also while runs come one after another; a try takes some 10 ms."""


async def _point(request: Request) -> Response:
    return await answer_point(request, None)


async def _point_in_region(request: Request) -> Response:
    return await answer_point(request, request.path_params["region"])


PATHS: Mapping[str, Endpoint] = {
    POINT: _point,
    "/v1/regions/{region}/forecast": _point_in_region,
    "/v1/tiles/{region}/{base_time}/{product}/{lead}/{z}/{x}/{y}.{form}": answer_tile,
}
_PATTERNS = tuple((path, compile_path(path)[0], endpoint) for path, endpoint in PATHS.items() if path != POINT)
_PREFIXES = ("/v1/regions/", "/v1/tiles/")


class Hot:
    """ASGI middleware that answers GET of the hot paths itself and passes everything else on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        endpoint = _endpoint(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if endpoint is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        try:
            response = await tried(request, endpoint, TILE_TRIES if endpoint is answer_tile else TRIES)
        except problems.EXPECTED as error:
            response = problems.answer(request, error)
        await response(scope, receive, send)


def _endpoint(scope: Scope) -> Endpoint | None:
    """Return what answers a path, and note in the scope its parameters and what the metrics count it under."""
    path = path_of(scope)
    if path == POINT:
        scope["route_path"] = POINT
        return _point
    if path.startswith(_PREFIXES):
        for template, pattern, endpoint in _PATTERNS:
            match = pattern.match(path)
            if match is not None:
                scope["route_path"], scope["path_params"] = template, match.groupdict()
                return endpoint
    return None
