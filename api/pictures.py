"""Pictures of one lead: values resampled to Web-Mercator, then coloured by class; PNG of mode P, or WebP.

Dry is transparent. What was not seen is tinted and hatched, never transparent: missing is never dry. What satellites
filled is a picture of its own, of dots, to lie over the rain. Finished pictures are kept, bounded in bytes, by the id
of the publication that they show.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from api.mercator import Box, Picked, Pickings, region_box
from api.palettes import Palette
from nowcast.chunks import Codes
from nowcast.errors import NoRun
from nowcast.grid import Grid
from nowcast.run import Observation, Run
from nowcast.store.cache import ByteCache
from nowcast.store.pixels import Window
from nowcast.store.store import Store

Format = Literal["png", "webp"]
MEDIA_TYPES = {"png": "image/png", "webp": "image/webp"}
HATCH = 8
"""Every so many pixels a diagonal line; divides the tile size, so that lines go on across tiles."""

DOTS = 6
"""A dot every so many pixels of every such row, in each second row halfway between those of the others."""
DOT_RGB, DOT_ALPHA = bytes((0, 0, 0, 38, 38, 38, 255, 255, 255)), bytes((0, 230, 170))
"""Nothing, a dark dot, and light around it: one of the two stands out from any rain, and from light and dark land."""
DOTTED = "satellite"

KEPT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Shown:
    """One lead of a product, or an observation, on its grid."""

    source: Run | Observation
    product: str
    lead: int
    grid: Grid

    @property
    def key(self) -> tuple[str, int, str, int]:
        """Names the publication and the part of it."""
        return type(self.source).__name__, self.source.id, self.product, self.lead


class Gallery:
    """Makes and keeps pictures."""

    def __init__(self, store: Store, kept_bytes: int = KEPT_BYTES) -> None:
        self._store = store
        self.pickings = Pickings()
        self._kept: ByteCache[tuple, bytes] = ByteCache(kept_bytes)

    def kept(self, shown: Shown, box: Box, palette: Palette, form: Format) -> bytes | None:
        """Return a picture made before; waits for nothing."""
        return self._kept.get((shown.key, box, palette.name, form))

    def region(self, shown: Shown, palette: Palette) -> bytes:
        """Return the whole region as PNG; what lies outside its grid is not seen either."""
        box = region_box(shown.grid)
        kept = self.kept(shown, box, palette, "png")
        if kept is not None:
            return kept
        pixels = self.pixels(shown, box, palette, outside=palette.unseen)
        return self.keep(shown, box, palette, "png", paint(pixels, palette, "png"))

    def kept_dots(self, shown: Shown) -> bytes | None:
        """Return a picture of dots made before; waits for nothing."""
        return self._kept.get((shown.key, region_box(shown.grid), DOTTED, "png"))

    def dots(self, shown: Shown, codes: tuple[int, ...]) -> bytes:
        """Return the whole region as PNG: dots where `shown`, a lead of `rain_source`, has one of the codes."""
        box = region_box(shown.grid)
        picked = self.pickings.of(shown.grid, box)
        marked = np.zeros((box.height, box.width), np.uint8)
        if picked is not None:
            marked = picked.take(np.isin(self.codes(shown, picked.window), codes).astype(np.uint8), 0)
        picture = paint_dots(marked)
        self._kept.put((shown.key, box, DOTTED, "png"), picture, len(picture) + 300)
        return picture

    def keep(self, shown: Shown, box: Box, palette: Palette, form: Format, picture: bytes) -> bytes:
        """Keep a finished picture and return it."""
        self._kept.put((shown.key, box, palette.name, form), picture, len(picture) + 300)
        return picture

    def pixels(self, shown: Shown, box: Box, palette: Palette, outside: int = 0) -> NDArray[np.uint8]:
        """Return the class index of each pixel of a box, (height, width)."""
        picked = self.pickings.of(shown.grid, box)
        if picked is None:
            return np.full((box.height, box.width), outside, np.uint8)
        return self.coloured(shown, picked, palette, outside)

    def coloured(self, shown: Shown, picked: Picked, palette: Palette, outside: int) -> NDArray[np.uint8]:
        """Return the class index of each pixel of picked cells."""
        plane = palette.lookup[self.codes(shown, picked.window)]
        return picked.take(plane, outside)

    def codes(self, shown: Shown, window: Window) -> Codes:
        """Return the codes that a window shows, (h, w)."""
        if isinstance(shown.source, Observation):
            seen = self._store.observations.plane(shown.source, window)
            if seen is None:
                raise NoRun(f"the observation of {shown.source.valid_time.isoformat()} has been replaced; ask again")
            return seen
        if shown.product == "accumulated":
            return self._store.pixels.accumulated(shown.source, shown.lead, window)
        return self._store.pixels.plane(shown.source, shown.product, shown.lead, window)


def paint(pixels: NDArray[np.uint8], palette: Palette, form: Format) -> bytes:
    """Return class indexes, (height, width), as a picture; not seen is hatched."""
    lines = (pixels == palette.unseen) & _hatch(*pixels.shape)
    pixels = np.ascontiguousarray(pixels + lines, np.uint8)
    picture = Image.frombytes("P", (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    picture.putpalette(palette.rgb)
    file = io.BytesIO()
    if form == "webp":
        picture.info["transparency"] = palette.alpha
        picture.convert("RGBA").save(file, "WEBP", lossless=True, method=0, quality=0)
    else:
        picture.save(file, "PNG", transparency=palette.alpha, compress_level=1)
    return file.getvalue()


def paint_dots(marked: NDArray[np.uint8]) -> bytes:
    """Return a PNG, dotted where `marked`, (height, width), is 1 and transparent where it is 0."""
    pixels = np.ascontiguousarray(marked * _dots(*marked.shape))
    picture = Image.frombytes("P", (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    picture.putpalette(DOT_RGB)
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=DOT_ALPHA, compress_level=1)
    return file.getvalue()


@lru_cache(maxsize=64)
def _dots(height: int, width: int) -> NDArray[np.uint8]:
    """Return 1 on the dots, 2 beside them, 0 elsewhere, (height, width)."""
    y, x = np.ogrid[:height, :width]
    down, across = y % DOTS - 1, (x + y // DOTS % 2 * (DOTS // 2)) % DOTS - 1
    away = np.abs(down) + np.abs(across)
    return np.select([away == 0, away == 1], [1, 2], 0).astype(np.uint8)


@lru_cache(maxsize=64)
def _hatch(height: int, width: int) -> NDArray[np.bool_]:
    y, x = np.ogrid[:height, :width]
    return (x + y) % HATCH < 2
