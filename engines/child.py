"""The engine process: builds the engines it is asked for and calls them, on arrays in shared memory.

One request, one answer, each a line of JSON on the socket whose descriptor is the first argument; the second, where
there is one, is a module to import beforehand::

    {"open": 1, "order": {…}, "seconds": 60}  + descriptor  →  {"runtime": "…", "versions": {…}}
    {"call": 1, "seconds": 10}                              →  {"took": 0.021}
    {"close": 1}                                            →  {}

An `EngineError` is an answer (`{"error": …, "kind": …}`). After anything else nothing is known about this process or
its GPU: it says so (`{"fault": …}`) and ends. A call that outlives its time twice over is ended by faulthandler's own
thread, which needs no interpreter, so that nothing is left when the parent was killed while a call hung.
"""

import array
import faulthandler
import importlib
import json
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from engines.order import Order
from engines.protocol import Engine, Replays
from engines.shared import Shared
from nowcast.errors import EngineError
from nowcast.models.spec import Inputs

Message = dict[str, Any]


@dataclass
class Hosted:
    """An engine and its shared memory."""

    engine: Engine
    shared: Shared

    def __post_init__(self) -> None:
        if isinstance(self.engine, Replays):
            self.engine.bind(self.shared)

    def run(self) -> None:
        """Run on what the parent put into the inputs."""
        if isinstance(self.engine, Replays):
            self.engine.replay()
            return
        for name, values in self.engine(Inputs(**self.shared.inputs)).items():
            self.shared.outputs[name][...] = values

    def close(self) -> None:
        """Close both."""
        self.engine.close()
        self.shared.close()


@dataclass
class Child:
    """Engines by the number that the parent gave them."""

    engines: dict[int, Hosted] = field(default_factory=dict)

    def answer(self, message: Message, descriptors: list[int]) -> Message:
        """Do what is asked."""
        if "open" in message:
            order = Order.from_json(message["order"])
            shared = order.shared(descriptors[0])
            hosted = self.engines[message["open"]] = Hosted(order.build(), shared)
            return {"runtime": hosted.engine.runtime, "versions": hosted.engine.versions}
        if "close" in message:
            self.engines.pop(message["close"]).close()
            return {}
        self.engines[message["call"]].run()
        return {}

    def close(self) -> None:
        """Close every engine."""
        for hosted in self.engines.values():
            hosted.close()


def serve(channel: socket.socket) -> int:
    """Answer requests until the parent closes the channel; return the exit status."""
    child = Child()
    while True:
        message, descriptors = receive(channel)
        if message is None:
            child.close()
            return 0
        faulthandler.dump_traceback_later(2 * message.get("seconds", 30) + 1, exit=True)
        try:
            answer = child.answer(message, descriptors)
        except EngineError as error:
            answer = {"error": str(error), "kind": type(error).__name__}
        except Exception as error:  # nothing is known any more: tell, and end
            send(channel, {"fault": f"{type(error).__name__}: {error}"})
            return 1
        faulthandler.cancel_dump_traceback_later()
        send(channel, answer)


def send(channel: socket.socket, message: Message) -> None:
    """Send one line."""
    channel.sendall(json.dumps(message).encode() + b"\n")


def receive(channel: socket.socket) -> tuple[Message | None, list[int]]:
    """Return the next line and the descriptors that came with it; None at the end."""
    line, descriptors = b"", array.array("i")
    while not line.endswith(b"\n"):
        data, ancillary, _, _ = channel.recvmsg(65536, socket.CMSG_SPACE(4))
        if not data:
            return None, []
        line += data
        for _, _, passed in ancillary:
            descriptors.frombytes(passed[: len(passed) - len(passed) % 4])
    return json.loads(line), list(descriptors)


def main() -> None:
    """Serve the socket whose descriptor is the first argument."""
    faulthandler.enable()
    with suppress(Exception):  # an order says what is wrong
        for module in filter(None, sys.argv[2:]):
            importlib.import_module(module)
    with socket.socket(fileno=int(sys.argv[1])) as channel, suppress(ConnectionError):  # the parent is gone
        sys.exit(serve(channel))


if __name__ == "__main__":
    main()
