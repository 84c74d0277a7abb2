"""One benchmark's result: a JSON file with the versions that it depends on, and a table on the terminal."""

import importlib.metadata
import json
import logging
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def quiet() -> None:
    """Let only warnings through, so that the table is what one sees."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def save(name: str, result: Mapping[str, object], packages: Iterable[str]) -> None:
    """Write `results/NAME.json`."""
    about = {
        "measured_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({**about, **result}, indent=1) + "\n", "utf-8")


def show(title: str, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table."""
    table = Table(*header, title=title)
    for row in rows:
        table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console().print(table)
