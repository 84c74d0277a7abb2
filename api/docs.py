"""`/docs`: Swagger UI over our OpenAPI document, with no other host: its files come from the package fastapi-offline.

Nothing of it is inline, so the page keeps to the same content security policy as every other.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, Response

from nowcast.errors import NotKept

router = APIRouter(include_in_schema=False)

FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>nowcast API</title>
<link rel="icon" href="docs/favicon.png"><link rel="stylesheet" href="docs/swagger-ui.css">
<div id="api"></div><noscript>This page needs JavaScript; <a href="openapi.json">openapi.json</a> does not.</noscript>
<script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></html>
"""
START = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#api", deepLinking: true, displayRequestDuration: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout",
});
"""
KEPT = {"Cache-Control": "public, max-age=86400"}


@cache
def _folder() -> Path:
    spec = find_spec("fastapi_offline")  # its files alone: the module itself is not needed
    if spec is None or spec.origin is None:
        raise NotKept("fastapi-offline is not installed, which has the files of this page; see /openapi.json")
    return Path(spec.origin).parent / "static"


@router.get("/docs")
async def read_docs() -> HTMLResponse:
    """The page."""
    return HTMLResponse(PAGE, headers={"Cache-Control": "no-cache"})


@router.get("/docs/start.js")
async def read_start() -> Response:
    """What starts it."""
    return Response(START, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@router.get("/docs/{name}")
async def read_file(name: str) -> FileResponse:
    """One of its files."""
    if name not in FILES:
        raise NotKept(f"no file {name[:80]!r} of the documentation; it has: {', '.join(FILES)}, start.js")
    return FileResponse(_folder() / name, media_type=FILES[name], headers=KEPT)
