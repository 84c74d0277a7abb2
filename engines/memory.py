"""Device memory, counted before anything is loaded: inputs and outputs per engine, one scratch for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from nowcast.errors import DoesNotFit

MEBI = 2**20
ALIGN = 256
"""What TensorRT asks of its memory; the driver gives at least that."""
CONTEXT = 640 * MEBI
"""Left to the CUDA context, library code and the driver."""


@dataclass(frozen=True)
class Need:
    """What one engine needs on the device, in bytes.

    Attributes
    ----------
    resident
        Its inputs and outputs, and weights: there as long as the engine.
    scratch
        While it runs; shared by all engines, which run one after another on one stream.
    """

    name: str
    resident: int
    scratch: int


def total(needs: Sequence[Need]) -> int:
    """Return the bytes of all engines together."""
    return sum(_aligned(need.resident) for need in needs) + max((_aligned(need.scratch) for need in needs), default=0)


def require_fit(needs: Sequence[Need], memory: int) -> None:
    """Raise `DoesNotFit`, with the table of what needs what, unless all engines fit into `memory` bytes."""
    needed = total(needs) + CONTEXT
    if needed <= memory:
        return
    lines = [f"{'engine':32} {'resident':>10} {'scratch':>10}   MiB"]
    lines += [f"{n.name:32} {n.resident / MEBI:10.0f} {n.scratch / MEBI:10.0f}" for n in needs]
    lines += [f"{'CUDA itself':32} {CONTEXT / MEBI:10.0f} {'':>10}"]
    table = "\n".join(lines)
    raise DoesNotFit(
        f"{len(needs)} engines need {needed / MEBI:.0f} MiB, the device has {memory / MEBI:.0f}; take fewer or smaller"
        f" regions, fewer members or another device\n{table}"
    )


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN
