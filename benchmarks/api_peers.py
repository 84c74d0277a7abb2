"""`make bench-api-peers`: the same points and tiles from nowcast, titiler and xpublish-edr, one process each.

titiler serves a cloud-optimised GeoTIFF per lead (written by our own `/v1/files`), xpublish-edr the run as NetCDF and
as Zarr (from the same route). Each is installed here in an environment of its own. All are up at once and loaded in
turn, as `benchmarks.api_speed` does it. One of our points has all 24 leads; one of titiler's has one, since it has a
file per lead, and counts as a whole one here all the same. Our tiles have been drawn before: that is kept in the
process, as GDAL keeps titiler's blocks; what one that was never drawn takes is in `api_speed.json`.
"""

import multiprocessing
import random
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

from benchmarks.api import APP, database, paths, places, publish, tiles
from benchmarks.api_speed import Case, Target, loaded, medians
from benchmarks.report import quiet, save, show
from benchmarks.serving import CLIENTS, Server, plain, served, uvicorn

HERE = Path(__file__).parent
ROUNDS, ZOOM, TIMES = 5, 7, "≥ 10"
PEERS = {
    "titiler": ["titiler.core==2.4.0", "uvicorn==0.54.0"],
    "xpublish": ["xpublish==0.5.2", "xpublish-edr==0.11.1", "netCDF4", "zarr", "uvicorn==0.54.0"],
}


def environment(name: str) -> str:
    """Return the Python of a peer's environment, which is made where there is none."""
    home = HERE.parent / f".venv-{name}"
    if not (home / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin" / "pip", "install", "--quiet", *PEERS[name]], check=True)
        (home / ".ready").touch()
    return str(home / "bin" / "python")


def versions(name: str) -> dict[str, str]:
    """Return what a peer's environment has of the packages that matter."""
    found = subprocess.run([environment(name), "-m", "pip", "freeze"], check=True, capture_output=True, text=True)
    listed = dict(line.split("==") for line in found.stdout.splitlines() if "==" in line)
    wanted = (
        "titiler-core",
        "rio-tiler",
        "rasterio",
        "xpublish",
        "xpublish-edr",
        "xarray",
        "zarr",
        "fastapi",
        "uvicorn",
    )
    return {package: listed[package] for package in wanted if package in listed}


def fetch(server: Server, path: str, file: Path) -> str:
    """Store what a server answers, and return the file's path."""
    with urlopen(f"http://127.0.0.1:{server.port}{path}") as answer:
        file.write_bytes(answer.read())
    return str(file)


def cases_of(stack: ExitStack, folder: Path) -> list[Case]:
    """Start all servers over the same run, and return what to ask them."""
    url = stack.enter_context(database("sqlite"))
    publish(url)
    own = stack.enter_context(served(*uvicorn(APP), NOWCAST_DATABASE_URL=url))
    with urlopen(f"http://127.0.0.1:{own.port}/v1/runs") as answer:
        stamp = answer.read().decode().split('"base_time":"')[1].split('"')[0]
    root = f"/v1/files/bench/{stamp}"
    leads = [fetch(own, f"{root}/rain_mean/{5 * k}.tif", folder / f"{k}.tif") for k in range(1, 25)]
    run = fetch(own, f"{root}.nc", folder / "run.nc")
    titiler = stack.enter_context(
        served(*uvicorn("benchmarks.peer_titiler:create", environment("titiler")), PYTHONWARNINGS="ignore")
    )
    rng, found = random.Random(4), places()
    points = [f"/point/{lon:.4f},{lat:.4f}?url={quote(rng.choice(leads))}" for lon, lat in found]
    asked = [(k, x, y) for k in range(24) for x, y in tiles(ZOOM)]
    theirs = [
        f"/tiles/WebMercatorQuad/{ZOOM}/{x}/{y}.png?url={quote(leads[k])}&rescale=0,50&colormap_name=viridis"
        for k, x, y in asked
    ]
    ours = [f"/v1/tiles/bench/{stamp}/rain_mean/{5 * k + 5}/{ZOOM}/{x}/{y}.png" for k, x, y in asked]
    cases = [
        Case("nowcast, point (24 leads)", own, plain(paths())),
        Case("titiler, point (1 lead)", titiler, plain(points)),
        Case("nowcast, tile", own, plain(ours)),
        Case("titiler, tile", titiler, plain(theirs)),
    ]
    for kind in ("netcdf", "zarr"):
        command = uvicorn("benchmarks.peer_xpublish:create", environment("xpublish"))
        server = stack.enter_context(served(*command, PEER_RUN=run, PEER_KIND=kind, PYTHONWARNINGS="ignore"))
        query = "parameter-name=rain_mean&f=cf_covjson"
        positions = [f"/datasets/run/edr/position?coords=POINT({lon:.4f}%20{lat:.4f})&{query}" for lon, lat in found]
        cases.append(Case(f"xpublish-edr, {kind}, point (24 leads)", server, plain(positions)))
    return cases


def main() -> None:
    quiet()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(CLIENTS))
        cases = cases_of(stack, Path(folder))
        bursts = loaded(pool, cases, ROUNDS)
    figures = {name: medians(found) for name, found in bursts.items()}
    targets = []
    for name in figures:
        if not name.startswith("nowcast"):
            mine = bursts["nowcast, tile" if "tile" in name.split(", ")[1] else "nowcast, point (24 leads)"]
            pairs = zip(mine, bursts[name], strict=True)
            times = statistics.median(own.per_second / other.per_second for own, other in pairs)
            targets.append(Target(f"nowcast: × {name}", TIMES, round(times, 1)))
    columns = ("per_second", "cpu_us", "busy", "waited", "p50_ms", "p99_ms")
    rows = [(name, *(values[column] for column in columns)) for name, values in figures.items()]
    show("one process each, loopback", ("what", *columns), rows)
    show("targets", ("what", "wanted", "found", "met"), [(t.what, t.wanted, t.found, t.met) for t in targets])
    told = [{"what": t.what, "wanted": t.wanted, "found": t.found, "met": t.met} for t in targets]
    peers = {name: versions(name) for name in PEERS}
    save("api_peers", {"targets": told, "peers": peers, **figures}, ("fastapi", "uvicorn", "pillow", "numpy"))


if __name__ == "__main__":
    main()
