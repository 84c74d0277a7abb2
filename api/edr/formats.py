"""EDR answers: CoverageJSON, GeoJSON, CSV, NetCDF. NaN is null or empty, never a number."""

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import repeat
from math import isnan
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from api.edr.describe import COVERAGE, GEOJSON, Address, geojson_links
from api.edr.families import describe, parameter
from api.edr.select import Area, Path, Points, Source
from api.files.shelf import Shelf
from api.live import stamp
from nowcast.errors import BadRequest, TooMuch
from nowcast.output import write_netcdf

Answer = Points | Path | Area
MEDIA = {
    "CoverageJSON": COVERAGE,
    "GeoJSON": GEOJSON,
    "CSV": "text/csv",
    "NetCDF": "application/netcdf",
}
MOST_FEATURES = 5000
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"

_REFERENCING = [
    {"coordinates": ["x", "y"], "system": {"type": "GeographicCRS", "id": CRS84}},
    {"coordinates": ["t"], "system": {"type": "TemporalRS", "calendar": "Gregorian"}},
]


def render(answer: Answer, form: str, address: Address, shelf: Shelf) -> bytes:
    """Return the answer in one of `MEDIA`; GeoJSON says where it was asked for, NetCDF is written to a file."""
    if form == "GeoJSON":
        return geo_json(answer, address)
    if form == "NetCDF":
        made = dataset(answer)
        return shelf.once(lambda path: write_netcdf(made, path), made.nbytes)
    return {"CoverageJSON": coverage_json, "CSV": csv}[form](answer)


def empty(answer: Answer) -> bool:
    """Return whether nothing was seen: 204."""
    return all(bool(np.isnan(v).all()) for v in answer.values.values())


def numbers(values: NDArray[np.float32]) -> list[float | None]:
    """Return values as JSON has them, rounded to two decimals."""
    rounded = np.round(values.ravel().astype(np.float64), 2)
    return [None if np.isnan(v) else v for v in rounded.tolist()] if np.isnan(rounded).any() else rounded.tolist()


def _stamps(times: list[datetime]) -> list[str]:
    return [stamp(time) for time in times]


def _dump(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


# CoverageJSON


def coverage_json(answer: Answer) -> bytes:
    """Return CoverageJSON: PointSeries, a collection of them, a Trajectory or a Grid."""
    parameters = {p: parameter(p) for p in answer.source.products}
    if isinstance(answer, Points):
        coverages = [_point_series(answer, i) for i in range(len(answer.lon))]
        if len(coverages) == 1:
            return _dump({**coverages[0], "parameters": parameters})
        told = {"type": "CoverageCollection", "domainType": "PointSeries", "parameters": parameters}
        return _dump({**told, "referencing": _REFERENCING, "coverages": coverages})
    return _dump({**(_trajectory(answer) if isinstance(answer, Path) else _grid(answer)), "parameters": parameters})


def _coverage(domain: str, axes: dict[str, Any], ranges: dict[str, Any]) -> dict[str, Any]:
    described = {"type": "Domain", "domainType": domain, "axes": axes, "referencing": _REFERENCING}
    return {"type": "Coverage", "domain": described, "ranges": ranges}


def _range(values: NDArray[np.float32], axes: list[str]) -> dict[str, Any]:
    told = {"type": "NdArray", "dataType": "float", "axisNames": axes, "shape": list(values.shape)}
    return {**told, "values": numbers(values)}


def _point_series(answer: Points, i: int) -> dict[str, Any]:
    axes = {
        "x": {"values": [round(float(answer.lon[i]), 4)]},
        "y": {"values": [round(float(answer.lat[i]), 4)]},
        "t": {"values": _stamps(answer.source.times())},
    }
    return _coverage("PointSeries", axes, {p: _range(v[i], ["t"]) for p, v in answer.values.items()})


def _trajectory(answer: Path) -> dict[str, Any]:
    rows = zip(_stamps(answer.times), answer.lon.tolist(), answer.lat.tolist(), strict=True)
    # An axis' values are unique in CoverageJSON: the same place at the same time, as on a way back, is told once.
    places = {(t, round(x, 4), round(y, 4)): i for i, (t, x, y) in enumerate(rows)}
    values, kept = [list(place) for place in places], list(places.values())
    axes = {"composite": {"dataType": "tuple", "coordinates": ["t", "x", "y"], "values": values}}
    return _coverage("Trajectory", axes, {p: _range(v[kept], ["composite"]) for p, v in answer.values.items()})


def _grid(answer: Area) -> dict[str, Any]:
    axes = {
        "x": {"start": float(answer.lon[0]), "stop": float(answer.lon[-1]), "num": len(answer.lon)},
        "y": {"start": float(answer.lat[0]), "stop": float(answer.lat[-1]), "num": len(answer.lat)},
        "t": {"values": _stamps(answer.source.times())},
    }
    return _coverage("Grid", axes, {p: _range(v, ["t", "y", "x"]) for p, v in answer.values.items()})


# GeoJSON and CSV


def _positions(answer: Answer) -> Iterator[tuple[float, float, list[str], dict[str, list[float]]]]:
    """Yield (longitude, latitude, times, values over them by product) of each position."""
    lon, lat, values = answer.lon, answer.lat, answer.values
    if isinstance(answer, Area):
        lon, lat = np.tile(answer.lon, len(answer.lat)), np.repeat(answer.lat, len(answer.lon))
        values = {p: np.moveaxis(v, 0, -1).reshape(len(lon), -1) for p, v in values.items()}
    elif isinstance(answer, Path):
        values = {p: v[:, None] for p, v in values.items()}
    stamps = _stamps(answer.times if isinstance(answer, Path) else answer.source.times())
    for i, (x, y) in enumerate(zip(lon.tolist(), lat.tolist(), strict=True)):
        times = stamps[i : i + 1] if isinstance(answer, Path) else stamps
        yield x, y, times, {p: v[i].tolist() for p, v in values.items()}


def csv(answer: Answer) -> bytes:
    """Return one line per position and time; an empty field is not seen.

    Times and places are written once each: a million lines took 8 s, of which no other request got much, and take 1.5.
    """
    parts = [",".join(("time", "longitude", "latitude", *answer.source.products))]
    for lon, lat, times, series in _positions(answer):
        told = [["" if isnan(v) else f"{v:.2f}" for v in values] for values in series.values()]
        parts.append("\n".join(map(",".join, zip(times, repeat(f"{lon:.4f},{lat:.4f}"), *told, strict=False))))
    return ("\n".join(parts) + "\n").encode()


def geo_json(answer: Answer, address: Address) -> bytes:
    """Return EDR GeoJSON: a feature per position, its values as arrays over `times`."""
    columns: dict[tuple[float, float], dict[str, list[Any]]] = {}
    if isinstance(answer, Area) and len(answer.lon) * len(answer.lat) > MOST_FEATURES:
        raise TooMuch(f"more than {MOST_FEATURES} features; ask for a smaller area, or for f=CoverageJSON")
    for lon, lat, times, series in _positions(answer):
        told = columns.setdefault((round(lon, 4), round(lat, 4)), {"times": []})
        told["times"] += times
        for product, values in series.items():
            told.setdefault(product, []).extend(None if isnan(v) else round(v, 2) for v in values)
    made = [_feature(*place, told, address) for place, told in columns.items()]
    parameters = [parameter(p) for p in answer.source.products]
    collection = {"type": "FeatureCollection", "features": made, "parameters": parameters}
    return _dump({**collection, "links": geojson_links(address)})


def _feature(lon: float, lat: float, columns: dict[str, list[Any]], address: Address) -> dict[str, Any]:
    times = columns["times"]
    properties = {
        "label": f"{lat}, {lon}",
        "datetime": times[0] if len(times) == 1 else f"{times[0]}/{times[-1]}",
        "parameter-name": [name for name in columns if name != "times"],
        "edrqueryendpoint": f"{address.path}/position?coords=POINT({lon}%20{lat})",
        **columns,
    }
    return {"type": "Feature", "geometry": {"type": "Point", "coordinates": [lon, lat]}, "properties": properties}


# NetCDF


def dataset(answer: Answer) -> xr.Dataset:
    """Return CF NetCDF's content: a grid of longitude and latitude, or positions along a dimension."""
    if isinstance(answer, Path):
        raise BadRequest("a trajectory is given as CoverageJSON, GeoJSON or CSV; choose one of these")
    source: Source = answer.source
    reference = _naive(source.run.base_time)
    times = np.array([_naive(time) for time in source.times()])
    lon = (answer.lon, {"standard_name": "longitude", "units": "degrees_east"})
    lat = (answer.lat, {"standard_name": "latitude", "units": "degrees_north"})
    place = ("position",) if isinstance(answer, Points) else ("latitude", "longitude")
    coordinates = {
        "longitude": (place[-1], *lon),
        "latitude": (place[0], *lat),
        "forecast_reference_time": ((), reference, {"standard_name": "forecast_reference_time"}),
        "lead_time": ("time", times - reference, {"standard_name": "forecast_period"}),
        "time": ("time", times, {"standard_name": "time", "long_name": "end of the period (UTC)"}),
    }
    dims = ("position", "time") if isinstance(answer, Points) else ("time", "latitude", "longitude")
    variables = {}
    for product, values in answer.values.items():
        unit = parameter(product)["unit"]["symbol"]["value"].replace("mm/h", "mm h-1")
        variables[product] = (dims, values, {"units": unit, "long_name": describe(product)})
    return xr.Dataset(variables, coordinates, {"Conventions": "CF-1.11", "source": f"nowcast, {source.run.model}"})


def _naive(time: datetime) -> np.datetime64:
    return np.datetime64(time.replace(tzinfo=None), "ns")
