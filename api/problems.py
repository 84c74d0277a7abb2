"""Errors as RFC 9457 problems: one table from the error tree to HTTP, and nothing of a bug's insides ever leaves."""

from collections.abc import Mapping

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from nowcast.errors import (
    BadRequest,
    Busy,
    NoAccess,
    NoRoom,
    NoRun,
    NotFound,
    NowcastError,
    OutsideGrid,
    StoreError,
    TooMuch,
    TooOften,
    UnknownRegion,
)

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "30"
EDR = "/edr/"
MOST_TOLD = 200
"""Most characters of a value that a problem repeats."""

TABLE: tuple[tuple[type[NowcastError], int, str], ...] = (
    (UnknownRegion, 404, "Unknown region"),
    (OutsideGrid, 404, "Outside every region"),
    (NoRun, 503, "No forecast yet"),
    (NotFound, 404, "Not found"),
    (TooMuch, 413, "Request too large"),
    (NoAccess, 401, "No access"),
    (TooOften, 429, "Too many requests"),
    (BadRequest, 422, "Invalid request"),
    (Busy, 503, "Busy"),
    (NoRoom, 503, "No room"),
    (StoreError, 503, "Store unavailable"),
    (NowcastError, 500, "Forecast service failed"),
)
"""The first row whose class fits decides status and title; under `EDR` 400 stands for 422, as that standard has it."""


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(default="about:blank", description="What kind of problem it is.")
    title: str = Field(description="The kind in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="This occurrence: the value and the remedy.")


class NotModified(Exception):
    """The client's copy is current."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = dict(headers)


def problem(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a problem as a response; one that may pass by itself says when to try again."""
    sent = {"Cache-Control": "no-store", **(headers or {})}
    if status == 503:
        sent.setdefault("Retry-After", RETRY_SECONDS)
    body = Problem(title=title, status=status, detail=detail).model_dump()
    return JSONResponse(body, status, sent, MEDIA_TYPE)


EXPECTED = (NowcastError, RequestValidationError, HTTPException, NotModified)
"""What `answer` answers; anything else is a bug."""


def install(app: FastAPI) -> None:
    """Answer every failure of `app` as a problem."""
    for kind in EXPECTED:
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(Exception, _bug)


def answer(request: Request, error: Exception) -> Response:
    """Return the answer for one of the `EXPECTED` errors."""
    if isinstance(error, NotModified):
        return Response(status_code=304, headers=error.headers)
    if isinstance(error, RequestValidationError):
        error = BadRequest(_told(error))
    if isinstance(error, HTTPException):
        return problem(error.status_code, str(error.detail), str(error.detail), error.headers)
    assert isinstance(error, NowcastError)  # noqa: S101  the last of the expected
    return respond(error, edr=getattr(request.scope.get("route"), "path", "").startswith(EDR))


def respond(error: NowcastError, *, edr: bool = False) -> Response:
    """Return the problem of an error of the tree."""
    status, title = next((status, title) for kind, status, title in TABLE if isinstance(error, kind))
    if edr and status == 422:
        status = 400
    headers = {429: {"Retry-After": "10"}, 401: {"WWW-Authenticate": "Bearer"}}.get(status)
    told = str(error)
    if isinstance(error, StoreError):  # it names the server, its user and its database: that is for the log
        log.warning("store", error=told)
        told = "The store cannot be used at the moment; the service's log says why. Try again soon."
    return problem(status, title, told, headers)


def _told(error: RequestValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}, got {repr(e.get('input'))[:MOST_TOLD]}"
        for e in error.errors()
    )


def _bug(request: Request, error: Exception) -> Response:
    log.exception("bug in a route", path=request.url.path, error=repr(error))
    return problem(500, "Internal error", "The service failed; its log says why. Report it with the time of day.")
