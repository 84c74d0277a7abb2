"""Servers under load for benchmarks: one uvicorn process each on loopback, and clients in processes of their own.

Two ways to load: as fast as answers come (`highest`), over kept-alive connections; and open-loop (`paced`), at a rate
that does not wait for answers: each request has its own time to start and its latency counts from that time, so that a
halt of the server shows in every request that fell into it. The times are evenly spaced, as wrk2, vegeta and k6 have
them, or drawn as a Poisson process, as users come who know nothing of each other.
"""

import asyncio
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path

CLIENTS, CONNECTIONS = 2, 8
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A process that listens on a port of loopback."""

    port: int
    pid: int

    def cpu(self) -> float:
        """Return the seconds of CPU that the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def waited(self) -> float:
        """Return the seconds that the process could have run but the machine was busy with others (0 if not told)."""
        told = Path(f"/proc/{self.pid}/schedstat")
        return int(told.read_text("ascii").split()[1]) / 1e9 if told.exists() else 0.0


@dataclass(frozen=True)
class Burst:
    """What one burst of load showed.

    Attributes
    ----------
    busy
        Share of one core that the server used: near 1 when it, and not the clients, sets the rate.
    waited
        Share of the time for which the server could have run but other processes had the cores: near 0 on a quiet
        machine; where it is not, latencies are the machine's as much as the server's.
    """

    per_second: float
    cpu_us: float
    busy: float
    waited: float
    p50_ms: float
    p99_ms: float


@contextmanager
def served(*command: str, **environment: str) -> Iterator[Server]:
    """Start a server; `{port}` in its command is the port that it is to listen on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [word.replace("{port}", str(port)) for word in command]
    process = subprocess.Popen(words, env={**os.environ, **environment})
    try:
        for _ in range(600):  # a loaded machine takes its time
            if process.poll() is not None:
                raise RuntimeError(f"{words} ended with {process.returncode} before it listened")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield Server(port, process.pid)
    finally:
        process.terminate()
        process.wait(20)


def uvicorn(factory: str, python: str = sys.executable) -> list[str]:
    """Return the command that serves an application factory with one process."""
    quiet = ["--log-level", "warning", "--no-access-log"]
    return [python, "-m", "uvicorn", "--factory", factory, "--port", "{port}", *quiet]


def _request(target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "Host: bench", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, wanted: bytes) -> None:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if head[9:12] != wanted:
        raise RuntimeError(f"{request.decode()}{head.decode()}")
    lowered = head.lower()
    at = lowered.find(b"content-length: ")
    if at >= 0:
        await reader.readexactly(int(lowered[at + 16 : lowered.index(b"\r", at)]))
    elif b"chunked" in lowered:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()


Targets = Sequence[tuple[str, Mapping[str, str]]]


async def _highest(port: int, targets: Targets, seconds: float, status: str) -> list[float]:
    requests, times = [_request(*target) for target in targets], []
    end = time.perf_counter() + seconds

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            started = time.perf_counter()
            await _ask(reader, writer, random.choice(requests), status.encode())
            times.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return times


def _highest_client(port: int, targets: Targets, seconds: float, status: str) -> list[float]:
    return asyncio.run(_highest(port, targets, seconds, status))


def highest(pool: Pool, server: Server, targets: Targets, seconds: float, status: str = "200") -> Burst:
    """Load a server as fast as it answers `CLIENTS` × `CONNECTIONS` connections."""
    return _burst(
        server, seconds, lambda: pool.starmap(_highest_client, [(server.port, targets, seconds, status)] * CLIENTS)
    )


async def _paced(port: int, targets: Targets, rate: float, seconds: float, seed: int, even: bool) -> list[float]:
    rng = random.Random(seed)
    requests, times = [_request(*target) for target in targets], []
    due: asyncio.Queue[float] = asyncio.Queue()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (when := await due.get()) >= 0:
            await _ask(reader, writer, rng.choice(requests), b"200")
            times.append(time.perf_counter() - when)
        writer.close()

    async def schedule() -> None:
        when = time.perf_counter() + 0.05 + (seed / CLIENTS / rate if even else 0)
        end = when + seconds
        while when < end:
            if (wait := when - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            due.put_nowait(when)
            when += 1 / rate if even else rng.expovariate(rate)
        for _ in range(CONNECTIONS):
            due.put_nowait(-1)

    await asyncio.gather(schedule(), *(connection() for _ in range(CONNECTIONS)))
    return times


def _paced_client(port: int, targets: Targets, rate: float, seconds: float, seed: int, even: bool) -> list[float]:
    return asyncio.run(_paced(port, targets, rate, seconds, seed, even))


def paced(pool: Pool, server: Server, targets: Targets, rate: float, seconds: float, *, even: bool) -> Burst:
    """Load a server at a rate, whether it answers or not."""
    asked = [(server.port, targets, rate / CLIENTS, seconds, seed, even) for seed in range(CLIENTS)]
    return _burst(server, seconds, lambda: pool.starmap(_paced_client, asked))


def _burst(server: Server, seconds: float, load: Callable[[], list[list[float]]]) -> Burst:
    cpu, waited, start = server.cpu(), server.waited(), time.perf_counter()
    times = sorted(t for part in load() for t in part)
    cpu, waited, took = server.cpu() - cpu, server.waited() - waited, time.perf_counter() - start
    return Burst(len(times) / seconds, 1e6 * cpu / len(times), cpu / took, waited / took, *quantiles(times))


def quantiles(times: Sequence[float]) -> tuple[float, float]:
    """Return (P50, P99) in ms of sorted seconds."""
    return 1000 * times[len(times) // 2], 1000 * times[int(len(times) * 0.99)]


def plain(targets: Sequence[str]) -> Targets:
    """Return targets without headers of their own."""
    return [(target, {}) for target in targets]
