"""The page: what `web/` builds into `api/static`; without a build, a short page that says how to make one."""

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"
FALLBACK = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>nowcast</title>
<body style="font: 16px/1.5 system-ui; max-width: 40em; margin: 3em auto; padding: 0 1em">
<h1>nowcast</h1>
<p>The API is up: <a href="/docs">its documentation</a>, <a href="/v1/regions">regions</a>,
<a href="/readyz">readiness</a>.</p>
<p>The page has not been built here. In <code>web/</code>:
<code>npm ci &amp;&amp; npm run build</code>; then start again.</p>
</body></html>
"""


class Page(StaticFiles):
    """Static files: those under `assets/` have their digest in their name and never change."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file with how long it may be kept."""
        response = await super().get_response(path, scope)
        kept = "public, max-age=31536000, immutable" if path.startswith("assets/") else "no-cache"
        response.headers["Cache-Control"] = kept
        return response


async def _fallback() -> Response:
    return HTMLResponse(FALLBACK, headers={"Cache-Control": "no-cache"})


def install(app: FastAPI, static: Path) -> None:
    """Serve the page at `/`, after all routes."""
    if (static / "index.html").is_file():
        app.mount("/", Page(directory=static, html=True), name="page")
    else:
        app.add_api_route("/", _fallback, include_in_schema=False)
