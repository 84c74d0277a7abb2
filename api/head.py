"""HEAD is GET without its body (RFC 9110, 9.3.2): what GDAL asks first, and caches and monitors like to."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ENDLESS = ("/v1/events",)
"""Answers without an end, whose GET would go on unheard."""


class Head:
    """ASGI middleware that lets GET answer HEAD, but for endless answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, as GET if it is HEAD."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"] in ENDLESS:
            await self.app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self.app({**scope, "method": "GET"}, receive, bodiless)
