"""The GPU as one engine process uses it: one stream, memory taken when engines are made, pinned copies.

Nothing here allocates after an engine is made. Engines of a process run one after another on the card's stream, so
they share their scratch.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from cuda.bindings import driver
from cuda.core import Buffer, Device, Stream

from engines.memory import Need, require_fit
from engines.shapes import FLOAT_BYTES, Shape, float_bytes, input_shapes, output_shapes
from engines.shared import Shared
from nowcast.errors import EngineError
from nowcast.models.spec import ModelSpec


def check(result: tuple) -> tuple:
    """Return what a driver call gave besides its status, or raise `RuntimeError`: the process must then end."""
    status, *values = result
    if status != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"CUDA driver: {status.name}")
    return tuple(values)


class Card:
    """The device, its stream, and what has been taken of its memory."""

    def __init__(self) -> None:
        self.device = Device()
        self.device.set_current()
        self.stream: Stream = self.device.create_stream()
        self._scratch: Buffer | None = None
        self._needs: list[Need] = []

    def reserve(self, need: Need) -> None:
        """Count an engine in, or raise `DoesNotFit` with the table of all; before anything of it is loaded."""
        _, memory = self.memory()
        require_fit([*self._needs, need], memory)
        self._needs.append(need)

    def release(self, need: Need) -> None:
        """Count an engine out."""
        self._needs.remove(need)

    def allocate(self, size: int) -> Buffer:
        """Return device memory; kept until the buffer is closed."""
        return self.device.allocate(size, stream=self.stream)

    def scratch(self, size: int) -> Buffer:
        """Return the scratch that all engines share, at least `size` bytes; open the largest engine first."""
        if self._scratch is None or self._scratch.size < size:
            self._scratch = self.allocate(size)
        return self._scratch

    def memory(self) -> tuple[int, int]:
        """Return free and total bytes of the device."""
        free, everything = check(driver.cuMemGetInfo())
        return int(free), int(everything)


@cache
def the_card() -> Card:
    """Return this process's card."""
    return Card()


@dataclass(frozen=True)
class Slot:
    """One input or output on the device, at an address that does not change."""

    address: int
    shape: Shape

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * FLOAT_BYTES


class Resident:
    """The static memory of one engine: its inputs and outputs on the device, and pinned on the host.

    Outputs are taken by `own_outputs`, or lie where a graph leaves them (`download_leads`).
    """

    def __init__(self, card: Card, spec: ModelSpec, batch: int, height: int, width: int) -> None:
        self.card = card
        self.shape = (spec, batch, height, width)
        self._buffers: list[Buffer] = []
        self.inputs = self._taken(input_shapes(*self.shape))
        self.outputs: dict[str, Slot] = {}
        self._host: Shared | None = None

    def own_outputs(self) -> None:
        """Take device memory for the outputs."""
        self.outputs = self._taken(output_shapes(*self.shape))

    def _taken(self, shapes: dict[str, Shape]) -> dict[str, Slot]:
        slots = {}
        for name, shape in shapes.items():
            buffer = self.card.allocate(math.prod(shape) * FLOAT_BYTES)
            self._buffers.append(buffer)
            slots[name] = Slot(int(buffer.handle), shape)
        return slots

    def input_buffers(self) -> Iterator[tuple[Buffer, Shape]]:
        """Yield each input's memory and shape, in the order of the graph."""
        yield from zip(self._buffers, (slot.shape for slot in self.inputs.values()), strict=False)

    @staticmethod
    def need(name: str, spec: ModelSpec, batch: int, height: int, width: int, scratch: int, weights: int) -> Need:
        """Return what an engine with these inputs and outputs needs."""
        shape = (spec, batch, height, width)
        return Need(name, float_bytes(input_shapes(*shape)) + float_bytes(output_shapes(*shape)) + weights, scratch)

    @property
    def host(self) -> Shared:
        """The pinned host memory; made here unless another process gave it."""
        if self._host is None:
            self.bind(Shared(*self.shape))
        if self._host is None:
            raise EngineError("no host memory is bound")
        return self._host

    def bind(self, shared: Shared) -> None:
        """Pin `shared` and copy from and to it from now on."""
        self._unpin()
        whole = shared.whole()
        check(driver.cuMemHostRegister(whole.ctypes.data, whole.nbytes, driver.CU_MEMHOSTREGISTER_PORTABLE))
        self._host = shared

    def upload(self) -> None:
        """Queue the copy of all inputs to the device."""
        stream = self.card.stream.handle
        for name, slot in self.inputs.items():
            check(driver.cuMemcpyHtoDAsync(slot.address, _address(self.host.inputs[name]), slot.size, stream))

    def download(self) -> None:
        """Queue the copy of all outputs to the host."""
        stream = self.card.stream.handle
        for name, slot in self.outputs.items():
            check(driver.cuMemcpyDtoHAsync(_address(self.host.outputs[name]), slot.address, slot.size, stream))

    def download_leads(self, first: int, count: int, addresses: Sequence[int], stream: int) -> None:
        """Queue the copy of every output's leads from `first` on, of one sample; they lie at these addresses."""
        for address, array in zip(addresses, self.host.outputs.values(), strict=True):
            part = array[0, first : first + count]
            check(driver.cuMemcpyDtoHAsync(_address(part), address, part.nbytes, driver.CUstream(stream)))

    def close(self) -> None:
        """Give everything back."""
        self.card.stream.sync()
        self._unpin()
        for buffer in self._buffers:
            buffer.close()

    def _unpin(self) -> None:
        if self._host is not None:
            check(driver.cuMemHostUnregister(self._host.whole().ctypes.data))
            self._host = None


def _address(array: np.ndarray) -> int:
    return int(array.ctypes.data)
