"""HEAD is GET without its body (RFC 9110, 9.3.2): what GDAL asks first, and caches and monitors like to."""

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.paths import path_of

ENDLESS = ("/v1/events",)
"""Answers without an end, whose GET would go on unheard."""

ASKED = "headers_alone"
_TOLD = ("route", "route_path")
"""What routing notes for the metrics."""


def headers_alone(request: Request) -> bool:
    """Return whether a GET stands for a HEAD, so that what only its body needs may be left undone."""
    return ASKED in request.scope


class Head:
    """ASGI middleware that lets GET answer HEAD, but for endless answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, as GET if it is HEAD."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or path_of(scope) in ENDLESS:
            await self.app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        passed = {**scope, "method": "GET", ASKED: True}
        try:
            await self.app(passed, receive, bodiless)
        finally:
            scope.update({name: passed[name] for name in _TOLD if name in passed})
