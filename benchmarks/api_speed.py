"""`make bench-api`: points and tiles of one API process on loopback, beside a bare FastAPI route of the same size.

The bare route returns as many bytes as the answer that it stands beside, constant. All servers are up at once, one
uvicorn process each, and are loaded in turn in short bursts, so that what else the machine does falls on all alike;
a ratio is the median over the rounds of (rate / rate of the bare route in the same round). `busy` near 1 says that the
server, not the clients, set the rate. Then points arrive at 80 % of the highest rate, open-loop: evenly spaced, which
is what the target is held to, and as a Poisson process beside it. The bare route and `waited` tell how much of these is
not ours: a request that comes alone costs the event loop more than one of a batch, so 80 % of the rate is 90 % busy.
"""

import argparse
import http.client
import multiprocessing
import statistics
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing.pool import Pool

from fastapi import FastAPI, Response

from benchmarks.api import APP, database, paths, publish, publish_ensemble, tile_paths
from benchmarks.report import quiet, save, show
from benchmarks.serving import CLIENTS, Burst, Server, Targets, highest, paced, plain, quantiles, served, uvicorn

ROUNDS, SECONDS, PACED_ROUNDS, PACED_SECONDS = 7, 2.0, 5, 5.0
KINDS = ("sqlite", "postgresql")
SIZES = {"point": 2200, "point of an ensemble": 3400, "tile": 8000}
UNSEEN = 600
PACES = {"at 80 %": True, "at 80 %, Poisson": False}
"""Whether arrivals are evenly spaced."""


def bare() -> FastAPI:
    """The floor: constants of the size of a point of one member, of an ensemble, and of a tile."""
    app = FastAPI()
    constants = {size: b"x" * size for size in SIZES.values()}

    @app.get("/constant/{size}")
    async def constant(size: int) -> Response:
        return Response(constants[size], media_type="application/json")

    return app


@dataclass(frozen=True)
class Case:
    """What is asked of a server, beside which constant."""

    name: str
    server: Server
    targets: Targets
    size: int = 0
    status: str = "200"


@dataclass(frozen=True)
class Target:
    """What is wanted of a figure: at least or at most a value."""

    what: str
    wanted: str
    found: float

    @property
    def met(self) -> bool:
        """Whether it is so."""
        sign, value = self.wanted.split()
        return self.found >= float(value) if sign == "≥" else self.found <= float(value)


Figures = dict[str, dict[str, float]]


def loaded(pool: Pool, cases: Iterable[Case], rounds: int) -> dict[str, list[Burst]]:
    """Return the bursts of each case, in alternation."""
    found: dict[str, list[Burst]] = {case.name: [] for case in cases}
    for case in cases:  # warm: every chunk decoded, every tile drawn
        for _ in range(3):
            highest(pool, case.server, case.targets, 0.7, case.status)
    for _ in range(rounds):
        for case in cases:
            found[case.name].append(highest(pool, case.server, case.targets, SECONDS, case.status))
    return found


def kept_waiting(pool: Pool, cases: Iterable[Case]) -> dict[str, list[Burst]]:
    """Return bursts at 80 % of the highest rate, as it was just before, of points and of one bare route."""
    asked = [case for case in cases if case.name.startswith("point") or case.size == SIZES["point"]]
    found: dict[str, list[Burst]] = {f"{case.name}, {pace}": [] for case in asked for pace in PACES}
    for _ in range(PACED_ROUNDS):
        for case in asked:
            rate = 0.8 * highest(pool, case.server, case.targets, 1.0).per_second
            for pace, even in PACES.items():
                burst = paced(pool, case.server, case.targets, rate, PACED_SECONDS, even=even)
                found[f"{case.name}, {pace}"].append(burst)
    return found


def medians(bursts: Iterable[Burst]) -> dict[str, float]:
    """Return the median of each figure."""
    rows = [asdict(burst) for burst in bursts]
    return {name: round(statistics.median(row[name] for row in rows), 2) for name in rows[0]}


def conditional(server: Server, targets: Iterable[str]) -> Targets:
    """Return targets that send the validators of what the server has."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    found: list[tuple[str, Mapping[str, str]]] = []
    for target in targets:
        connection.request("GET", target)
        answer = connection.getresponse()
        answer.read()
        found.append((target, {"If-None-Match": answer.headers["ETag"]}))
    return found


def unseen_tiles(server: Server) -> dict[str, float]:
    """Return P50 and P99 in ms of tiles that were never drawn, one after another, as one client sees them."""
    connection, times = http.client.HTTPConnection("127.0.0.1", server.port), []
    for path in [*tile_paths(7), *tile_paths(8)][:UNSEEN]:
        start = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        times.append(time.perf_counter() - start)
        assert answer.status == 200, path
    return dict(zip(("p50_ms", "p99_ms"), (round(v, 2) for v in quantiles(sorted(times))), strict=True))


def cases_of(stack: ExitStack) -> tuple[list[Case], Figures]:
    """Start the servers; return what to ask them, and what tiles took that they had never drawn."""
    floor = stack.enter_context(served(*uvicorn("benchmarks.api_speed:bare")))
    points, seen, unseen = plain(paths()), tile_paths(7)[:200], {}
    cases = [
        Case(f"bare, {size} B", floor, plain([f"/constant/{size}"]), size, "200") for size in sorted(SIZES.values())
    ]
    for kind in KINDS:
        for name in ("point", "point of an ensemble"):
            url = stack.enter_context(database(kind))
            publish(url)
            if name != "point":
                publish_ensemble(url)
            server = stack.enter_context(served(*uvicorn(APP), NOWCAST_DATABASE_URL=url))
            cases.append(Case(f"{name}, {kind}", server, points, SIZES[name]))
            if name == "point":
                unseen[f"tile never seen, {kind}"] = unseen_tiles(server)
            if (kind, name) == ("sqlite", "point"):
                cases.append(Case("tile seen before", server, plain(seen), SIZES["tile"]))
                cases.append(Case("tile, conditional", server, conditional(server, seen), SIZES["tile"], "304"))
    return cases, unseen


def measure(rounds: int) -> Figures:
    """Return all figures."""
    with ExitStack() as stack:
        pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(CLIENTS))
        cases, result = cases_of(stack)
        found = loaded(pool, cases, rounds)
        for case in cases:
            result[case.name] = medians(found[case.name])
            if not case.name.startswith("bare"):
                pairs = zip(found[case.name], found[f"bare, {case.size} B"], strict=True)
                ratios = [mine.per_second / floor.per_second for mine, floor in pairs]
                result[case.name]["ratio_to_bare"] = round(statistics.median(ratios), 3)
        result |= {name: medians(bursts) for name, bursts in kept_waiting(pool, cases).items()}
    return result


def targets_of(figures: Figures) -> list[Target]:
    """Return what issue 7 wants, beside what was found."""
    points = [name for name in figures if name.startswith("point")]
    rates = [name for name in points if "80 %" not in name]
    paced_evenly = [name for name in points if name.endswith("80 %")]
    found = [Target(f"{name}: × bare", "≥ 0.5", figures[name]["ratio_to_bare"]) for name in rates]
    found += [Target(f"{name}: P99 ms", "≤ 20", figures[name]["p99_ms"]) for name in paced_evenly]
    for name in (name for name in figures if name.startswith("tile never seen")):
        found.append(Target(f"{name}: P50 ms", "≤ 8", figures[name]["p50_ms"]))
        found.append(Target(f"{name}: P99 ms", "≤ 25", figures[name]["p99_ms"]))
    for name in ("tile seen before", "tile, conditional"):
        found.append(Target(f"{name}: × bare", "≥ 0.6", figures[name]["ratio_to_bare"]))
    return found


def main() -> None:
    quiet()
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    figures = measure(parser.parse_args().rounds)
    columns = ("per_second", "cpu_us", "busy", "waited", "p50_ms", "p99_ms", "ratio_to_bare")
    table = [(name, *(values.get(column, "") for column in columns)) for name, values in figures.items()]
    header = ("what", "requests/s", "CPU µs each", "busy", "waited", "P50 ms", "P99 ms", "× bare")
    show("one API process, loopback", header, table)
    targets = targets_of(figures)
    show("targets", ("what", "wanted", "found", ""), [(t.what, t.wanted, t.found, _said(t.met)) for t in targets])
    told = [{**asdict(target), "met": target.met} for target in targets]
    packages = ("fastapi", "starlette", "uvicorn", "h11", "sqlalchemy", "psycopg", "pillow", "numpy")
    save("api_speed", {"targets": told, **figures}, packages)


def _said(met: bool) -> str:
    return "met" if met else "MISSED"


if __name__ == "__main__":
    main()
