"""Server-sent events."""

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import StreamingResponse

from api.deps import ServicesDep
from api.live import until_stopped
from api.responses import media

router = APIRouter(prefix="/v1", tags=["live"])

STREAM = media("text/event-stream")


@router.get("/events", response_class=StreamingResponse, responses=STREAM)
async def read_events(
    services: ServicesDep,
    last_event_id: Annotated[
        int | None, Header(ge=0, lt=2**63, description="Send what was published after this id first.")
    ] = None,
) -> StreamingResponse:
    """`run`: a run was published. `state`: a region or the store is now ok, stale, expired or away."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        until_stopped(services.live.stream(last_event_id)), media_type="text/event-stream", headers=headers
    )
