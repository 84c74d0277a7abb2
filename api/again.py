"""A publication that is replaced while a request reads it: the request is tried again, from what there is now.

Ids of publications are never used twice, so the store tells (`NoRun`) instead of mixing two. A route resolves its run
anew on each try, which makes its headers those of what it then sends; nothing has been sent before.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from api.deps import Services
from nowcast.errors import NoRun

TRIES = 2


async def tried(request: Request, endpoint: Callable[[Request], Awaitable[Response]], tries: int = TRIES) -> Response:
    """Return what an endpoint answers; after `NoRun` look at the store and ask it again, `tries` times in all."""
    for _ in range(tries - 1):
        try:
            return await endpoint(request)
        except NoRun:
            services: Services = request.app.state.services
            await services.watch.renew()
            services.layers.clear()
    return await endpoint(request)


class Again(APIRoute):
    """A route whose requests are `tried`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, asked again where needed."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await tried(request, handler)

        return handle
