"""The manifest of a plan: what it is, what it was made of, where it may run, what it passed. Signed as bytes."""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from engines.gpu import Gpu
from nowcast.errors import PlanRefused
from nowcast.models.spec import ModelSpec

FORMAT = 1


@dataclass(frozen=True)
class Host:
    """What a compiled plan depends on besides itself.

    Attributes
    ----------
    gpu, sm, driver
        Name, architecture and driver; empty for a runtime on the CPU.
    runtime, version
        The runtime and its version.
    """

    runtime: str
    version: str
    gpu: str = ""
    sm: str = ""
    driver: str = ""

    @classmethod
    def of(cls, runtime: str, version: str, gpu: Gpu | None) -> "Host":
        """Return the host with this GPU, or without one."""
        return cls(runtime, version, gpu.name, gpu.sm, gpu.driver) if gpu else cls(runtime, version)

    def differences(self, other: "Host") -> dict[str, str]:
        """Return by name in what the other differs, told."""
        mine, theirs = asdict(self), asdict(other)
        return {k: f"{k} {mine[k] or 'none'} here {theirs[k] or 'none'}" for k in mine if mine[k] != theirs[k]}


@dataclass(frozen=True)
class Manifest:
    """The signed statement.

    Attributes
    ----------
    version
        Counts up per model and runtime; the store accepts none that is not above every one before.
    host
        What it was built and proven for.
    files
        SHA-256 by file name: the plan, its golden cases, its caches.
    made_of
        SHA-256 of what it was built from: graph, weights.
    scores
        Least PSNR in dB per golden case on the host; empty where the plan could only be built: not yet executed.
    """

    spec: ModelSpec
    version: int
    precision: str
    host: Host
    files: dict[str, str]
    created: datetime
    expires: datetime
    made_of: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    built_with: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.version < 1:
            raise ValueError(f"version must be at least 1, got {self.version}")
        if not self.expires > self.created:
            raise ValueError(f"must expire after {self.created.isoformat()}, got {self.expires.isoformat()}")
        if unsafe := [name for name in self.files if "/" in name or name.startswith(".")]:
            raise ValueError(f"file names must be plain, got {unsafe}")

    def to_bytes(self) -> bytes:
        """Return what is stored and signed."""
        data = asdict(self) | {"created": self.created.isoformat(), "expires": self.expires.isoformat()}
        return json.dumps({"format": FORMAT, **data}, indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Return the manifest of bytes whose signature has been verified, or raise `PlanRefused`."""
        try:
            values: dict[str, Any] = json.loads(data)
            if values.pop("format") != FORMAT:
                raise PlanRefused(f"the manifest is not of format {FORMAT}; build the plan again with this version")
            values["spec"] = ModelSpec.from_json(values["spec"])
            values["host"] = Host(**values["host"])
            for name in ("created", "expires"):
                values[name] = datetime.fromisoformat(values[name])
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlanRefused(f"the manifest cannot be read ({error}); build the plan again") from error

    def require_unexpired(self, now: datetime) -> None:
        """Raise `PlanRefused` for a new load after the expiry; what runs already keeps running."""
        if now >= self.expires:
            raise PlanRefused(f"version {self.version} expired on {self.expires:%Y-%m-%d}; build and sign it anew")

    def require_host(self, here: Host, verified_drivers: frozenset[str] = frozenset()) -> None:
        """Raise `PlanRefused` unless GPU, architecture, runtime and driver are exactly those it was proven for.

        Parameters
        ----------
        verified_drivers
            Drivers under which this manifest's plan has passed the gate again on this host.
        """
        differences = self.host.differences(here)
        if here.driver in verified_drivers:
            differences.pop("driver", None)
        if not differences:
            return
        remedy = "run `nowcast engine verify`" if set(differences) == {"driver"} else "build it for this host"
        raise PlanRefused(
            f"version {self.version} was proven for another host ({'; '.join(differences.values())}); {remedy}"
        )
