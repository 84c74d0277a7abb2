"""Where a rung's engines live: in a process of its own (`engines.process`), or here."""

from typing import Protocol

from engines.order import Order
from engines.process import Limits
from engines.protocol import Engine


class Home(Protocol):
    """Where a rung's engines live."""

    def open(self, order: Order, limits: Limits) -> Engine:
        """Return the engine of an order."""
        ...

    def close(self) -> None:
        """End all of them."""
        ...


class Here:
    """In this process, without deadlines: for one-shot forecasts."""

    def __init__(self, factory: str) -> None:
        pass

    def open(self, order: Order, limits: Limits) -> Engine:
        """Build the engine."""
        return order.build()

    def close(self) -> None:
        """Leave it to the end of this process."""
