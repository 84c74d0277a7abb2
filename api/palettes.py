"""Palettes: discrete classes of a value, each with a colour. The defaults are safe for colour-vision deficiencies.

Their lightness (CIE L*) falls strictly with the value, so that they also read in grey and on paper; the tests say so.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nowcast.chunks import coding
from nowcast.errors import BadRequest, NotKept

Kind = Literal["rate", "probability", "accumulation"]
NOT_SEEN = "#8c8c8c"
_UNITS: dict[str, str] = {"rate": "mm/h", "probability": "%", "accumulation": "mm"}
_TINT, _LINE, _COLOUR = 36, 150, 225
"""Opacity (of 255) of not seen between the hatch's lines and on them, and of the classes."""


@dataclass(frozen=True)
class Palette:
    """Classes from `edges[i]` to `edges[i + 1]`, the last one open; below `edges[0]` is dry: transparent.

    Attributes
    ----------
    edges
        In the palette's unit: mm/h, percent or mm.
    """

    name: str
    kind: Kind
    edges: tuple[float, ...]
    colours: tuple[str, ...]
    default: bool = False

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.colours) or list(self.edges) != sorted(self.edges):
            raise ValueError(f"palette {self.name} needs one colour for each of its ascending edges")

    @property
    def unit(self) -> str:
        """mm/h, % or mm."""
        return _UNITS[self.kind]

    @property
    def unseen(self) -> int:
        """Index of not seen; the next one is the hatch's line."""
        return len(self.colours) + 1

    @cached_property
    def lookup(self) -> NDArray[np.uint8]:
        """Class index of each code: 0 dry, 1 … n, then not seen."""
        how = coding("prob_" if self.kind == "probability" else "rain_")
        scale = 1 if self.kind == "probability" else how.scale
        edges = np.round(np.array(self.edges) * scale)
        found = np.searchsorted(edges, np.arange(how.unseen + 1), side="right").astype(np.uint8)
        found[how.unseen] = self.unseen
        return found

    @cached_property
    def rgb(self) -> bytes:
        """Colours by index, three bytes each."""
        return bytes.fromhex("".join(c[1:] for c in ("#000000", *self.colours, NOT_SEEN, NOT_SEEN)))

    @cached_property
    def alpha(self) -> bytes:
        """Opacity by index."""
        return bytes((0, *[_COLOUR] * len(self.colours), _TINT, _LINE))


_RATES = (0.1, 0.5, 1, 2, 5, 10, 20, 50, 100)
_AMOUNTS = (0.1, 0.5, 1, 2, 5, 10, 20, 35, 50)
_CHANCES = (10, 20, 30, 40, 50, 60, 70, 80, 90)
_DEEPENING = ("#cfe3f2", "#a6cfe8", "#74b3d8", "#4795c4", "#2c73ad", "#5a4a9c", "#6f1f82", "#4c0a58", "#25002e")
_VIRIDIS = ("#dde318", "#a2da37", "#6ccd5a", "#35b779", "#1f9e89", "#26828e", "#31688e", "#3e4989", "#482878")
_GREY = ("#d9d9d9", "#c0c0c0", "#a8a8a8", "#8f8f8f", "#757575", "#5c5c5c", "#434343", "#2b2b2b", "#141414")
_TEAL = ("#d5efe6", "#b2e0d3", "#8acdbd", "#62b5a5", "#3f9a8c", "#287e75", "#17635f", "#0b4949", "#022f33")
_CLASSIC = ("#9be1ff", "#3fa9f5", "#0060d0", "#00b050", "#f6e800", "#ff9c00", "#f01010", "#b0007c", "#6a00a8")

PALETTES = (
    Palette("rain", "rate", _RATES, _DEEPENING, default=True),
    Palette("viridis", "rate", _RATES, _VIRIDIS),
    Palette("grey", "rate", _RATES, _GREY),
    Palette("classic", "rate", _RATES, _CLASSIC),
    Palette("chance", "probability", _CHANCES, _TEAL, default=True),
    Palette("chance-viridis", "probability", _CHANCES, _VIRIDIS),
    Palette("amount", "accumulation", _AMOUNTS, _DEEPENING, default=True),
    Palette("amount-viridis", "accumulation", _AMOUNTS, _VIRIDIS),
)


def kind_of(product: str) -> Kind:
    """Return which kind of palette shows a product."""
    if product == "accumulated":
        return "accumulation"
    return "probability" if product.startswith("prob_") else "rate"


@lru_cache(maxsize=256)  # bounded: a product is any word of a URL
def palette_for(product: str, name: str | None) -> Palette:
    """Return the palette of that name, or the product's default without one.

    Raises
    ------
    NotKept
        When there is none of that name.
    BadRequest
        When it shows another kind of product.
    """
    kind = kind_of(product)
    if name is None:
        return next(p for p in PALETTES if p.default and p.kind == kind)
    fit = [p.name for p in PALETTES if p.kind == kind]
    found = next((p for p in PALETTES if p.name == name), None)
    if found is None:
        raise NotKept(f"no palette {name!r}; for {product} there are: {', '.join(fit)}")
    if found.kind != kind:
        raise BadRequest(f"palette {name} is for a {found.kind}; for {product} choose one of: {', '.join(fit)}")
    return found
