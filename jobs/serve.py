"""The API as a process: `nowcast serve`, and `python -m jobs.serve` in its image, which has no more of this room."""

import logging
import sys

import structlog
import uvicorn

from jobs.logs import set_up_logging
from jobs.supervise import require_port
from nowcast.config import Settings, read_settings
from nowcast.errors import NowcastError

STOP_SECONDS = 2
"""Event streams never end by themselves, so the end does not wait for them for longer."""


def serve(settings: Settings) -> None:
    """Serve until a signal."""
    set_up_logging(settings, logging.INFO)
    require_port(settings.host, settings.port)
    structlog.get_logger().info("API starts", host=settings.host, port=settings.port)
    uvicorn.run(
        "api.main:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        log_config=None,  # as everything else logs
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def main() -> None:
    """Serve as the settings say; a `NowcastError` is one line on stderr and exit status 1."""
    try:
        serve(read_settings())
    except NowcastError as error:
        print(f"nowcast: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


if __name__ == "__main__":
    main()
