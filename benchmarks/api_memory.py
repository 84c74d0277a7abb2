"""`make check-memory`: resident memory of the API over 100,000 mixed requests in process, a new run every 2,000.

Points, tiles, pictures, GeoTIFFs, whole NetCDF files and EDR positions; another process publishes, as the worker does.
The caches are full after a fifth, so what grows then is a leak: the command fails when the last fifth holds 3 % more.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from api.main import create_app
from benchmarks.api import paths, places, publish, tile_paths
from benchmarks.report import quiet, save
from nowcast.config import Settings

PUBLISH = [sys.executable, "-c", "import sys; from benchmarks.api import publish_ensemble as p; p(sys.argv[1])"]
"""Takes the database's URL."""

GROWTH = 1.03


def resident() -> float:
    """Return MiB."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096 / 2**20


async def call(app, target: str) -> int:
    path, _, query = target.partition("?")
    status = 0

    sent = False

    async def receive():
        nonlocal sent
        if sent:
            await asyncio.Event().wait()  # the client stays
        sent = True
        return {"type": "http.request", "body": b""}

    async def send(message):
        nonlocal status
        status = message.get("status", status)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http"}
    scope |= {"path": path, "raw_path": path.encode(), "query_string": query.encode(), "headers": [(b"host", b"b")]}
    await app({**scope, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "root_path": ""}, receive, send)
    return status


async def run(count: int) -> list[float]:
    marks = []
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'nowcast.db'}"
        publish(url)
        app = create_app(Settings(database_url=url))
        points = paths()
        edr = [f"/edr/collections/bench_rain/position?coords=POINT({lon:.4f}%20{lat:.4f})" for lon, lat in places(100)]
        files = [f"/v1/files/bench/{{}}/rain_mean/{5 * k}.tif" for k in range(1, 25)] + ["/v1/files/bench/{}.nc"] * 2
        targets = points * 4 + tile_paths(7) + edr + ["/v1/regions/bench/timeline", "/v1/palettes", "/v1/regions"]
        targets += files
        await app.state.services.watch.look()
        rng = random.Random(3)
        for number in range(count):
            if number % 2000 == 1999:
                await asyncio.to_thread(subprocess.run, [*PUBLISH, url], check=True)
                await asyncio.sleep(1.1)  # the watch trusts its last look for a second
            newest = app.state.services.watch.newest_or_none("bench")
            status = await call(app, rng.choice(targets).format(f"{newest.base_time:%Y%m%dT%H%M%SZ}" if newest else ""))
            assert status == 200, status
            if number % (count // 10) == 0:
                marks.append(round(resident(), 1))
        marks.append(round(resident(), 1))
    return marks


def main() -> None:
    quiet()
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    count = parser.parse_args().count
    marks = asyncio.run(run(count))
    print(f"resident MiB at each tenth of {count} requests: {marks}")
    flat = max(marks[-3:]) <= GROWTH * marks[2]
    save("api_memory", {"requests": count, "resident_mib": marks, "flat": flat}, ("fastapi", "numpy", "netCDF4"))
    if not flat:
        raise SystemExit(f"memory grew from {marks[2]} to {max(marks[-3:])} MiB after the first fifth")


if __name__ == "__main__":
    main()
