"""Hold every kind of EDR answer of a running API to the JSON schemas that OGC publishes.

    python scripts/edr_conformance.py --schemas FOLDER http://127.0.0.1:8000

FOLDER holds two files, which stay out of this repository:

- `ogcapi-environmental-data-retrieval-1-oas31.bundled.json` (EDR 1.2), from the root of
  github.com/opengeospatial/ogcapi-environmental-data-retrieval;
- `coveragejson.json` (CoverageJSON 1.0), from github.com/opengeospatial/CoverageJSON, standard/schema/build/2020-12/.

Every collection and its newest instance is asked for every data query, as CoverageJSON and as GeoJSON. What does not
fit is printed with its address, JSON path, value and rule, and the exit status is 1. Problems are held to RFC 9457:
EDR's `exception` is the schema of `application/json`, and ours are `application/problem+json`.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from jsonschema_rs import Draft202012Validator

EDR = "ogcapi-environmental-data-retrieval-1-oas31.bundled.json"
COVERAGE = "coveragejson.json"
TEXT = {"type": "string", "minLength": 1}
PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT},
}
GEOJSON = "edrFeatureCollectionGeoJSON"
METADATA = ("landingPage", "confClasses", "collections", "collection", "instances", "parameterNames")
MEDIA = {"coverage": "application/prs.coverage+json", GEOJSON: "application/geo+json"}
MEDIA |= {"problem": "application/problem+json", **dict.fromkeys(METADATA, "application/json")}


class Checker:
    """Asks, validates and counts: `fits` per schema, `faults` as text."""

    def __init__(self, client: httpx.Client, schemas: dict[str, Draft202012Validator]) -> None:
        self.client, self.schemas = client, schemas
        self.fits: Counter[str] = Counter()
        self.faults: list[str] = []

    def ask(self, path: str, schema: str, status: int = 200, **params: str) -> Any:  # noqa: ANN401  JSON
        """Ask for a path, hold the answer to a schema, and return it; 204 says that nothing was seen there."""
        answer = self.client.get(path, params=params)
        if answer.status_code == 204 and schema in ("coverage", GEOJSON):
            self.fits["nothing seen"] += 1
            return None
        media = answer.headers.get("content-type", "").partition(";")[0]
        if (answer.status_code, media) != (status, MEDIA[schema]):
            got = f"{answer.status_code} {media}: {answer.text[:200]}"
            sys.exit(f"{answer.url}: want {status} {MEDIA[schema]}, got {got}")
        body = answer.json()
        self.hold(body, schema, str(answer.url))
        return body

    def hold(self, body: object, schema: str, name: str) -> None:
        """Hold something to a schema."""
        found = list(self.schemas[schema].iter_errors(body))
        for error in found:
            where = "".join(f"[{part!r}]" for part in error.instance_path)
            rule = "/".join(map(str, error.schema_path))
            self.faults.append(f"{name}: ${where}: {error.message[:200]} (rule {rule})")
        self.fits[schema] += not found


def validators(folder: Path) -> dict[str, Draft202012Validator]:
    """Return a validator per kind of answer, or exit saying which file is missing."""
    missing = [name for name in (EDR, COVERAGE) if not (folder / name).is_file()]
    if missing:
        sys.exit(f"{folder} has no {' and no '.join(missing)}; --help says where they come from")
    components = json.loads((folder / EDR).read_text("utf-8"))["components"]
    referring = {n: {"$ref": f"#/components/schemas/{n}", "components": components} for n in (*METADATA, GEOJSON)}
    others = {"coverage": json.loads((folder / COVERAGE).read_text("utf-8")), "problem": PROBLEM}
    return {name: Draft202012Validator(schema) for name, schema in {**referring, **others}.items()}


def queries(x: float, y: float) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield a data query of each kind at a place, six kilometres wide or so."""
    east, north = x + 0.08, y + 0.05
    yield "position", {"coords": f"POINT({x} {y})"}
    yield "position", {"coords": f"MULTIPOINT(({x} {y}),({east} {north}))"}
    yield "area", {"coords": f"POLYGON(({x} {y},{east} {y},{east} {north},{x} {y}))"}
    yield "cube", {"bbox": f"{x},{y},{east},{north}"}
    yield "radius", {"coords": f"POINT({x} {y})", "within": "5", "within-units": "km"}
    yield "trajectory", {"coords": f"LINESTRING({x} {y},{east} {y},{east} {north})"}


def check(checker: Checker) -> None:
    """Ask for everything."""
    checker.ask("/edr", "landingPage")
    checker.ask("/edr/conformance", "confClasses")
    for told in checker.ask("/edr/collections", "collections")["collections"]:
        path = f"/edr/collections/{told['id']}"
        newest = checker.ask(f"{path}/instances", "instances")["instances"][0]["id"]
        for base in (path, f"{path}/instances/{newest}"):
            for name, parameter in checker.ask(base, "collection")["parameter_names"].items():
                checker.hold(parameter, "parameterNames", f"{base}, parameter {name}")
            for place in checker.ask(f"{base}/locations", GEOJSON)["features"]:
                for query, params in (*queries(*place["geometry"]["coordinates"]), (f"locations/{place['id']}", {})):
                    checker.ask(f"{base}/{query}", "coverage", **params)
                    checker.ask(f"{base}/{query}", GEOJSON, **params, f="GeoJSON")
        checker.ask(f"{path}/position", "problem", 400, coords="POINT(east north)")
        checker.ask(f"{path}/position", "problem", 404, coords="POINT(0 -80)")
        checker.ask(f"{path}/locations/nowhere-at-all", "problem", 404)
        checker.ask(f"{path}/instances/20000101T0000Z/position", "problem", 404, coords="POINT(0 0)")


def main() -> None:
    """Check an API; exit with 1 when an answer does not fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemas", type=Path, required=True, help="the folder of the two files")
    parser.add_argument("address", help="of the running API")
    asked = parser.parse_args()
    with httpx.Client(base_url=asked.address, timeout=30) as client:
        checker = Checker(client, validators(asked.schemas))
        check(checker)
    sys.stdout.write("".join(f"{fault}\n" for fault in checker.faults))
    sys.stdout.write(f"{len(checker.faults)} faults; answers that fit: {json.dumps(checker.fits)}\n")
    sys.exit(bool(checker.faults))


if __name__ == "__main__":
    main()
