"""`python -m tests.soak.kills`: two hundred workers killed at random moments, half on SQLite, half on PostgreSQL.

What came of it goes to `benchmarks/results/kills.json`; the exit status is 1 when a promise was broken.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.report import save
from tests.jobs.mortal import Installation, kill_many


@contextmanager
def postgres(server="postgresql://postgres@127.0.0.1:5432"):
    """A database of its own."""
    name = f"nowcast_kills_{os.getpid()}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{server}/{name}"
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    results, broken = {}, []
    with tempfile.TemporaryDirectory() as folder, postgres() as url:
        for kind, at in (("sqlite", f"sqlite:///{folder}/nowcast.db"), ("postgresql", url)):
            began, data = time.monotonic(), Path(folder) / kind
            data.mkdir()
            with Installation(data, at) as place:
                moments = kill_many(place, options.kills // 2, options.seed)
                place.start()
                place.wait_for_news()
                found = place.examine()
                slots, runs = place.slots(), len(place.store.runs(limit=100_000))
            broken += found
            results[kind] = {
                "kills": dict(moments),
                "slots": dict(slots),
                "runs": runs,
                "published_twice": runs - len({(p.region, p.base_time) for p in place.seen}),
                "promises_broken": found,
                "seconds": round(time.monotonic() - began),
            }
            print(kind, results[kind], flush=True)
    save("kills", results, ("sqlalchemy", "psycopg"))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
