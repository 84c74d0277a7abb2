"""The worker's metrics, for Prometheus: how long from a frame's arrival to its published run, and what went wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from nowcast.run import Run

LATENCY = (0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 600)
STAGE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)


@dataclass
class Metrics:
    """Counters of one worker; each has a registry of its own, so that a process may have several (tests)."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        to = self.registry
        self._latency = Histogram(
            "nowcast_arrival_to_published_seconds",
            "From the arrival of a run's newest frame to its publication",
            ["region"],
            buckets=LATENCY,
            registry=to,
        )
        self._stage = Histogram(
            "nowcast_stage_seconds", "Of a published run, by stage", ["region", "stage"], buckets=STAGE, registry=to
        )
        self._runs = Counter("nowcast_runs_published_total", "Published runs", ["region", "rung", "state"], registry=to)
        self._failures = Counter(
            "nowcast_region_failures_total", "Passes in which a region got no run for an error", ["region"], registry=to
        )
        self._skipped = Counter(
            "nowcast_slots_skipped_total", "Base times passed over for a newer one", ["region"], registry=to
        )
        self._over = Counter("nowcast_stage_over_budget_total", "Stages beyond their budget", ["stage"], registry=to)
        self._gate = Gauge(
            "nowcast_gate_states", "How often the input gate has found a state", ["source", "state"], registry=to
        )
        self._refused = Gauge("nowcast_refused_files", "Files in the feed that were refused", registry=to)
        self._base = Gauge(
            "nowcast_newest_base_time_seconds", "Base time of the newest run (Unix)", ["region"], registry=to
        )
        self._good = Gauge("nowcast_last_good_cycle_seconds", "When a pass ended without a failure (Unix)", registry=to)
        self._leads = Gauge(
            "nowcast_holds_lease", "1 when this worker runs the cycle, 0 when it stands by", registry=to
        )
        self._failed = Gauge("nowcast_failed_regions", "Regions that failed in the last pass", registry=to)
        self._jumps = Counter(
            "nowcast_clock_jumps_total", "Jumps of the wall's clock that were not followed", registry=to
        )

    def published(self, run: Run, latency: timedelta, seconds: Mapping[str, float], skipped: int) -> None:
        """Count a published run: how long after its newest frame arrived, and the seconds of its stages."""
        self._latency.labels(run.region).observe(max(latency.total_seconds(), 0.0))
        for stage, took in seconds.items():
            self._stage.labels(run.region, stage).observe(took)
        self._runs.labels(run.region, run.rung, run.state).inc()
        self._base.labels(run.region).set(run.base_time.timestamp())
        if skipped > 0:
            self._skipped.labels(run.region).inc(skipped)

    def over_budget(self, stages: list[str]) -> None:
        """Count stages that took longer than they may."""
        for stage in stages:
            self._over.labels(stage).inc()

    def failed(self, region: str) -> None:
        """Count a region's failure."""
        self._failures.labels(region).inc()

    def gate(self, states: Mapping[tuple[str, str], int]) -> None:
        """Show how often the input gate has found each state of each source."""
        for (source, state), count in states.items():
            self._gate.labels(source, state).set(count)

    def passed(self, now: datetime, failed: int, refused: int) -> None:
        """Note the end of a pass."""
        self._failed.set(failed)
        self._refused.set(refused)
        if not failed:
            self._good.set(now.timestamp())

    def leads(self, *, holds: bool) -> None:
        """Note whether this worker runs the cycle."""
        self._leads.set(int(holds))

    def jumped(self) -> None:
        """Count a jump of the wall's clock."""
        self._jumps.inc()

    def serve(self, host: str, port: int) -> None:
        """Answer `GET /metrics` from a thread."""
        start_http_server(port, host, self.registry)
