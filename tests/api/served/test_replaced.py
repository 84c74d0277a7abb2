"""What a request reads is replaced meanwhile: it is answered from what there is now, 503 only if that goes too."""

import numpy as np
import pytest

from api import live
from tests.api.served import made as served
from tests.api.served.made import GRID, LEADS, base_time

EDR = "/edr/collections/alps_rain"
PATHS = [
    f"{EDR}/position?coords=POINT(8.31 47.05)",
    f"{EDR}/instances/{{stamp}}/position?coords=POINT(8.31 47.05)",
    f"{EDR}/area?coords=POLYGON((8 46.9,8.2 46.9,8.2 47,8 46.9))",
    f"{EDR}/cube?bbox=8,46.9,8.2,47&f=NetCDF",
    f"{EDR}/trajectory?coords=LINESTRING(8.31 47.05,8.4 47)",
    "/v1/files/alps/{stamp}.nc",
    "/v1/files/alps/{stamp}.pysteps.nc",
    "/v1/files/alps/{stamp}/rain_mean/5.tif",
    "/v1/files/alps/{stamp}/accumulated/5.tif",
    "/v1/zarr/alps/{stamp}/rain_mean/c/0/0/0",
    "/v1/images/alps/{stamp}/rain_mean/5.png",
    "/v1/images/alps/{stamp}/accumulated/5.png",
    "/v1/regions/alps/timeline",
    "/v1/tiles/alps/{stamp}/rain_mean/30/7/66/44.png",
    "/v1/forecast?lat=47.05&lon=8.31",
    "/v1/forecast.csv?lat=47.05&lon=8.31",
    "/v2/radar/{seconds}-30/256/7/66/44/2/1_1.png",
]


@pytest.fixture
def behind(app, monkeypatch):
    """The watch looks only when it is told to."""
    monkeypatch.setattr(live, "LOOK_SECONDS", 600)
    return app.state.services


def look(services, client):
    """Let the watch look once, and believe it for the rest of the test."""
    assert client.get("/v1/regions").status_code == 200
    services.watch.trusted_seconds = 600


def rerun(store, base):
    return served.publish(store, base, mean=np.full((LEADS, *GRID.shape), 7, np.float32))


@pytest.mark.parametrize("path", PATHS)
def test_a_request_for_a_run_that_was_replaced_gets_the_one_in_its_place(behind, store, client, path):
    base = base_time()
    first = served.publish(store, base)
    path = path.format(stamp=f"{base:%Y%m%dT%H%M%SZ}", seconds=f"{base.timestamp():.0f}")
    look(behind, client)
    second = rerun(store, base)
    assert behind.watch.newest("alps").id == first
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert behind.watch.newest("alps").id == second
    again = client.get(path)
    assert answer.headers.get("etag") == again.headers.get("etag")
    if "timeline" not in path and "/v1/forecast?" not in path and "NetCDF" not in path:  # which tell the time
        assert answer.content == again.content


@pytest.mark.parametrize("path", PATHS)
def test_who_cannot_be_told_of_a_newer_one_is_told_to_come_back(behind, store, client, path, monkeypatch):
    if "/v1/forecast" in path:
        pytest.skip("points look for themselves")
    base = base_time()
    served.publish(store, base)
    look(behind, client)
    rerun(store, base)

    async def nothing():
        pass

    monkeypatch.setattr(behind.watch, "renew", nothing)
    answer = client.get(path.format(stamp=f"{base:%Y%m%dT%H%M%SZ}", seconds=f"{base.timestamp():.0f}"))
    assert answer.status_code == 503
    assert "has been replaced; ask again" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 0


def test_a_picture_of_an_observation_that_is_revised_meanwhile_shows_the_revision(store, app, client, monkeypatch):
    base = base_time()
    served.publish(store, base)
    served.observe(store, base)
    observations = app.state.services.store.observations
    plane = observations.plane

    def revised(observation, window):
        served.observe(store, base, np.full(GRID.shape, 5, np.float32), digest="e" * 64)
        return plane(observation, window)

    for path in (
        f"/v1/images/alps/observed/{base:%Y%m%dT%H%M%SZ}.png",
        f"/v1/tiles/alps/{base:%Y%m%dT%H%M%SZ}/rain_mean/0/7/66/44.png",
    ):
        served.observe(store, base, digest="d" * 64)
        monkeypatch.setattr(observations, "plane", revised)
        answer = client.get(path)
        monkeypatch.setattr(observations, "plane", plane)
        assert answer.status_code == 200, answer.text
        assert answer.content == client.get(path).content


def test_many_who_meet_a_replaced_run_share_a_look(behind, store, monkeypatch):
    """Else each of them would look, one after another, before it is answered."""
    import asyncio

    served.publish(store, base_time())
    looks, refresh = [], behind.watch._refresh
    monkeypatch.setattr(behind.watch, "_refresh", lambda: looks.append(1) or refresh())

    async def ask():
        await behind.watch.ensure()
        await asyncio.gather(*(behind.watch.renew() for _ in range(50)))

    asyncio.run(ask())
    assert len(looks) <= 3
