"""EDR's metadata: landing page, conformance, collections, instances, locations."""

import re
from dataclasses import dataclass
from typing import Any

from api.edr.families import FAMILIES, Family, edr_parameter
from api.live import stamp
from nowcast.clock import STEP
from nowcast.errors import NotKept
from nowcast.run import Place, RegionRecord, Run

JSON = "application/json"
GEOJSON = "application/geo+json"
COVERAGE = "application/prs.coverage+json"
FORMATS = ("CoverageJSON", "GeoJSON", "CSV", "NetCDF")
QUERIES = {
    "position": "Values at a POINT, or at each of a MULTIPOINT",
    "area": "Values in a POLYGON or MULTIPOLYGON",
    "cube": "Values in a box, bbox=west,south,east,north; there are no heights",
    "radius": "Values around a POINT",
    "trajectory": "Values along a LINESTRING or LINESTRINGM, each position at its own time",
    "locations": "Named places, and the values at one of them",
}
CRS84_WKT = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433],AXIS["Longitude",EAST],AXIS["Latitude",NORTH]]'
)
CONFORMANCE = [
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/core",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.2/conf/core",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/oas31",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.2/req/oas31",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/covjson",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/geojson",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/edr-geojson",
]


@dataclass(frozen=True)
class Address:
    """Where something was asked for.

    Attributes
    ----------
    url
        The request's own.
    path
        That of the collection, or of its instance.
    """

    url: str
    path: str


def link(href: str, rel: str, kind: str = JSON, title: str = "") -> dict[str, str]:
    """Return a link."""
    return {"href": href, "rel": rel, "type": kind, "title": title or rel}


LICENSE = link("https://www.apache.org/licenses/LICENSE-2.0", "license", "text/html", "Apache-2.0 (software)")


def landing(root: str) -> dict[str, Any]:
    """Return the landing page."""
    host = root.removesuffix("/edr")
    return {
        "title": "nowcast",
        "description": "Rain in the next two hours, renewed every five minutes",
        "keywords": ["rain", "nowcast", "radar"],
        "provider": {"name": "nowcast", "url": host},
        "links": [
            link(f"{root}", "self", title="this page"),
            link(f"{host}/openapi.json", "service-desc", "application/vnd.oai.openapi+json;version=3.1", "OpenAPI 3.1"),
            link(f"{host}/docs", "service-doc", "text/html", "documentation"),
            link(f"{root}/conformance", "conformance", title="conformance classes"),
            link(f"{root}/collections", "data", title="collections"),
            LICENSE,
        ],
    }


def collection(
    root: str, region: RegionRecord, family: Family, run: Run, instance: str | None = None
) -> dict[str, Any]:
    """Return a collection, or one of its instances, as it stands with a run."""
    name = f"{region.name}_{family.name}"
    path = f"{root}/collections/{name}" + (f"/instances/{instance}" if instance else "")
    told: dict[str, Any] = {
        "id": instance or name,
        "title": f"{family.title}, {region.title}",
        "description": f"{family.title} in the {run.leads * 5} min after {stamp(run.base_time)}, by {run.model}",
        "keywords": ["rain", region.title, family.title],
        "links": [
            link(path, "self", title=f"{family.title}, {region.title}"),
            link(path, "data", title="queries"),  # the first `data` is what clients, sedr among them, append queries to
            *(link(f"{path}/{query}", "data", _media(query), query) for query in QUERIES),
            *([] if instance else [link(f"{path}/instances", "instances", title="runs")]),
            link(f"{path}/locations", "items", GEOJSON, "named places"),
            LICENSE,
        ],
        "extent": extent(region, run),
        "data_queries": {query: {"link": _query(path, query)} for query in QUERIES},
        "crs": ["OGC:CRS84"],
        "output_formats": list(FORMATS),
        "parameter_names": {p: edr_parameter(p) for p in family.products(run)},
    }
    if not instance:
        instances = link(f"{path}/instances", "data", title="instances")
        told["data_queries"]["instances"] = {"link": {**instances, "variables": {"query_type": "instances"}}}
    return told


def extent(region: RegionRecord, run: Run) -> dict[str, Any]:
    """Return where and when a run says something."""
    times = [stamp(run.base_time + (k + 1) * STEP) for k in range(run.leads)]
    return {
        "spatial": {"bbox": [list(region.grid.bounds)], "crs": "OGC:CRS84"},
        "temporal": {
            "interval": [[times[0], times[-1]]],
            "values": [f"R{run.leads - 1}/{times[0]}/PT5M"],
            "trs": "Gregorian",
        },
    }


def _media(query: str) -> str:
    return GEOJSON if query == "locations" else COVERAGE


def _query(path: str, query: str) -> dict[str, Any]:
    formats = [f for f in FORMATS if f != "NetCDF" or query != "trajectory"]
    variables: dict[str, Any] = {
        "title": query,
        "description": QUERIES[query],
        "query_type": query,
        "output_formats": formats,
        "default_output_format": "GeoJSON" if query == "locations" else "CoverageJSON",
        "crs_details": [{"crs": "OGC:CRS84", "wkt": CRS84_WKT}],
    }
    if query == "radius":
        variables["within_units"] = ["km", "m", "mi", "nmi"]
    if query == "cube":
        variables["height_units"] = []  # EDR wants it told; there are no heights
    return {**link(f"{path}/{query}", "data", _media(query)), "title": query, "variables": variables}


def families_of(run: Run) -> list[Family]:
    """Return the families of which a run has products."""
    return [family for family in FAMILIES if family.products(run)]


def slug(place: Place) -> str:
    """Return a place's id: its name in lower-case letters and '-'."""
    return re.sub(r"[^a-z0-9]+", "-", place.name.lower()).strip("-")


def place_of(region: RegionRecord, name: str) -> Place:
    """Return the place of that id, or raise `NotKept`."""
    for place in region.places:
        if slug(place) == name:
            return place
    raise NotKept(f"no location {name[:80]!r}; there are: {', '.join(map(slug, region.places)) or 'none'}")


def locations(region: RegionRecord, family: Family, run: Run, address: Address) -> dict[str, Any]:
    """Return a region's places as EDR GeoJSON."""
    start, end = stamp(run.base_time + STEP), stamp(run.base_time + run.leads * STEP)
    features = [
        {
            "type": "Feature",
            "id": slug(place),
            "geometry": {"type": "Point", "coordinates": [place.lon, place.lat]},
            "properties": {
                "name": place.name,
                "label": place.name,
                "datetime": f"{start}/{end}",
                "parameter-name": list(family.products(run)),
                "edrqueryendpoint": f"{address.path}/locations/{slug(place)}",
            },
        }
        for place in region.places
    ]
    return {"type": "FeatureCollection", "features": features, "links": geojson_links(address)}


def geojson_links(address: Address) -> list[dict[str, str]]:
    """Return the links of an EDR GeoJSON answer: itself, and what it is from."""
    return [link(address.url, "self", GEOJSON), link(address.path, "collection")]
