"""What the API publishes of the skill table: CRPS by lead of the validation events, to `api/scorecard.json`.

`python -m benchmarks.scorecard`, after each `make bench-skill`; a test compares the two.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from api.scorecard import FILE
from benchmarks.cases import VALIDATION

RESULTS = Path(__file__).parent / "results" / "skill.json"
MAKERS = ("standard", "edge", "steps", "advection", "lk_extrapolation", "persistence")


def events() -> Iterator[dict[str, object]]:
    """Yield the events as `api.schemas.ScorecardEvent` has them."""
    results = json.loads(RESULTS.read_text("utf-8"))
    for event in VALIDATION:
        makers = {maker: results[event][maker] for maker in MAKERS if maker in results[event]}
        leads = sorted({int(lead) for rows in makers.values() for lead in rows})
        values = {m: [rows.get(str(lead), {}).get("crps") for lead in leads] for m, rows in makers.items()}
        yield {"event": event, "lead_minutes": leads, "values": values}


def main() -> None:
    FILE.write_text(json.dumps(list(events())).replace('{"event"', '\n{"event"') + "\n", "utf-8")


if __name__ == "__main__":
    main()
