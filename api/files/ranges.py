"""One byte range of a body in memory, or of a file (RFC 9110, 14): what readers of cloud-optimised GeoTIFF ask for."""

import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.files.shelf import Kept
from api.head import headers_alone
from api.problems import problem

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


def ranged(request: Request, body: bytes | Kept, kind: str, headers: Mapping[str, str]) -> Response:
    """Return the whole body, the one range asked for (206), or 416. Several ranges get the whole, as they may."""
    size = len(body) if isinstance(body, bytes) else body.size
    told = {**headers, "Accept-Ranges": "bytes"}
    match = _RANGE.fullmatch(request.headers.get("range", "").strip())
    condition = request.headers.get("if-range")
    current = condition is None or condition in (headers["ETag"], headers["Last-Modified"])
    if match is None or match.groups() == ("", "") or not current:
        return _part(request, body, (0, size), 200, kind, told)
    first, last = match.groups()
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        outside = {"Content-Range": f"bytes */{size}"}
        return problem(416, "Range not satisfiable", f"the file has {size} bytes; ask within them", outside)
    told["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return _part(request, body, (start, stop), 206, kind, told)


def _part(
    request: Request, body: bytes | Kept, part: tuple[int, int], status: int, kind: str, headers: Mapping[str, str]
) -> Response:
    start, stop = part
    if isinstance(body, bytes):
        return Response(body[start:stop], status, headers, kind)
    told = {**headers, "Content-Length": f"{stop - start}"}
    return StreamingResponse(() if headers_alone(request) else body.read(start, stop), status, told, kind)


def unmade(kind: str, headers: Mapping[str, str]) -> Response:
    """Return the headers of a file that is not there yet; HEAD may leave out its length (RFC 9110, 9.3.2)."""
    return StreamingResponse((), 200, {**headers, "Accept-Ranges": "bytes"}, kind)
