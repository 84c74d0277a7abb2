"""EUMETNET's MetOcean profile of EDR, core class: its requirements 7.2 to 7.12, one by one, and EDR's conformance.

They are what metno's `sedr` looks at. `sedr` itself is on no package index, so it cannot be installed by a command here
(docs/api.md); these are the same requirements, written from the profile.
"""

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
        f"{root}/ogcapi-edr-1/1.2/req/oas31",
    } <= set(told)


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
