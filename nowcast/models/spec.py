"""What a model takes and gives, without torch: the contract between region stack, engine and products.

Tensors, all float32, B regions of equal shape, H and W multiples of 32:

========  ======================  =============================================================================
stack     (B, T, H, W)            rain in model space (`nowcast.space`), oldest first, the last is the base time
mask      (B, T, H, W)            1 where seen, 0 where not (a whole frame of 0 where one is missing)
motion    (B, 2, H/4, W/4)        (dx, dy) in full-resolution pixels per 5 min: x to the east, y to the south
noise     (B, M, C, H/d, W/d)     standard normal, only for ensemble models (`ModelSpec.noise`)
pixel     (B, 1, H/32, W/32)      size of a pixel in km, only for models that ask for it (`ModelSpec.pixel`)
product   (B, K, H, W)            rates in model space, probabilities 0 … 1; lead k is (k + 1) · 5 min
coverage  (B, K, H, W)            share (0 … 1) of each pixel that was seen where its air came from
========  ======================  =============================================================================
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAMES = 4
LEADS = 24
MULTIPLE = 32
COVERED_FROM = 0.5
"""A pixel of a forecast counts as seen where at least this share of it was."""

RATE_PRODUCTS = ("rain_mean", "rain_p10", "rain_p50", "rain_p90")
PROBABILITY_PRODUCTS = ("prob_0.1", "prob_1", "prob_5", "prob_10")


def member_products(count: int) -> tuple[str, ...]:
    """Return the names of the first `count` members as products: rates, as `rain_mean` is."""
    return tuple(f"rain_member_{number:02d}" for number in range(1, count + 1))


def shown_members(products: Iterable[str]) -> int:
    """Return how many of the products are members."""
    return sum(product.startswith("rain_member_") for product in products)


def pixel_sizes(kilometres: float, height: int, width: int, batch: int = 1) -> NDArray[np.float32]:
    """Return the input `pixel` of a grid whose pixels have one size."""
    return np.full((batch, 1, height // MULTIPLE, width // MULTIPLE), kilometres, np.float32)


def is_rate(product: str) -> bool:
    """Return whether a product is a rate, in model space until it leaves the engine."""
    return product.startswith("rain_")


def padded(shape: tuple[int, int]) -> tuple[int, int]:
    """Return (H, W), each rounded up to a multiple of 32."""
    height, width = shape
    return -(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE


@dataclass(frozen=True)
class NoiseSpec:
    """Shape of the noise input: `members` × `channels` fields at 1/`divisor` of the resolution."""

    members: int
    channels: int
    divisor: int

    def shape(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return (M, C, H/d, W/d)."""
        return self.members, self.channels, height // self.divisor, width // self.divisor


@dataclass(frozen=True)
class ModelSpec:
    """What a model is called, takes and gives.

    Attributes
    ----------
    products
        Names of the outputs, in the order of the graph; `coverage` follows them as the last.
    noise
        None for a deterministic model: its `rain_mean` is the rate itself.
    pixel
        Whether it is told the size of a pixel.
    """

    name: str
    products: tuple[str, ...]
    frames: int = FRAMES
    leads: int = LEADS
    noise: NoiseSpec | None = None
    pixel: bool = False

    @property
    def members(self) -> int:
        """Size of the ensemble; 1 for a deterministic model."""
        return self.noise.members if self.noise else 1

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of the graph."""
        return "stack", "mask", "motion", *(["noise"] if self.noise else []), *(["pixel"] if self.pixel else [])

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in the order of the graph."""
        return (*self.products, "coverage")

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ModelSpec":
        """Return the spec that `to_json` gave."""
        noise = NoiseSpec(**data["noise"]) if data.get("noise") else None
        return cls(
            data["name"], tuple(data["products"]), data["frames"], data["leads"], noise, data.get("pixel", False)
        )


@dataclass(frozen=True)
class Inputs:
    """One batch of model inputs; shapes as in the module's table."""

    stack: NDArray[np.float32]
    mask: NDArray[np.float32]
    motion: NDArray[np.float32]
    noise: NDArray[np.float32] | None = None
    pixel: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        batch, _, height, width = self.stack.shape
        if height % MULTIPLE or width % MULTIPLE:
            raise ValueError(f"height and width must be multiples of {MULTIPLE}, got {height} × {width}")
        if self.mask.shape != self.stack.shape:
            raise ValueError(f"mask {self.mask.shape} must be shaped like the stack {self.stack.shape}")
        if self.motion.shape != (batch, 2, height // 4, width // 4):
            raise ValueError(f"motion must be {(batch, 2, height // 4, width // 4)}, got {self.motion.shape}")
        if self.pixel is not None and not (self.pixel > 0).all():
            raise ValueError(f"the size of a pixel must be > 0 km, got {self.pixel.min()}")

    def named(self) -> dict[str, NDArray[np.float32]]:
        """Return the arrays by input name, in the order of the graph."""
        rest = {"noise": self.noise, "pixel": self.pixel}
        arrays = {"stack": self.stack, "mask": self.mask, "motion": self.motion}
        return arrays | {name: values for name, values in rest.items() if values is not None}


Outputs = dict[str, NDArray[np.float32]]
"""Arrays by output name: the products, then `coverage`."""
