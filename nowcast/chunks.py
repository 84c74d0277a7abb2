"""The chunk codec: (K, H, W) float32 of one product ↔ blocks of all leads × 128 × 128 (smaller at the edges).

========  ======  ==========================================================  =====  ========
kind      dtype   code c                                                      dry    not seen
========  ======  ==========================================================  =====  ========
rate      uint16  1 … 65534: c · 0.01 mm/h, rounded; 65534: 655.34 or more    0      65535
percent   uint8   1 … 100: c percent, rounded to the nearest                  0      255
category  uint8   1 … 250: the c-th of the region's sources                   –      255
========  ======  ==========================================================  =====  ========

A rate > 0 gets at least code 1: rain never decodes to dry. The highest rate code is the cap, and means "or more".
Codes are little-endian, C order (lead, row, column), compressed by zstd level 3. A chunk whose codes are all dry or
all not seen has no blob but says so in `fill`. Everything here is codec version 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product as pairs

import numpy as np
import zstandard
from numpy.typing import NDArray

from nowcast.errors import StoreError

SIDE = 128
CODEC = 1
LEVEL = 3
DRY = 0

Codes = NDArray[np.uint16] | NDArray[np.uint8]


class Fill(StrEnum):
    """What a chunk holds: data in its blob, or one state everywhere and no blob."""

    DATA = "data"
    DRY = "dry"
    UNSEEN = "unseen"


@dataclass(frozen=True)
class Coding:
    """How one kind of product becomes codes.

    Attributes
    ----------
    least
        Code of the smallest value > 0.
    top
        Highest code that is a value.
    unseen
        Code of not seen.
    limit
        Largest value that is accepted (it is capped at `top`).
    """

    dtype: str
    least: int
    top: int
    unseen: int
    limit: float
    scale: int = 100


RATE = Coding("<u2", least=1, top=65534, unseen=65535, limit=float(np.finfo(np.float32).max))
PERCENT = Coding("u1", least=0, top=100, unseen=255, limit=1.001)
CATEGORY = Coding("u1", least=0, top=250, unseen=255, limit=250.0, scale=1)


def coding(product: str) -> Coding:
    """Return how a product is coded: `rain_source` category, other `rain_*` rate, `prob_*` and `coverage` percent."""
    if product == "rain_source":
        return CATEGORY
    if product.startswith("rain"):
        return RATE
    if product.startswith("prob_") or product == "coverage":
        return PERCENT
    raise ValueError(f"no coding for product {product!r}; name it rain_…, prob_… or coverage")


@dataclass(frozen=True)
class Chunk:
    """One block of one product, all leads.

    Attributes
    ----------
    row, column
        Index of the block: its first pixel is (row · 128, column · 128).
    leads, height, width
        Shape of the block, (K, h, w).
    blob
        zstd of the codes; None unless `fill` is data.
    """

    product: str
    row: int
    column: int
    leads: int
    height: int
    width: int
    codec: int
    fill: Fill
    blob: bytes | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, h, w)."""
        return self.leads, self.height, self.width


def encode(product: str, field: NDArray[np.float32]) -> list[Chunk]:
    """Cut a product into chunks.

    Parameters
    ----------
    product
        Name, which gives the kind (`coding`).
    field
        (K, H, W): mm/h ≥ 0, or probabilities 0 … 1; NaN = not seen.

    Raises
    ------
    ValueError
        On another number of dimensions, a value < 0, an infinite one, or a probability > 1.
    """
    if field.ndim != 3 or not field.size:
        raise ValueError(f"{product} must be (K, H, W) and not empty, got {field.shape}")
    how, compressor = coding(product), zstandard.ZstdCompressor(level=LEVEL)
    _, height, width = field.shape
    return [
        _encode_block(product, (row, column), _block(field, row, column), how, compressor)
        for row, column in pairs(range(-(-height // SIDE)), range(-(-width // SIDE)))
    ]


def _block(field: NDArray[np.float32], row: int, column: int) -> NDArray[np.float32]:
    return field[:, row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]


def _encode_block(
    product: str,
    place: tuple[int, int],
    block: NDArray[np.float32],
    how: Coding,
    compressor: zstandard.ZstdCompressor,
) -> Chunk:
    try:
        codes = to_codes(block, how)
    except ValueError as error:
        raise ValueError(f"{product}, chunk {place}: {error}") from error
    fill = Fill.DRY if codes.max() == DRY else Fill.UNSEEN if codes.min() == how.unseen else Fill.DATA
    blob = compressor.compress(codes.tobytes()) if fill is Fill.DATA else None
    leads, height, width = block.shape
    return Chunk(product, *place, leads, height, width, CODEC, fill, blob)


def to_codes(block: NDArray[np.float32], how: Coding) -> Codes:
    """Return the codes of values in mm/h or 0 … 1 (NaN = not seen), same shape."""
    low, high = np.fmin.reduce(block, axis=None), np.fmax.reduce(block, axis=None)
    if low < 0 or high > how.limit:
        raise ValueError(f"values must be NaN or within 0 … {how.limit:g}, got {low:g} … {high:g}; correct the product")
    # Capped before scaling, so that the largest float32 does not overflow.
    scaled = np.minimum(block, np.float32(how.top / how.scale), dtype=np.float32) * np.float32(how.scale)
    np.rint(scaled, out=scaled)
    np.clip(scaled, how.least, how.top, out=scaled)
    scaled[block == 0] = DRY
    scaled[np.isnan(block)] = how.unseen
    return scaled.astype(how.dtype)


def to_values(codes: Codes, how: Coding) -> NDArray[np.float32]:
    """Return mm/h or 0 … 1 of codes, same shape: NaN = not seen, 0 = dry."""
    values = codes.astype(np.float32) / np.float32(how.scale)
    values[codes == how.unseen] = np.nan
    return values


def decode_codes(chunk: Chunk) -> Codes:
    """Return the codes of a chunk, (K, h, w), read-only.

    Raises
    ------
    StoreError
        When the codec is not known or the blob is damaged.
    """
    how = coding(chunk.product)
    name = f"chunk {chunk.product} ({chunk.row}, {chunk.column})"
    if chunk.codec != CODEC:
        raise StoreError(
            f"{name} has codec {chunk.codec}, this version reads {CODEC}; install the version that wrote it"
        )
    if chunk.blob is None:
        code = how.unseen if chunk.fill == Fill.UNSEEN else DRY
        return np.broadcast_to(np.array(code, how.dtype), chunk.shape)
    expected = int(np.prod(chunk.shape)) * np.dtype(how.dtype).itemsize
    raw = _decompress(chunk.blob, expected)
    if raw is None:
        raise StoreError(f"{name} is damaged: no {expected} bytes in it; publish the run again or restore the database")
    return np.frombuffer(raw, how.dtype).reshape(chunk.shape)


def _decompress(blob: bytes, expected: int) -> bytes | None:
    try:
        if zstandard.frame_content_size(blob) != expected:
            return None
        return zstandard.ZstdDecompressor().decompress(blob)
    except zstandard.ZstdError:
        return None


def decode(chunk: Chunk) -> NDArray[np.float32]:
    """Return the values of a chunk, (K, h, w): NaN = not seen, 0 = dry, else mm/h or 0 … 1."""
    return to_values(decode_codes(chunk), coding(chunk.product))


def assemble(chunks: Sequence[Chunk]) -> NDArray[np.float32]:
    """Return the field (K, H, W) of all chunks of one product, in any order."""
    height = sum(c.height for c in chunks if c.column == 0)
    width = sum(c.width for c in chunks if c.row == 0)
    field = np.empty((chunks[0].leads, height, width), np.float32)
    for chunk in chunks:
        _block(field, chunk.row, chunk.column)[...] = decode(chunk)
    return field
