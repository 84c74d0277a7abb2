"""The ladder: the best engine that works serves, in the same cycle; the answer says which, and why no better one did.

tensorrt → previous plan → inductor → openvino → extrapolation → refuse with all reasons. Each rung is a plan on a
runtime, has passed the parity gate before its first forecast, and is looked at again after each. In the worker every
rung has a process of its own: what hangs or crashes there is killed, latched and later replaced.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING

import structlog

from engines.golden import HEIGHT, WIDTH
from engines.home import Here, Home
from engines.latch import Latch
from engines.order import Order
from engines.parity import check_opened, require_parity, require_sane
from engines.plan import Plan
from engines.process import EngineProcess, Limits
from engines.protocol import Engine
from nowcast.errors import DoesNotFit, EngineError, NotReady, ParityFailed, PlanRefused
from nowcast.models.spec import Inputs, ModelSpec, Outputs
from nowcast.run import CheckRecord, PlanRecord

if TYPE_CHECKING:
    from nowcast.store.store import Store

log = structlog.get_logger()

FORGOTTEN_SECONDS = 6 * 3600.0
"""After which a model that nobody asked for is retired or superseded, not only without frames."""


@dataclass(frozen=True)
class Rung:
    """A plan on a runtime.

    Attributes
    ----------
    name
        What the answer calls it: `tensorrt`, `previous`, `inductor`, `openvino`, `extrapolation`.
    factory
        See `engines.order.Order`.
    isolated
        Whether it gets a process of its own when the ladder gives any; plain numpy needs none.
    refused
        Why it may not be loaded, where it may not.
    by_lead
        Whether it makes an ensemble one lead after another, not all at once.
    """

    name: str
    factory: str
    plan: Plan
    limits: Limits = Limits()  # noqa: RUF009  frozen
    precision: str = "fp32"
    isolated: bool = True
    refused: str = ""
    by_lead: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What stays the same when a plan moves from one rung to another, as from current to previous."""
        return self.factory, self.plan.digest, self.refused


@dataclass(frozen=True)
class Served:
    """A forecast of one batch, and which rung made it.

    Attributes
    ----------
    passed_over
        Why each better rung did not serve, by its name.
    """

    outputs: Outputs
    spec: ModelSpec
    rung: str
    plan: str
    passed_over: dict[str, str]


@dataclass
class Step:
    """A rung in use: its home, its engines by shape, its latch."""

    rung: Rung
    make_home: Callable[[str], Home]
    threads: int
    record: Callable[[Rung, list[CheckRecord], Engine], None]
    latch: Latch = field(default_factory=Latch)
    proven: bool = False
    _home: Home | None = None
    _golden: Engine | None = None
    _engines: dict[tuple[int, int], Engine] = field(default_factory=dict)
    _newest: tuple[int, int] | None = None

    def run(
        self, height: int, width: int, make: Callable[[ModelSpec], Inputs], now: datetime
    ) -> tuple[Outputs, ModelSpec]:
        """Return the outputs and the spec that they follow; any error but `NotReady` latches the step."""
        if self.rung.refused:
            raise PlanRefused(self.rung.refused)
        if self.latch.open:
            raise EngineError(self.latch.reason)
        try:
            engine = self._engine(height, width, now)
            outputs = engine(make(engine.spec))
            require_sane(outputs)
        except NotReady:  # the rung's other engines are well
            raise
        except DoesNotFit:  # likewise
            self._drop_unbuilt()
            raise
        except EngineError as error:
            log.error("rung failed", rung=self.rung.name, plan=self.rung.plan.digest[:12], reason=str(error))
            self.close()
            shut = self.latch.refuse if isinstance(error, ParityFailed | PlanRefused) else self.latch.trip
            shut(str(error))
            raise
        if self._newest == (height, width):
            self._newest = None
        return outputs, engine.spec

    def _drop_unbuilt(self) -> None:
        """Forget what did not fit, so that its next use says so again: its process has no such engine.

        A process builds one engine at a time, and another's call may be what hears of it: it is the newest.
        """
        self._golden = None
        if self._newest:
            del self._engines[self._newest]
            self._newest = None

    def _engine(self, height: int, width: int, now: datetime) -> Engine:
        if not self.proven:
            self._prove(now)
        if (height, width) not in self._engines:
            self._engines[height, width] = self._open(height, width)  # one per shape: equal regions share it
            self._newest = height, width
        return self._engines[height, width]

    def _prove(self, now: datetime) -> None:
        if self._golden is None:
            self._golden = self._open(HEIGHT, WIDTH)
        records = check_opened(self.rung.plan, self._golden, now, self.rung.precision)
        self.record(self.rung, records, self._golden)
        require_parity(records)
        log.info("plan passed the parity gate", rung=self.rung.name, plan=self.rung.plan.digest[:12])
        self._golden.close()
        self._golden, self.proven = None, True

    def _open(self, height: int, width: int) -> Engine:
        order = Order(self.rung.factory, self.rung.plan, height, width, threads=self.threads)
        return self.stand_by().open(order, self.rung.limits)

    def stand_by(self) -> Home:
        """Return its home; a process that is started before its first order has the libraries loaded by then."""
        if self._home is None:
            self._home = self.make_home(self.rung.factory)
        return self._home

    def close(self) -> None:
        """End its engines and its process; the next use makes new ones, and proves them."""
        self._engines.clear()
        self._golden, self._newest, self.proven = None, None, False
        if self._home is not None:
            self._home.close()
            self._home = None


class Ladder:
    """The rungs of every model.

    Parameters
    ----------
    rungs
        The rungs of a model, best first; asked at every forecast, so that a promoted plan serves the next cycle.
    threads
        CPU threads of one engine.
    store
        Where plans and their checks are recorded.
    processes
        Give each rung a process of its own, with deadlines.

    Attributes
    ----------
    alone
        To be held from a call of `serve` until its outputs have been read, where several threads forecast: the next
        call overwrites them.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, rungs: Callable[[str], list[Rung]], threads: int, store: "Store | None" = None, *, processes: bool = False
    ) -> None:
        self._rungs, self._threads, self._store, self.alone = rungs, threads, store, Lock()
        self._home: Callable[[str], Home] = EngineProcess if processes else Here
        self._steps: dict[tuple[str, str, str], Step] = {}
        self._asked: dict[str, tuple[float, set[tuple[str, str, str]]]] = {}
        self.clock = time.monotonic

    def spec(self, model: str) -> ModelSpec:
        """Return what a model's best rung takes and gives."""
        return self._rungs(model)[0].plan.spec

    def stand_by(self, model: str) -> None:
        """Start the process of a model's best rung that may be loaded, before there is anything to forecast."""
        for step in self._steps_of(model):
            if not step.rung.refused:
                step.stand_by()
                return

    def crowd(self, model: str) -> int:
        """Return how many members a model's best rung holds of all leads at once."""
        best = self._rungs(model)[0]
        return 1 if best.by_lead else best.plan.spec.members

    def serve(self, model: str, height: int, width: int, make: Callable[[ModelSpec], Inputs], now: datetime) -> Served:
        """Forecast one region of a padded shape on the best rung that works.

        Parameters
        ----------
        make
            Gives the inputs for a rung's model: a lower rung may take other noise, or none.

        Raises
        ------
        EngineError
            When no rung works, with the reason of each.
        """
        passed_over: dict[str, str] = {}
        for step in self._steps_of(model):
            try:
                outputs, spec = step.run(height, width, make, now)
            except EngineError as error:
                name, before = step.rung.name, passed_over.get(step.rung.name)
                passed_over[name] = f"{before}; {error}" if before else str(error)
            else:
                return Served(outputs, spec, step.rung.name, step.rung.plan.digest, passed_over)
        told = "; ".join(f"{name}: {reason}" for name, reason in passed_over.items()) or "it has no rung"
        raise EngineError(f"model {model!r}: no engine serves ({told}); run `nowcast doctor`")

    def _steps_of(self, model: str) -> Iterator[Step]:
        rungs = self._rungs(model)
        self._keep(model, {rung.key for rung in rungs})
        for rung in rungs:
            if rung.key not in self._steps:
                home = self._home if rung.isolated else Here
                self._steps[rung.key] = Step(rung, home, self._threads, self._record)
            self._steps[rung.key].rung = rung
            yield self._steps[rung.key]

    def _keep(self, model: str, keys: set[tuple[str, str, str]]) -> None:
        """End the steps that no model has any more: what was superseded or rolled back would hold memory of the GPU."""
        now = self.clock()
        asked = {**self._asked, model: (now, keys)}
        self._asked = {name: (at, its) for name, (at, its) in asked.items() if now - at < FORGOTTEN_SECONDS}
        wanted = set[tuple[str, str, str]]().union(*(its for _, its in self._asked.values()))
        for key in self._steps.keys() - wanted:
            log.info("rung is no longer wanted", rung=key[0], plan=key[1][:12])
            self._steps.pop(key).close()

    def _record(self, rung: Rung, records: list[CheckRecord], engine: Engine) -> None:
        if self._store:
            plan, versions = rung.plan, rung.plan.versions | engine.versions
            self._store.add_plan(PlanRecord(plan.digest, plan.spec.name, engine.runtime, rung.precision, versions))
            self._store.add_checks(records)

    def close(self) -> None:
        """End every engine and process."""
        for step in self._steps.values():
            step.close()
        self._steps.clear()
