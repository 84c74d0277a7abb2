"""One byte range of a body in memory, or of a file (RFC 9110, 14): what readers of cloud-optimised GeoTIFF ask for."""

import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from api.problems import problem

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


def ranged(request: Request, body: bytes, kind: str, headers: Mapping[str, str]) -> Response:
    """Return the whole body, the one range asked for (206), or 416. Several ranges get the whole, as they may."""
    told = {**headers, "Accept-Ranges": "bytes"}
    match = _RANGE.fullmatch(request.headers.get("range", "").strip())
    condition = request.headers.get("if-range")
    current = condition is None or condition in (headers["ETag"], headers["Last-Modified"])
    if match is None or match.groups() == ("", "") or not current:
        return Response(body, media_type=kind, headers=told)
    first, last = match.groups()
    start = int(first) if first else max(len(body) - int(last), 0)
    stop = min(int(last) + 1, len(body)) if first and last else len(body)
    if start >= stop:
        outside = {"Content-Range": f"bytes */{len(body)}"}
        return problem(416, "Range not satisfiable", f"the file has {len(body)} bytes; ask within them", outside)
    told["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
    return Response(body[start:stop], status_code=206, media_type=kind, headers=told)


class RangedFile(FileResponse):
    """A file, whole or the one range asked for, as `ranged` has it: Starlette answers other units with 400."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        known = [(n, v) for n, v in scope["headers"] if n != b"range" or _RANGE.fullmatch(v.decode("latin-1").strip())]
        await super().__call__({**scope, "headers": known}, receive, send)
