"""Metrics: requests by route template (never by coordinates), and the age and stages of each region's newest run."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nowcast.clock import Clock
from nowcast.errors import NowcastError
from nowcast.store.store import Store


class Metrics:
    """The process's registry and what it counts."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "nowcast_http_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "nowcast_http_seconds",
            "Time to answer, seconds.",
            ["route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
            registry=self.registry,
        )
        self.registry.register(RunCollector(store, clock))
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        child = self._children.get((route, status))
        if child is None:
            child = self.requests.labels(route, str(status)), self.seconds.labels(route)
            self._children[route, status] = child
        child[0].inc()
        child[1].observe(seconds)


class RunCollector(Collector):
    """Age and stages of the newest run of each region, read from the store at each scrape."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        up = GaugeMetricFamily("nowcast_store_up", "1 when the store answers.")
        age = GaugeMetricFamily("nowcast_run_age_seconds", "Time since the newest base time.", labels=["region"])
        stage = GaugeMetricFamily("nowcast_run_stage_seconds", "Seconds per stage.", labels=["region", "stage"])
        try:
            for region in self._store.newest_base_times():
                run = self._store.newest(region)
                if run:
                    age.add_metric([region], (self._clock.now() - run.base_time).total_seconds())
                    for name, seconds in run.stages.items():
                        stage.add_metric([region, name], seconds)
            up.add_metric([], 1)
        except NowcastError:
            up.add_metric([], 0)
        yield from (up, age, stage)

    def describe(self) -> Iterator[Metric]:
        """Say nothing before the first scrape: the store may be away at start."""
        yield from ()


class CountRequests:
    """ASGI middleware that counts and times each request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note how it went."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, note)
        finally:
            route = str(scope.get("route_path") or getattr(scope.get("route"), "path", "none"))
            self.metrics.count(route, status, time.perf_counter() - start)
