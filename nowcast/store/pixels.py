"""Decoded chunks of runs and observations: a point's series, a window of one lead, whole fields.

Blocks are kept in a cache bounded in bytes and keyed by the id of the publication, which is never used twice: a new
run or a revised observation never serves old pixels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product as pairs

import numpy as np
from numpy.typing import NDArray

from nowcast import chunks as codec
from nowcast.chunks import SIDE, Chunk, Codes
from nowcast.run import Fields, Run
from nowcast.store import records
from nowcast.store import runs as stored
from nowcast.store import statements as sql
from nowcast.store.cache import ByteCache
from nowcast.store.connections import Connections

Series = dict[str, NDArray]
"""Products by name at one cell: (K,) float32, rates in mm/h, probabilities 0 … 1; NaN = not seen."""

Place = tuple[int, int]
Blocks = dict[Place, Codes]
Window = tuple[int, int, int, int]
"""(first row, row after the last, first column, column after the last)."""

AT_ONCE = 32
"""Publications whose chunks are asked for in one statement: a rainy one of 24 leads has up to 400 kB."""

EMPTY_BYTES = 200
"""What a chunk without a blob costs in the cache."""


class BlockCache:
    """Decoded blocks by (publication, product, row, column)."""

    def __init__(self, limit: int) -> None:
        self._blocks: ByteCache[tuple[int, str, int, int], Codes] = ByteCache(limit)

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._blocks.size

    def get(self, owner: int, product: str, place: Place) -> Codes | None:
        """Return a block, or None."""
        return self._blocks.get((owner, product, *place))

    def put(self, owner: int, product: str, place: Place, block: Codes, *, empty: bool = False) -> Codes:
        """Keep a block; one without a blob costs next to nothing."""
        self._blocks.put((owner, product, *place), block, EMPTY_BYTES if empty else block.nbytes)
        return block

    def filled(
        self, owner: int, product: str, places: Iterable[Place], load: Callable[[list[Place]], Iterable[Chunk]]
    ) -> Blocks:
        """Return the blocks of `places`; those not kept come from `load`. A place that it does not know is left out."""
        found: dict[Place, Codes | None] = {place: self.get(owner, product, place) for place in places}
        absent = [place for place, block in found.items() if block is None]
        if absent:
            for chunk in load(absent):
                place = chunk.row, chunk.column
                found[place] = self.put(owner, product, place, codec.decode_codes(chunk), empty=chunk.blob is None)
        return {place: block for place, block in found.items() if block is not None}

    def cells(
        self, owners: Sequence[int], name: str, lead: int, at: Place, load: Callable[[list[int]], Mapping[int, Chunk]]
    ) -> dict[int, int]:
        """Return the code of one lead at a cell by publication; one that has no such cell is left out.

        Parameters
        ----------
        name
            Under which the plane of that lead is kept, (1, h, w): a chunk of all leads would push out 24 of them.
        at
            (row, column) of the cell.
        load
            Gives the chunks of those not kept, `AT_ONCE` at most: neither they nor the cache are needed for longer.
        """
        place, y, x = (at[0] // SIDE, at[1] // SIDE), at[0] % SIDE, at[1] % SIDE
        codes: dict[int, int] = {}
        for first in range(0, len(owners), AT_ONCE):
            planes = {owner: self.get(owner, name, place) for owner in owners[first : first + AT_ONCE]}
            absent = [owner for owner, plane in planes.items() if plane is None]
            for owner, chunk in load(absent).items() if absent else ():
                plane, empty = codec.decode_codes(chunk)[lead : lead + 1], chunk.blob is None
                planes[owner] = self.put(owner, name, place, plane if empty else plane.copy(), empty=empty)
            for owner, known in planes.items():
                if known is not None and y < known.shape[1] and x < known.shape[2]:
                    codes[owner] = int(known[0, y, x])
        return codes


def within(places: Iterable[Place]) -> dict[str, int]:
    """Return the bounds of places as statements take them."""
    rows, columns = zip(*places, strict=True)
    return {"top": min(rows), "bottom": max(rows), "left": min(columns), "right": max(columns)}


def rate(code: int | None) -> float | None:
    """Return mm/h of a rate's code; None = not seen."""
    return None if code in (None, codec.RATE.unseen) else code / codec.RATE.scale


def places_of(window: Window) -> list[Place]:
    """Return the chunks that a window touches."""
    top, bottom, left, right = window
    return list(pairs(range(top // SIDE, -(-bottom // SIDE)), range(left // SIDE, -(-right // SIDE))))


def cut(blocks: Mapping[Place, Codes], window: Window, lead: int) -> Codes:
    """Return the codes of one lead in a window, (h, w), from blocks that cover it."""
    top, bottom, left, right = window
    first = next(iter(blocks.values()))
    plane = np.empty((bottom - top, right - left), first.dtype)
    for (row, column), block in blocks.items():
        y, x = row * SIDE, column * SIDE
        rows = slice(max(top - y, 0), bottom - y)
        columns = slice(max(left - x, 0), right - x)
        part = block[lead, rows, columns]
        at_y, at_x = max(y - top, 0), max(x - left, 0)
        plane[at_y : at_y + part.shape[0], at_x : at_x + part.shape[1]] = part
    return plane


class RunPixels:
    """The pixels of runs. Every method raises `NoRun` when the run has been replaced or removed since it was read."""

    def __init__(self, connections: Connections, cache: BlockCache) -> None:
        self._connections, self._cache = connections, cache

    def kept(self, run: Run, row: int, column: int) -> dict[str, Codes] | None:
        """Return the codes at a cell by product, (K,), when all are in the cache; waits for nothing."""
        place, y, x = (row // SIDE, column // SIDE), row % SIDE, column % SIDE
        columns = {}
        for product in run.products:
            block = self._cache.get(run.id, product, place)
            if block is None:
                return None
            if y >= block.shape[1] or x >= block.shape[2]:
                raise stored.no_cell(run, row, column)
            columns[product] = block[:, y, x]
        return columns

    def codes(self, run: Run, row: int, column: int) -> dict[str, Codes]:
        """Return the codes at a cell by product, (K,) each; decodes at most one chunk per product.

        Raises
        ------
        OutsideGrid
            When the run has no such cell.
        """
        place, y, x = (row // SIDE, column // SIDE), row % SIDE, column % SIDE
        found = {product: self._cache.get(run.id, product, place) for product in run.products}
        if any(block is None for block in found.values()):
            found.update(self._load_place(run, place, run.products))
        columns = {}
        for product, block in found.items():
            if block is None or row < 0 or column < 0 or y >= block.shape[1] or x >= block.shape[2]:
                raise stored.no_cell(run, row, column)
            columns[product] = block[:, y, x]
        return columns

    def column(self, run: Run, product: str, row: int, column: int) -> Codes:
        """Return the codes of one product at a cell, (K,); decodes at most one chunk."""
        place, y, x = (row // SIDE, column // SIDE), row % SIDE, column % SIDE
        block = self._cache.get(run.id, product, place)
        if block is None:
            block = self._load_place(run, place, (product,)).get(product)
        if block is None or y >= block.shape[1] or x >= block.shape[2]:
            raise stored.no_cell(run, row, column)
        return block[:, y, x]

    def series(self, run: Run, row: int, column: int) -> Series:
        """Return the values at a cell of a run by product, or raise `OutsideGrid` when it has no such cell."""
        codes = self.codes(run, row, column)
        return {product: codec.to_values(column, codec.coding(product)) for product, column in codes.items()}

    def blocks(self, run: Run, product: str, places: Iterable[Place]) -> Blocks:
        """Return decoded blocks, (K, h, w) codes each; read-only."""

        def load(absent: list[Place]) -> list[Chunk]:
            values = {"run_id": run.id, "time": run.base_time, "product": product, **within(absent)}
            found = self._connections.read(lambda c: c.execute(sql.CHUNKS_WITHIN, values).mappings().all())
            wanted = set(absent)
            return [records.chunk_record(row) for row in found if (row["row"], row["column"]) in wanted]

        places = list(places)
        blocks = self._cache.filled(run.id, product, places, load)
        if not blocks or (len(blocks) < len(places) and not self._there(run)):  # some are still kept, the rest is gone
            raise stored.gone(run, product)
        return blocks

    def plane(self, run: Run, product: str, lead: int, window: Window) -> Codes:
        """Return the codes of one lead (0 is the first) in a window, (h, w)."""
        return cut(self.blocks(run, product, places_of(window)), window, lead)

    def cube(self, run: Run, product: str, window: Window) -> NDArray:
        """Return the codes of all leads in a window, (K, h, w)."""
        blocks = self.blocks(run, product, places_of(window))
        return np.stack([cut(blocks, window, lead) for lead in range(run.leads)])

    def accumulated(self, run: Run, lead: int, window: Window) -> NDArray[np.uint16]:
        """Return the rain from the base time to the end of a lead, (h, w), 0.01 mm; 65535 = not seen at some time."""
        blocks = self.blocks(run, "rain_mean", places_of(window))
        sums = {}
        for place, block in blocks.items():
            kept = self._cache.get(run.id, "accumulated", place)
            sums[place] = kept if kept is not None else self._sum(run, place, block)
        return cut(sums, window, lead).astype(np.uint16, copy=False)

    def _sum(self, run: Run, place: Place, block: Codes) -> Codes:
        return self._cache.put(run.id, "accumulated", place, accumulate(block))

    def chunk(self, run: Run, product: str, place: Place) -> Chunk | None:
        """Return a chunk as it is stored; None when the run has none there, which is there itself."""
        row, column = place
        values = {"run_id": run.id, "time": run.base_time, "products": (product,), "row": row, "column": column}
        found = self._connections.read(lambda c: c.execute(sql.CHUNKS_AT, values).mappings().first())
        if found is None and not self._there(run):
            raise stored.gone(run, product)
        return records.chunk_record(found) if found else None

    def field(self, run: Run, product: str) -> NDArray:
        """Return one product of a run, (K, H, W) float32."""
        return codec.assemble(self._chunks(run, product))

    def fields(self, run: Run) -> Fields:
        """Return all products of a run, each (K, H, W) float32."""
        return {product: self.field(run, product) for product in run.products}

    def parts(self, run: Run, product: str) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
        """Yield (rows, columns, values) of one product chunk by chunk, (K, h, w) each: one is decoded at a time."""
        for chunk in self._chunks(run, product):
            top, left = chunk.row * SIDE, chunk.column * SIDE
            yield slice(top, top + chunk.height), slice(left, left + chunk.width), codec.decode(chunk)

    def _chunks(self, run: Run, product: str) -> list[Chunk]:
        values = {"run_id": run.id, "time": run.base_time, "product": product}
        rows = self._connections.read(lambda c: c.execute(sql.CHUNKS_OF_PRODUCT, values).mappings().all())
        if not rows:
            raise stored.gone(run, product)
        return [records.chunk_record(row) for row in rows]

    def _load_place(self, run: Run, place: Place, products: tuple[str, ...]) -> dict[str, Codes]:
        row, column = place
        values = {"run_id": run.id, "time": run.base_time, "products": products, "row": row, "column": column}
        rows = self._connections.read(lambda c: c.execute(sql.CHUNKS_AT, values).mappings().all())
        if not rows and not self._there(run):
            raise stored.gone(run)
        return {
            chunk.product: self._cache.put(
                run.id, chunk.product, place, codec.decode_codes(chunk), empty=chunk.blob is None
            )
            for chunk in map(records.chunk_record, rows)
        }

    def _there(self, run: Run) -> bool:
        return self._connections.read(lambda c: c.execute(sql.RUN_EXISTS, {"run_id": run.id}).scalar()) is not None


STEPS_PER_HOUR = 12


def accumulate(codes: Codes) -> NDArray[np.uint16]:
    """Return the running sum over axis 0 of rates in 0.01 mm/h over five minutes each, in 0.01 mm; same shape.

    Once something was not seen, the sum is not known: it is not seen from there on.
    """
    unseen = np.logical_or.accumulate(codes == codec.RATE.unseen, axis=0)
    sums = np.cumsum(np.where(unseen, 0, codes), axis=0, dtype=np.uint32)
    rounded = np.minimum((sums + STEPS_PER_HOUR // 2) // STEPS_PER_HOUR, codec.RATE.top)
    return np.where(unseen, codec.RATE.unseen, rounded).astype(np.uint16)
