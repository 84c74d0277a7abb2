"""`python -m tests.soak.month --days 30`: a simulated month; what came of it goes to `benchmarks/results/soak.json`."""

import argparse
import logging
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from benchmarks.report import save
from jobs.registry import register
from jobs.simulate import CONTEXT, Simulation, examine, integrity
from nowcast.config import Settings
from tests.jobs.models import spoiled_plan

MEMORY = Path("/dev/shm")
"""Where the month lives, if there is one: nothing here is about the disk, and each commit would wait for it."""
KEPT = {"keep_days": 4, "keep_scores_days": 4, "keep_feed_days": 0.5}
CONTEXT.set_forkserver_preload(["jobs.simulate"])


def live(folder, days, seed=1):
    """Live through days in a folder; return what there is to say of them."""
    plan, path, began = spoiled_plan(folder / "bad", rain=0.4), folder / "nowcast.db", time.monotonic()
    settings = Settings(data_dir=folder, database_url=f"sqlite:///{path}", engine_threads=1, **KEPT)
    simulation = Simulation(settings, days, seed)

    def bad(store, name, now):
        register(store, settings.models_dir, plan, name, "advection", "night", "bad", now)

    store = simulation.run(bad)
    broken, tally = list(examine(simulation, store)), simulation.tally
    rolled = [s for s in store.models.history() if s.state == "rolled-back"]
    by_bad = [run for run in store.runs("coast", limit=100_000) if run.model != "advection"]
    store.close()
    if (said := integrity(path)) != "ok":
        broken.append(f"the database's integrity: {said}")
    return {
        "days": days,
        "seconds": round(time.monotonic() - began),
        "what_happened": dict(tally.mishaps),
        "kills": {"all": tally.kills, "during_a_look": tally.kills_at_work},
        "slots": dict(tally.slots),
        "bad_canaries": {"rolled_back": len(rolled), "runs_served_in_the_last_days": len(by_bad)},
        "worker_memory_mib": [round(v) for v in tally.memory],
        "database_mib": [round(v, 1) for v in tally.size],
        "promises_broken": broken,
    }


@contextmanager
def somewhere():
    """A folder in memory."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with somewhere() as folder:
        result = live(folder, options.days, options.seed)
    save("soak", result, ("openvino", "sqlalchemy", "xarray"))
    print(result)
    sys.exit(1 if result["promises_broken"] else 0)


if __name__ == "__main__":
    main()
