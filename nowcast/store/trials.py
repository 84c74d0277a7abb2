"""The repository of trials: forecasts made beside the serving one, a few leads each, kept until they are verified."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import zstandard
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, delete, insert, select

from nowcast import chunks as codec
from nowcast.run import Fields
from nowcast.store.connections import Connections
from nowcast.store.life_tables import trials

_KEY = (
    trials.c.region == bindparam("in_region"),
    trials.c.base_time == bindparam("from_time"),
    trials.c.model == bindparam("by_model"),
)
_GET = select(trials.c.shape, trials.c.blob).where(*_KEY)
_MODELS = select(trials.c.model).where(_KEY[0], _KEY[1]).order_by(trials.c.model)
_DELETE = delete(trials).where(*_KEY)
_INSERT = insert(trials)
_PRUNE = delete(trials).where(trials.c.base_time < bindparam("before"))


@dataclass(frozen=True)
class Trial:
    """One forecast that was not served: whose, from when, and which leads of it are kept (1 is the first)."""

    region: str
    base_time: datetime
    model: str
    made_at: datetime
    leads: tuple[int, ...]


class Trials:
    """Trials by (region, base time, model)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def put(self, trial: Trial, fields: Fields) -> None:
        """Keep the trial's leads of products (K, H, W); one made again replaces the one before."""
        kept = {name: _codes(name, values, trial.leads) for name, values in fields.items()}
        shape = {
            "leads": list(trial.leads),
            "size": list(next(iter(fields.values())).shape[1:]),
            "products": list(kept),
        }
        blob = zstandard.ZstdCompressor(level=codec.LEVEL).compress(b"".join(c.tobytes() for c in kept.values()))
        key = _key(trial.region, trial.base_time, trial.model)
        row = {"region": trial.region, "base_time": trial.base_time, "model": trial.model, "made_at": trial.made_at}

        def work(connection: Connection) -> None:
            connection.execute(_DELETE, key)
            connection.execute(_INSERT, {**row, "shape": shape, "blob": blob})

        self._connections.write(work)

    def models(self, region: str, base_time: datetime) -> list[str]:
        """Return whose trials there are from a base time."""
        values = {"in_region": region, "from_time": base_time}
        return list(self._connections.read(lambda c: c.execute(_MODELS, values).scalars().all()))

    def fields(self, region: str, base_time: datetime, model: str, lead: int) -> Fields | None:
        """Return the products (H, W) of one lead; None when that was not kept."""
        key = _key(region, base_time, model)
        row = self._connections.read(lambda c: c.execute(_GET, key).first())
        if row is None or lead not in row.shape["leads"]:
            return None
        return _decoded(row.shape, row.blob, row.shape["leads"].index(lead))

    def prune(self, before: datetime) -> int:
        """Remove trials with an earlier base time; return how many."""
        return int(self._connections.write(lambda c: c.execute(_PRUNE, {"before": before})).rowcount)


def _key(region: str, base_time: datetime, model: str) -> dict[str, object]:
    return {"in_region": region, "from_time": base_time, "by_model": model}


def _codes(product: str, values: NDArray[np.float32], leads: Sequence[int]) -> codec.Codes:
    return codec.to_codes(np.stack([values[lead - 1] for lead in leads]), codec.coding(product))


def _decoded(shape: dict[str, list], blob: bytes, index: int) -> Fields:
    data, start = zstandard.ZstdDecompressor().decompress(blob), 0
    count, size = len(shape["leads"]), tuple(shape["size"])
    fields: Fields = {}
    for product in _names(shape["products"]):
        how = codec.coding(product)
        number = count * size[0] * size[1]
        codes = np.frombuffer(data, how.dtype, number, start).reshape(count, *size)
        start += codes.nbytes
        fields[product] = codec.to_values(codes[index], how)
    return fields


def _names(products: Iterable[object]) -> list[str]:
    return [str(name) for name in products]
