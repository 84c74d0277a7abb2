"""Inputs and outputs of one engine in memory that two processes map.

The memory has no name, only a descriptor that is passed to the engine process: nothing is left behind however either
process ends, and it does not count against a container's small /dev/shm.
"""

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engines.shapes import FLOAT_BYTES, Shape, input_shapes, output_shapes
from nowcast.errors import EngineError
from nowcast.models.spec import Inputs, ModelSpec

Array = NDArray[np.float32]
ALIGN = 4096
"""Each array begins on a page."""


class Shared:
    """Arrays by name over one mapping.

    Parameters
    ----------
    spec, batch, height, width
        What decides the shapes.
    descriptor
        From the other process; None to make the memory. Owned from here on.
    """

    def __init__(self, spec: ModelSpec, batch: int, height: int, width: int, descriptor: int | None = None) -> None:
        takes, gives = input_shapes(spec, batch, height, width), output_shapes(spec, batch, height, width)
        size = sum(_pages(s) for s in (*takes.values(), *gives.values()))
        self.descriptor = _anonymous(size) if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, size)
        self._finalizer = weakref.finalize(self, os.close, self.descriptor)
        places = self._places((*takes.values(), *gives.values()))
        self.inputs: dict[str, Array] = {name: next(places) for name in takes}
        self.outputs: dict[str, Array] = {name: next(places) for name in gives}

    def _places(self, shapes: tuple[Shape, ...]) -> Iterator[Array]:
        offset = 0
        for shape in shapes:
            yield np.frombuffer(self._memory, np.float32, math.prod(shape), offset).reshape(shape)
            offset += _pages(shape)

    def fill(self, inputs: Inputs) -> None:
        """Copy the inputs of a batch in, or raise `EngineError` when it has another shape."""
        for name, values in inputs.named().items():
            into = self.inputs[name]
            if values.shape != into.shape:
                raise EngineError(
                    f"{name} has shape {values.shape}, the engine was built for {into.shape}; build another"
                )
            into[...] = values

    def whole(self) -> NDArray[np.uint8]:
        """Return the mapping as bytes, to be pinned."""
        return np.frombuffer(self._memory, np.uint8)

    def close(self) -> None:
        """Give back the descriptor; the mapping goes when its last array does."""
        self._finalizer()


def _pages(shape: Shape) -> int:
    return -(-math.prod(shape) * FLOAT_BYTES // ALIGN) * ALIGN


def _anonymous(size: int) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("nowcast-engine", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
