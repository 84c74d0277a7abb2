"""Shapes and bytes of an engine's inputs and outputs, by name and in the graph's order; see `nowcast.models.spec`."""

import math

from nowcast.models.spec import MULTIPLE, ModelSpec

Shape = tuple[int, ...]
FLOAT_BYTES = 4


def input_shapes(spec: ModelSpec, batch: int, height: int, width: int) -> dict[str, Shape]:
    """Return the shape of each input by name, as in `nowcast.models.spec`."""
    shapes: dict[str, Shape] = {
        "stack": (batch, spec.frames, height, width),
        "mask": (batch, spec.frames, height, width),
        "motion": (batch, 2, height // 4, width // 4),
    }
    if spec.noise:
        shapes["noise"] = (batch, *spec.noise.shape(height, width))
    if spec.pixel:
        shapes["pixel"] = (batch, 1, height // MULTIPLE, width // MULTIPLE)
    return shapes


def output_shapes(spec: ModelSpec, batch: int, height: int, width: int) -> dict[str, Shape]:
    """Return the shape of each output by name."""
    return dict.fromkeys(spec.outputs, (batch, spec.leads, height, width))


def float_bytes(shapes: dict[str, Shape]) -> int:
    """Return the bytes of float32 arrays of these shapes."""
    return sum(math.prod(shape) * FLOAT_BYTES for shape in shapes.values())
