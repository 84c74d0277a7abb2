"""From a request to the answer for a point: the hottest route, so it asks for nothing but the request.

FastAPI's solving of the dependencies and parameters of such a route took 160 of its 290 µs; reading them here takes 10.
Decoded chunks that are kept answer at once, others in a thread.
"""

import re
from typing import Annotated, Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.deps import Services
from api.freshness import Freshness, etag_of, has_already, phase_of
from api.points import RunText, point_json, texts
from api.summary import Times
from nowcast.chunks import Codes
from nowcast.errors import NoRun
from nowcast.run import RAIN_SOURCE, Run

Cell = tuple[int, int]
ATTEMPTS = 5


class PointQuery(BaseModel):
    """A point, WGS 84."""

    lat: Annotated[
        float, Field(ge=-90, le=90, allow_inf_nan=False, description="Degrees north (WGS 84).", examples=[52.1])
    ]
    lon: Annotated[
        float, Field(ge=-180, le=180, allow_inf_nan=False, description="Degrees east (WGS 84).", examples=[5.2])
    ]

    @classmethod
    def of(cls, request: Request) -> "PointQuery":
        """Return the point that the query names, or raise what FastAPI raises for an invalid one."""
        try:
            return cls.model_validate(request.query_params)
        except ValidationError as error:
            raise RequestValidationError([{**e, "loc": ("query", *e["loc"])} for e in error.errors()]) from None

    @classmethod
    def openapi(cls) -> dict[str, Any]:
        """Return what `openapi_extra` says of the query."""
        properties = cls.model_json_schema()["properties"]
        described = [
            {
                "name": name,
                "in": "query",
                "required": True,
                "description": schema.pop("description"),
                "example": schema.pop("examples")[0],
                "schema": schema,
            }
            for name, schema in properties.items()
        ]
        return {"parameters": described}


_PLAIN = re.compile(rb"lat=(-?\d{1,3}(?:\.\d{1,15})?)&lon=(-?\d{1,3}(?:\.\d{1,15})?)")


def point_of(request: Request) -> tuple[float, float]:
    """Return (lat, lon) of the query as `PointQuery.of` reads it; as most clients write it in a fifth of the time."""
    plain = _PLAIN.fullmatch(request.scope["query_string"])
    if plain is not None:
        lat, lon = float(plain[1]), float(plain[2])
        if -90 <= lat <= 90 and -180 <= lon <= 180:
            return lat, lon
    point = PointQuery.of(request)
    return point.lat, point.lon


class Points(BaseModel):
    """Points to ask for at once."""

    points: Annotated[list[PointQuery], Field(min_length=1, max_length=100)]


async def services_of(request: Request) -> Services:
    """Return the application's services, with a watch that can be trusted."""
    services: Services = request.app.state.services
    await services.watch.ensure()
    return services


async def answer_point(request: Request, region: str | None) -> Response:
    """Return the newest forecast at the point in the query; of the first region that holds it without a `region`."""
    services: Services = await services_of(request)
    lat, lon = point_of(request)
    if region is None:
        found, *place = services.watch.at(lat, lon)
        cell = place[0], place[1]
    else:
        found = services.watch.region(region)
        cell = found.grid.cell(lat, lon)
    run, columns = await columns_of(services, services.watch.newest(found.name), cell)
    text = await _text_of(services, run)
    phase, since = phase_of(run, services.clock)
    headers = {"ETag": etag_of(request, f"{text.identity} {phase}"), **text.dates}
    if has_already(request, headers["ETag"], since):
        return Response(status_code=304, headers=headers)
    body = point_json(text, lat, lon, columns, services.clock.now())
    return Response(body, media_type="application/json", headers=headers)


async def answer_points(services: Services, points: list[PointQuery]) -> Response:
    """Return the newest forecasts at several points, in their order; one outside every region is a problem of all."""
    parts = [await _one_of_many(services, point) for point in points]
    return Response(b'{"forecasts":[' + b",".join(parts) + b"]}", media_type="application/json")


async def _one_of_many(services: Services, point: PointQuery) -> bytes:
    region, row, column = services.watch.at(point.lat, point.lon)
    run, columns = await columns_of(services, services.watch.newest(region.name), (row, column))
    text = await _text_of(services, run)
    return point_json(text, point.lat, point.lon, columns, services.clock.now())


async def answer_csv(services: Services, freshness: Freshness, point: PointQuery) -> Response:
    """Return the newest forecast at a point as CSV: a line per lead, an empty field where not seen."""
    region, row, column = services.watch.at(point.lat, point.lon)
    run, columns = await columns_of(services, services.watch.newest(region.name), (row, column))
    headers = freshness.of(run) | {"Content-Disposition": f'attachment; filename="{run.region}.csv"'}
    told = {p: texts(p, codes.tolist()).replace("null", "").split(",") for p, codes in columns.items()}
    if RAIN_SOURCE in told:
        names = (await _text_of(services, run)).source_names(columns[RAIN_SOURCE].tolist())
        told[RAIN_SOURCE] = [name or "" for name in names]
    stamps = Times(run.base_time, run.leads).stamps
    rows = zip(stamps[:-1], stamps[1:], *told.values(), strict=True)
    lines = [",".join(row) for row in [("start", "end", *told), *rows]]
    return Response("\n".join(lines) + "\n", media_type="text/csv", headers=headers)


async def columns_of(services: Services, run: Run, cell: Cell) -> tuple[Run, dict[str, Codes]]:
    """Return the codes at a cell by product, and the run they are of: a newer one if `run` has been replaced."""
    columns = services.store.pixels.kept(run, *cell)
    if columns is not None:
        return run, columns
    served, loaded = await services.workshop.do(lambda: _load(services, run, cell))
    if served is not run:
        services.watch.learn(served)
    return served, loaded


def _load(services: Services, run: Run, cell: Cell) -> tuple[Run, dict[str, Codes]]:
    for _ in range(ATTEMPTS):
        try:
            return run, services.store.pixels.codes(run, *cell)
        except NoRun:  # replaced in between: there is a newer one now
            run = services.store.newest(run.region) or run
    return run, services.store.pixels.codes(run, *cell)


async def _text_of(services: Services, run: Run) -> RunText:
    text = services.texts.get(run.id)
    return await services.workshop.do(lambda: run_text(services, run)) if text is None else text


def run_text(services: Services, run: Run) -> RunText:
    """Return what every point of a run says alike; asks the store once per run."""
    kept = services.texts.get(run.id)
    if kept is None:
        names = services.watch.region(run.region).sources
        sources = services.store.sources(run) or names[:1]
        kept = RunText(run, "+".join(sources), services.clock, names)
        services.texts.put(run.id, kept, 1)
    return kept
