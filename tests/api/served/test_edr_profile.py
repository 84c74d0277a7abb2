"""EUMETNET's MetOcean profile of EDR, core class: its requirements 7.2 to 7.12, one by one, and EDR's conformance.

They are what metno's `sedr` and OGC's schemas look at. Those are on no package index, so `make check-edr` runs them
where somebody has them (docs/api.md); here is the same, written from the profile, and what they once found.
"""

import re

import httpx
import pytest

from tests.api.served import made as served
from tests.api.served.made import base_time

LENGTHS = {"m", "km", "mi", "nmi"}


@pytest.fixture
def collections(store, client):
    served.publish(store, base_time(), members=True)
    served.publish(store, base_time(), "lowlands")
    found = client.get("/edr/collections").json()["collections"]
    assert len(found) > 4
    instances = [c for one in found for c in client.get(f"/edr/collections/{one['id']}/instances").json()["instances"]]
    return [*found, *instances]


def links(body, rel):
    return [link for link in body["links"] if link["rel"] == rel]


def test_conformance_classes(client):
    told = client.get("/edr/conformance").json()["conformsTo"]
    root = "http://www.opengis.net/spec"
    assert {
        f"{root}/ogcapi-common-1/1.0/conf/core",
        f"{root}/ogcapi-common-2/1.0/conf/collections",
        f"{root}/ogcapi-edr-1/1.1/conf/core",
        f"{root}/ogcapi-edr-1/1.2/conf/core",
        f"{root}/ogcapi-edr-1/1.2/req/oas31",
    } <= set(told)


def test_openapi_declares_each_parameter_of_a_path(client):
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for operation in operations.values():
            declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)", path)), path


def test_collections_link_to_their_queries(collections):
    for one in collections:
        queries = {name: query["link"] for name, query in one["data_queries"].items()}
        assert all({"href", "rel", "type"} <= set(link) for link in (*one["links"], *queries.values()))
        data = [link["href"] for link in links(one, "data")]
        assert {link["href"] for name, link in queries.items() if name != "instances"} <= set(data)
        # What clients append `/position` to: the first `data` link.
        assert queries["position"]["href"] == f"{data[0]}/position"


def test_data_queries_tell_all_that_edr_wants(collections):
    for one in collections:
        for name, query in one["data_queries"].items():
            variables = query["link"]["variables"]
            assert variables["query_type"] == name
            if name != "instances":
                assert variables["description"]
                assert variables["default_output_format"] in variables["output_formats"]
        assert one["data_queries"]["cube"]["link"]["variables"]["height_units"] == []


def test_7_2_openapi_and_documentation(client):
    landing = client.get("/edr").json()
    (described,) = links(landing, "service-desc")
    assert "application/vnd.oai.openapi+json;version=3.1" in described["type"]
    assert httpx.get(described["href"]).json()["openapi"].startswith("3.1")
    (documented,) = links(landing, "service-doc")
    assert documented["type"] == "text/html"
    page = httpx.get(documented["href"])
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")


def test_7_4_and_7_5_title_and_license(collections):
    for one in collections:
        assert 0 < len(one["title"]) <= 50
        (license_,) = links(one, "license")
        assert license_["type"] == "text/html"


def test_7_6_and_7_7_extents(collections):
    for one in collections:
        assert one["extent"]["temporal"]["trs"] == "Gregorian"
        assert one["extent"]["spatial"]["crs"] == "OGC:CRS84"
        assert len(one["extent"]["spatial"]["bbox"]) == 1
        assert "OGC:CRS84" in one["crs"]
        for query in one["data_queries"].values():
            details = query["link"]["variables"].get("crs_details")
            assert details is None or "OGC:CRS84" in [detail["crs"] for detail in details]


def test_7_10_parameters(collections):
    for one in collections:
        for name, parameter in one["parameter_names"].items():
            assert {"label", "description", "unit"} <= set(parameter), name
            assert len(parameter["label"]) <= 50
            assert parameter["unit"]["symbol"]["type"].startswith("https://qudt.org/vocab/unit/")
            assert parameter["observedProperty"]["id"].startswith("https://vocab.nerc.ac.uk/standard_name/")


def test_7_11_radius(collections):
    for one in collections:
        units = one["data_queries"]["radius"]["link"]["variables"]["within_units"]
        assert "m" in units
        assert set(units) <= LENGTHS


def test_7_12_locations(client, collections):
    for path in ("alps_rain", "alps_rain/instances/latest", "lowlands_rain"):
        answer = client.get(f"/edr/collections/{path}/locations")
        assert answer.headers["content-type"] == "application/geo+json"
        body = answer.json()
        assert body["type"] == "FeatureCollection"
        assert body["features"]
        for feature in body["features"]:
            assert isinstance(feature["id"], str)
            assert isinstance(feature["properties"]["name"], str)


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("locations", {}),
        ("locations/lucerne", {"f": "GeoJSON"}),
        ("position", {"f": "GeoJSON", "coords": "MULTIPOINT((8.31 47.05),(8.4 46.9))"}),
        ("cube", {"f": "GeoJSON", "bbox": "8.3,47,8.33,47.02"}),
        ("trajectory", {"f": "GeoJSON", "coords": "LINESTRING(8.31 47.05,8.4 47.0)"}),
    ],
)
def test_geojson_is_edr_geojson(client, collections, query, params):
    for path in ("alps_rain", "alps_rain/instances/latest"):
        body = client.get(f"/edr/collections/{path}/{query}", params=params).json()
        assert [link["rel"] for link in body["links"]] == ["self", "collection"]
        assert client.get(body["links"][0]["href"]).json() == body
        assert [p["id"] for p in body.get("parameters", [])] in (
            [],
            body["features"][0]["properties"]["parameter-name"],
        )
        for feature in body["features"]:
            told = feature["properties"]
            assert isinstance(told["datetime"], str)
            assert told["label"]
            there = client.get(told["edrqueryendpoint"]).json()
            assert list(there["ranges"]) == told["parameter-name"]


def test_a_feature_says_when_and_where_its_values_hold(client, collections):
    params = {"f": "GeoJSON", "coords": "POINT(8.31 47.05)", "parameter-name": "rain_mean"}
    (feature,) = client.get("/edr/collections/alps_rain/position", params=params).json()["features"]
    told = feature["properties"]
    assert told["datetime"] == f"{told['times'][0]}/{told['times'][-1]}"
    assert len(told["times"]) == len(told["rain_mean"]) == served.LEADS
    there = client.get(told["edrqueryendpoint"]).json()
    assert there["domain"]["axes"]["t"]["values"] == told["times"]
    assert there["ranges"]["rain_mean"]["values"] == told["rain_mean"]
