"""Device memory, counted before anything is loaded: inputs and outputs per engine, one scratch for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from nowcast.errors import DoesNotFit

MEBI = 2**20
ALIGN = 256
"""What TensorRT asks of its memory; the driver gives at least that."""
CONTEXT = 640 * MEBI
"""Left to the CUDA context, library code and the driver."""
SCRATCH_PER_PIXEL = {"tensorrt": (0, 512), "inductor": (560, 124)}
"""Bytes of scratch per pixel, and per pixel and member, by rung. TensorRT for RTX says when it builds, in FP32 at 512²:
`advection` 322, `edge` 463, `standard` 420 per member. `inductor` held 560 and 117 per member for `standard` at 512²,
six leads at a time (`benchmarks/results/gpu-standard.json`; 63 before its members turned the compass); positions of all
leads, and `advection` whole, are there once."""


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


def scratch(rung: str, members: int, height: int, width: int) -> int:
    """Return the bytes of scratch that an engine of a rung is counted with."""
    once, each = SCRATCH_PER_PIXEL[rung]
    return (once + each * members) * height * width


def total(needs: Sequence[Need]) -> int:
    """Return the bytes of all engines together."""
    return sum(_aligned(need.resident) for need in needs) + max((_aligned(need.scratch) for need in needs), default=0)


def require_fit(needs: Sequence[Need], memory: int) -> None:
    """Raise `DoesNotFit`, with the table of what needs what, unless all engines fit into `memory` bytes."""
    require_all_fit([needs], memory)


def require_all_fit(processes: Sequence[Sequence[Need]], memory: int) -> None:
    """Raise as `require_fit` does, for the engines of several processes: each has its own scratch and CUDA context."""
    needed = sum(total(needs) + CONTEXT for needs in processes)
    if needed <= memory:
        return
    everything = [need for needs in processes for need in needs]
    raise DoesNotFit(
        f"{len(everything)} engines need {needed / MEBI:.0f} MiB, the device has {memory / MEBI:.0f}; take fewer or"
        f" smaller regions, fewer members or another device\n{table(processes)}"
    )


def table(processes: Sequence[Sequence[Need]]) -> str:
    """Return what needs what, in MiB: of each process its engines, of whose scratch the largest counts."""
    lines = [f"{'engine':32} {'resident':>10} {'scratch':>10}   MiB"]
    for needs in processes:
        lines += [f"{n.name:32} {n.resident / MEBI:10.0f} {n.scratch / MEBI:10.0f}" for n in needs]
        lines += [f"{'CUDA itself':32} {CONTEXT / MEBI:10.0f} {'':>10}"]
    return "\n".join(lines)


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN
