"""The log of every process: what we say and what libraries say, on standard error, in one form."""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog
from structlog.typing import Processor

from nowcast.config import Settings


class Patient:
    """Standard error, for logs: what its disk has no room for is lost, and is no reason to stop."""

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError):
            return sys.stderr.write(text)
        return 0

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(OSError):
            sys.stderr.flush()


def set_up_logging(settings: Settings, level: int = logging.WARNING) -> None:
    """Log to stderr; commands that answer a person log warnings alone, services say what they do.

    Of libraries (uvicorn, sqlalchemy, …) warnings and worse are logged.
    """
    stderr = cast("TextIO", Patient())
    shared: list[Processor] = [structlog.processors.add_log_level, structlog.processors.TimeStamper("iso", utc=True)]
    form: list[Processor] = [structlog.dev.ConsoleRenderer()]
    if settings.log_json:
        form = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*shared, *form],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stderr),
    )
    handler = logging.StreamHandler(stderr)
    drop = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    named = [structlog.stdlib.add_logger_name, *shared]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[drop, *form], foreign_pre_chain=named))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a look that is still at work is no news
