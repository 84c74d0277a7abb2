"""The published scorecard: CRPS by lead beside pysteps' STEPS, as `python -m benchmarks.scorecard` took it over."""

import json
from functools import cache
from pathlib import Path

from api.schemas import ScorecardEvent

FILE = Path(__file__).with_name("scorecard.json")


@cache
def published() -> list[ScorecardEvent]:
    """Return the events of the scorecard that ships with this version."""
    return [ScorecardEvent(**event) for event in json.loads(FILE.read_text("utf-8"))]
