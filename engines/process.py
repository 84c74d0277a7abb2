"""Engines in a process of their own, so that a crash or a hang costs one rung of the ladder and not the service.

`EngineProcess.open` gives engines like any other; their calls have deadlines. A process that dies, does not answer in
time or says that it no longer knows its state is killed and raises `EngineFault`, and so does every engine it had.
"""

import signal
import socket
import subprocess
import sys
import time
import weakref
from dataclasses import dataclass
from typing import Any

from engines.child import Message, receive, send
from engines.order import Order
from nowcast.errors import DoesNotFit, EngineError, EngineFault, NotReady, PlanRefused, RuntimeMissing
from nowcast.models.spec import Inputs, Outputs

_KINDS = {kind.__name__: kind for kind in (DoesNotFit, PlanRefused, RuntimeMissing)}


@dataclass(frozen=True)
class Limits:
    """How long an engine may take, in seconds.

    Attributes
    ----------
    load
        To be built; after that its process is killed.
    wait
        To be built while cycles wait, all together; after that the next rung serves, and the building goes on.
    call
        To answer one call.
    """

    load: float = 60.0
    wait: float = 60.0
    call: float = 10.0


class EngineProcess:
    """One child process and the engines in it. Not for use by several threads.

    Parameters
    ----------
    factory
        Of the engines to come, see `engines.order.Order`: what it needs is imported before there is an order.
    """

    def __init__(self, factory: str = "") -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._child = subprocess.Popen(  # noqa: S603  our own interpreter and module
                [sys.executable, "-m", "engines.child", str(theirs.fileno()), factory.partition(":")[0]],
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C ends the worker, which ends this
            )
        self._finalizer = weakref.finalize(self, _end, self._channel, self._child, 0.5)
        self._opened = 0
        self._building: RemoteEngine | None = None

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self._child.poll() is None

    def open(self, order: Order, limits: Limits) -> "RemoteEngine":
        """Begin to build an engine; its first call waits for it.

        Raises
        ------
        NotReady
            When another is still being built.
        EngineFault
            When the process is dead.
        """
        if self._building:
            self._building.ready()
        self._opened += 1
        engine = RemoteEngine(self, self._opened, order, limits)
        self._building = engine
        return engine

    def begin(self, message: Message, descriptor: int | None = None) -> None:
        """Send a request, with a descriptor."""
        try:
            if descriptor is not None:
                socket.send_fds(self._channel, [b" "], [descriptor])
            send(self._channel, message)
        except OSError:
            raise self.fault("it is gone") from None

    def finish(self, seconds: float) -> Message | None:
        """Return the answer to the last request; None when there is none within `seconds`.

        Raises
        ------
        EngineError
            When that is the answer.
        EngineFault
            When the child is gone, or says that it is lost.
        """
        self._channel.settimeout(max(seconds, 0.001))
        try:
            answer, _ = receive(self._channel)
        except TimeoutError:
            return None
        except OSError:
            answer = None
        if answer is None:
            raise self.fault("it is gone")
        if "fault" in answer:
            raise self.fault(answer["fault"])
        if "error" in answer:
            raise _KINDS.get(answer["kind"], EngineError)(answer["error"])
        return answer

    def ask(self, message: Message, seconds: float) -> Message:
        """Send a request and return its answer; a child that does not answer in time is killed.

        Raises
        ------
        NotReady
            When an engine is being built in the process.
        EngineFault, EngineError
            As `finish`.
        """
        if self._building:
            self._building.ready()
        self.begin({**message, "seconds": seconds})
        answer = self.finish(seconds)
        if answer is None:
            raise self.fault(f"no answer within {seconds:g} s")
        return answer

    def built(self) -> None:
        """Note that what was being built is there, or never will be."""
        self._building = None

    def fault(self, reason: str) -> EngineFault:
        """Kill the child and return the error that says why."""
        self._finalizer.detach()
        status = _end(self._channel, self._child, 0.5 if reason == "it is gone" else 0)
        died = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        if reason == "it is gone":
            reason = f"it died: {died}"
        return EngineFault(f"engine process {self.pid}: {reason}; the next rung serves and the process is replaced")

    def close(self) -> None:
        """End the child; kill it when it does not end by itself."""
        self._finalizer.detach()
        _end(self._channel, self._child, 5)


def _end(channel: socket.socket, child: subprocess.Popen[bytes], grace: float) -> int:
    channel.close()
    try:
        return child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


class RemoteEngine:
    """An engine in another process; see `engines.protocol.Engine`. Outputs are views that its next call overwrites."""

    def __init__(self, process: EngineProcess, number: int, order: Order, limits: Limits) -> None:
        self.spec = order.plan.spec
        self.runtime = order.factory
        self.versions: dict[str, str] = {}
        self._process, self._number, self._limits = process, number, limits
        self._shared = order.shared()
        self._begun: float | None = time.monotonic()
        request: dict[str, Any] = {"open": number, "order": order.to_json(), "seconds": limits.load}
        process.begin(request, self._shared.descriptor)

    def ready(self) -> None:
        """Return once the engine is built.

        Raises
        ------
        NotReady
            When it is not within the time that a cycle waits.
        EngineError
            When it cannot be built; `EngineFault` when that took its process with it.
        """
        if self._begun is None:
            return
        until = self._begun + min(self._limits.load, self._limits.wait)
        try:
            answer = self._process.finish(until - time.monotonic())
        except EngineError:
            self._begun = None
            self._process.built()
            raise
        took = time.monotonic() - self._begun
        if answer is not None:
            self._begun, self.runtime, self.versions = None, answer["runtime"], answer["versions"]
            self._process.built()
        elif took >= self._limits.load:
            raise self._process.fault(f"not built within {self._limits.load:g} s")
        else:
            raise NotReady(f"{self.runtime} is being built for {took:.0f} s of at most {self._limits.load:g}; wait")

    def __call__(self, inputs: Inputs) -> Outputs:
        """Run one batch; see `engines.protocol.Engine`."""
        self.ready()
        self._shared.fill(inputs)
        self._process.ask({"call": self._number}, self._limits.call)
        return dict(self._shared.outputs)

    def close(self) -> None:
        """Close it over there."""
        if self._process.alive:
            self._process.ask({"close": self._number}, self._limits.call)
        self._shared.close()
