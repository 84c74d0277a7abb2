"""schemathesis over the whole OpenAPI document, in process: no 5xx, every answer as declared, each within its time."""

import pytest

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import data, sampled_from
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.main import create_app
from nowcast.config import Settings
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.api.served import made as served

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SECONDS = 5.0
EXAMPLES = 12


@pytest.fixture(scope="module")
def base():
    return served.base_time()


@pytest.fixture(scope="module")
def schema(tmp_path_factory, base):
    url = f"sqlite:///{tmp_path_factory.mktemp('contract') / 'nowcast.db'}"
    upgrade(url)
    store = Store.open(url)
    store.put_regions(served.regions())
    for region in ("alps", "lowlands"):
        served.publish(store, base, region, members=True)
        served.observe(store, base, region=region)
    app = create_app(Settings(database_url=url))
    loaded = schemathesis.openapi.from_asgi("/openapi.json", app).exclude(path="/v1/events")  # it never ends
    yield loaded
    app.state.services.store.close()
    store.close()


def known(base):
    """Values that exist, by parameter: half of the requests use them, so that they come past the first check."""
    stamp = base.isoformat().replace("+00:00", "Z")
    return {
        "path_parameters": {
            "region": ["alps", "lowlands", "mosaic"],
            "base_time": [stamp, "latest"],
            "valid_time": [stamp],
            "product": ["rain_mean", "prob_1", "accumulated"],
            "lead": ["0", "5", "120"],
            "lead_minutes": ["5", "120"],
            "z": ["0", "6"],
            "x": ["0", "33"],
            "y": ["0", "22"],
            "form": ["png", "webp"],
            "collection": ["alps_rain", "alps_chance", "lowlands_amount"],
            "instance": ["latest", stamp],
            "location": ["zurich"],
            "name": ["rain"],
            "key": ["zarr.json", "rain_mean/c/0/0/0", "rain_mean/c/0/1/1", "x/c/0"],
            "frame": [f"{base.timestamp():.0f}", f"{base.timestamp():.0f}-30"],
            "size": ["256"],
            "color": ["2"],
        },
        "query": {
            "lat": [47.05],
            "lon": [8.31],
            "coords": [
                "POINT(8.31 47.05)",
                "POLYGON((8 46.9,8.2 46.9,8.2 47,8 46.9))",
                "LINESTRING(8.31 47.05,8.4 47)",
            ],
            "bbox": ["8,46.9,8.2,47"],
            "within": ["5"],
            "within-units": ["km"],
            "parameter-name": [None],
            "datetime": [None, stamp, f"{stamp}/.."],
            "f": [None, "CSV", "GeoJSON", "NetCDF"],
            "palette": [None],
        },
    }


def steer(case, data, values):
    """Put values that exist where the case has the parameter; None leaves it out."""
    for place, named in values.items():
        sent = getattr(case, place)
        for name, options in named.items():
            if sent is not None and name in sent:
                value = data.draw(sampled_from(options))
                if value is None:
                    del sent[name]
                else:
                    sent[name] = value


def break_it(operation, values):
    """Try one operation with made-up requests; raise what the first failing one shows, reduced."""

    @given(case=operation.as_strategy(), data=data(), steered=sampled_from([True, True, False]))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def answers(case, data, steered):
        if steered:
            steer(case, data, values)
        response = case.call()
        case.validate_response(response, checks=CHECKS)
        assert response.elapsed < SECONDS, f"{case.method} {case.path} took {response.elapsed:.1f} s"

    answers()


def test_every_answer_is_as_declared(schema, base):
    failed = {}
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 30
    for operation in operations:
        try:
            break_it(operation, known(base))
        except Exception as error:
            failed[operation.label] = error
    assert not failed, "\n\n".join(f"{name}: {error!r}" for name, error in failed.items())
