"""An order for an engine: which runtime, which plan, which shape. It can be sent to another process as JSON."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.plan import Plan
from engines.protocol import Engine
from engines.shared import Shared
from nowcast.models.spec import ModelSpec


@dataclass(frozen=True)
class Order:
    """What to build.

    Attributes
    ----------
    factory
        `module:callable` that takes (plan, height, width, batch, threads) and returns an `Engine`.
    threads
        CPU threads that the engine may use.
    """

    factory: str
    plan: Plan
    height: int
    width: int
    batch: int = 1
    threads: int = 2

    def build(self) -> Engine:
        """Build the engine here; the plan's bytes are verified where they are loaded, so in this process."""
        module, _, name = self.factory.partition(":")
        engine: Engine = getattr(importlib.import_module(module), name)(
            self.plan, self.height, self.width, batch=self.batch, threads=self.threads
        )
        return engine

    def shared(self, descriptor: int | None = None) -> Shared:
        """Return memory for its inputs and outputs; see `Shared`."""
        return Shared(self.plan.spec, self.batch, self.height, self.width, descriptor)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        plan = {
            "folder": str(self.plan.folder),
            "spec": self.plan.spec.to_json(),
            "digest": self.plan.digest,
            "golden_digest": self.plan.golden_digest,
            "versions": self.plan.versions,
            "file": self.plan.file,
        }
        shape = {"height": self.height, "width": self.width, "batch": self.batch, "threads": self.threads}
        return {"factory": self.factory, "plan": plan, **shape}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Order":
        """Return the order that `to_json` gave."""
        plan = data["plan"]
        spec = ModelSpec.from_json(plan["spec"])
        return cls(**{**data, "plan": Plan(**{**plan, "folder": Path(plan["folder"]), "spec": spec})})
