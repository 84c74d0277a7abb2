"""Point forecasts and their history."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.again import Again
from api.deps import FreshnessDep, Latitude, Longitude, ServicesDep, WatchDep
from api.history import history
from api.point_schemas import History, PointForecast, PointForecasts
from api.pointing import PointQuery, Points, answer_csv, answer_point, answer_points
from api.responses import NAME, Responses, media

router = APIRouter(prefix="/v1", tags=["forecast"], route_class=Again)

POINT: Responses = {200: {"model": PointForecast}}
QUERY = PointQuery.openapi()
IN_REGION = {"parameters": [NAME, *QUERY["parameters"]]}
Hours = Annotated[float, Query(gt=0, le=24, allow_inf_nan=False, description="How far back, hours.", examples=[2])]


@router.get("/forecast", responses=POINT, openapi_extra=QUERY)
async def read_forecast(request: Request) -> Response:
    """Rain per lead at a point, from the newest run of the first region that holds it, with a summary."""
    return await answer_point(request, None)


@router.get("/regions/{region}/forecast", responses=POINT, openapi_extra=IN_REGION)
async def read_region_forecast(request: Request) -> Response:
    """Rain per lead at a point of a region, from its newest run, with a summary."""
    return await answer_point(request, request.path_params["region"])


@router.post("/forecast", response_class=Response, responses={200: {"model": PointForecasts}})
async def read_forecasts(services: ServicesDep, points: Points) -> Response:
    """Rain at several points, at most 100, in their order: each as the single point is answered."""
    return await answer_points(services, points.points)


@router.get("/forecast.csv", response_class=Response, responses=media("text/csv"))
async def read_forecast_csv(lat: Latitude, lon: Longitude, services: ServicesDep, freshness: FreshnessDep) -> Response:
    """Rain per lead at a point as CSV: a line per lead, an empty field where it is not seen."""
    return await answer_csv(services, freshness, PointQuery(lat=lat, lon=lon))


@router.get("/history")
async def read_history(
    watch: WatchDep, lat: Latitude, lon: Longitude, services: ServicesDep, hours: Hours = 2
) -> History:
    """What was observed at a point, and what the run made half an hour before each time had said for it.

    At most 1,500 of each, the newest: every minute of a day. `cut` says that there was more, `since` where it starts.
    """
    region, row, column = watch.at(lat, lon)
    since = services.clock.now() - timedelta(hours=hours)
    return await services.workshop.do(lambda: history(services.store, region, (row, column), (lat, lon), since))
