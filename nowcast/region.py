"""Regions: named grids to forecast on, with their sources, model and thresholds; read from `regions.toml`.

::

    [regions.lowlands]
    title = "Low Countries"
    crs = "EPSG:28992"                      # anything pyproj understands
    x0 = 10500.0                            # centre of the north-western cell, in units of the CRS
    y0 = 629500.0
    cell = 1000.0
    height = 320
    width = 288
    sources = ["knmi"]                      # in order of preference
    model = "advection"
    margin = 64                             # cells around it that are read too, for what flows in
    gate = { ok_minutes = 10 }              # `nowcast.verdict.Thresholds`
    fusion = { satellite = true }           # `nowcast.fusion.FusionOptions`: satellites fill what no radar sees
    places = [{ name = "Utrecht", lat = 52.0907, lon = 5.1214 }]   # towns to find on the page
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from pyproj import CRS
from pyproj.exceptions import CRSError

from nowcast.errors import ConfigError, OutsideGrid, UnknownRegion
from nowcast.fusion import FusionOptions
from nowcast.grid import Grid
from nowcast.run import Place
from nowcast.verdict import Thresholds

MARGIN = 64
NAME_RULE = "lower-case letters, digits and '-'"


@dataclass(frozen=True)
class Region:
    """A named grid to forecast on.

    Attributes
    ----------
    sources
        Radar sources in order of preference.
    model
        Name of the model that serves it.
    margin
        Cells around the grid that are read too, so that rain flowing in is known; about two hours' way of the wind.
    gate, fusion
        What the input gate lets pass, and how several sources come together.
    places
        Well-known places, for those who look for theirs.
    """

    name: str
    title: str
    grid: Grid
    sources: tuple[str, ...]
    model: str = "advection"
    margin: int = MARGIN
    places: tuple[Place, ...] = ()
    gate: Thresholds = field(default_factory=Thresholds)
    fusion: FusionOptions = field(default_factory=FusionOptions)

    def __post_init__(self) -> None:
        if not self.name or not self.name.replace("-", "").isalnum() or self.name != self.name.lower():
            raise ValueError(f"region name must be {NAME_RULE}, got {self.name!r}")
        if not self.sources:
            raise ValueError(f"region {self.name} needs at least one source")
        if self.margin < 0:
            raise ValueError(f"margin must be >= 0 cells, got {self.margin}")


@dataclass(frozen=True)
class Regions:
    """All regions, by name, in the order of the file."""

    by_name: dict[str, Region]

    def __getitem__(self, name: str) -> Region:
        """Return the region of that name, or raise `UnknownRegion` with those there are."""
        try:
            return self.by_name[name]
        except KeyError:
            raise UnknownRegion(f"no region {name!r}; there are: {', '.join(self.by_name)}") from None

    def __iter__(self) -> Iterator[Region]:
        return iter(self.by_name.values())

    def __len__(self) -> int:
        return len(self.by_name)

    def at(self, lat: float, lon: float) -> Region:
        """Return the first region in which the point lies, or raise `OutsideGrid`."""
        for region in self:
            try:
                region.grid.cell(lat, lon)
            except OutsideGrid:
                continue
            return region
        raise OutsideGrid(f"point lat={lat}, lon={lon} lies in no region; see /v1/regions for their bounds")


DEMO = """
[regions.lowlands]
title = "Low Countries (simulated)"
crs = "EPSG:28992"
x0 = 11000.0
y0 = 629000.0
cell = 2000.0
height = 160
width = 144
margin = 32
sources = ["simulated", "simulated-sat"]
model = "edge-members"
places = [
  { name = "Amsterdam", lat = 52.3728, lon = 4.8936 },
  { name = "Rotterdam", lat = 51.9225, lon = 4.4792 },
  { name = "The Hague", lat = 52.0767, lon = 4.2986 },
  { name = "Utrecht", lat = 52.0908, lon = 5.1222 },
  { name = "Eindhoven", lat = 51.4408, lon = 5.4778 },
  { name = "Groningen", lat = 53.2189, lon = 6.5675 },
  { name = "Maastricht", lat = 50.8514, lon = 5.691 },
  { name = "Arnhem", lat = 51.985, lon = 5.8983 },
  { name = "Zwolle", lat = 52.5125, lon = 6.0944 },
  { name = "Leeuwarden", lat = 53.2014, lon = 5.8086 },
  { name = "Middelburg", lat = 51.4997, lon = 3.6136 },
  { name = "Den Helder", lat = 52.9533, lon = 4.76 },
  { name = "Enschede", lat = 52.2185, lon = 6.8958 },
  { name = "De Bilt", lat = 52.1093, lon = 5.181 },
  { name = "Antwerp", lat = 51.2178, lon = 4.4003 },
  { name = "Ghent", lat = 51.0536, lon = 3.7253 },
]

[regions.alps]
title = "Alps (simulated)"
crs = "EPSG:2056"
x0 = 2481000.0
y0 = 1319000.0
cell = 2000.0
height = 128
width = 192
margin = 32
sources = ["simulated", "simulated-sat"]
model = "edge"
places = [
  { name = "Zurich", lat = 47.3744, lon = 8.5411 },
  { name = "Geneva", lat = 46.2044, lon = 6.1432 },
  { name = "Basel", lat = 47.5547, lon = 7.5906 },
  { name = "Bern", lat = 46.948, lon = 7.4474 },
  { name = "Lausanne", lat = 46.5197, lon = 6.6323 },
  { name = "Lucerne", lat = 47.0502, lon = 8.3093 },
  { name = "St. Gallen", lat = 47.4245, lon = 9.3767 },
  { name = "Lugano", lat = 46.0037, lon = 8.9511 },
  { name = "Chur", lat = 46.8508, lon = 9.532 },
  { name = "Sion", lat = 46.2331, lon = 7.3606 },
  { name = "Davos", lat = 46.8027, lon = 9.836 },
  { name = "Zermatt", lat = 46.0207, lon = 7.7491 },
  { name = "Locarno", lat = 46.1709, lon = 8.7995 },
  { name = "Fribourg", lat = 46.8065, lon = 7.162 },
  { name = "Payerne", lat = 46.822, lon = 6.938 },
  { name = "Como", lat = 45.8081, lon = 9.0852 },
]
"""


class _Table(BaseModel):
    """A `[regions.NAME]` table, as it stands in the file."""

    model_config = ConfigDict(extra="forbid")

    title: str = ""
    crs: str
    x0: float
    y0: float
    cell: float
    height: int
    width: int
    sources: tuple[str, ...]
    model: str = "advection"
    margin: int = MARGIN
    places: tuple[Place, ...] = ()
    gate: dict[str, float] = {}
    fusion: FusionOptions = FusionOptions()

    def region(self, name: str) -> Region:
        grid = Grid(self.crs, self.x0, self.y0, self.cell, self.cell, self.height, self.width)
        CRS.from_user_input(self.crs)  # fail here, with the region's name, not in the first cycle
        gate = Thresholds.of(self.gate, f"[regions.{name}.gate]")
        title = self.title or name
        return Region(name, title, grid, self.sources, self.model, self.margin, self.places, gate, self.fusion)


def read_regions(path: Path | None) -> Regions:
    """Return the regions of a TOML file, or the two simulated demonstration regions without one.

    Raises
    ------
    ConfigError
        With the file, the region and what is wrong with it.
    """
    try:
        text = path.read_text("utf-8") if path else DEMO
        tables = tomllib.loads(text).get("regions", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}; give a regions file or unset NOWCAST_REGIONS_FILE") from error
    if not tables:
        raise ConfigError(f"{path}: no [regions.NAME] table; add one as in the README")
    return Regions({name: _region(name, table, path) for name, table in tables.items()})


def _region(name: str, table: object, path: Path | None) -> Region:
    try:
        return _Table.model_validate(table).region(name)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: region {name!r}: {told}; correct it") from error
    except (ValueError, CRSError) as error:
        raise ConfigError(f"{path}: region {name!r}: {error}; correct it") from error
