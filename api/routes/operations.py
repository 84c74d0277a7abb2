"""Health, readiness and metrics."""

from datetime import datetime

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.deps import ServicesDep
from api.responses import media
from api.schemas import Health

router = APIRouter(tags=["operations"])

METRICS = media("text/plain")


@router.get("/healthz")
async def read_health() -> Health:
    """Whether the process lives (touches nothing else, waits for no thread)."""
    return Health()


@router.get("/readyz")
async def read_readiness(services: ServicesDep) -> Health:
    """Whether the store answers; 503 when not."""
    times: dict[str, datetime] = await services.workshop.do(services.store.newest_base_times)
    return Health(newest_base_times=times)


@router.get("/metrics", response_class=Response, responses=METRICS)
def read_metrics(request: Request) -> Response:
    """Metrics in Prometheus' text format."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
