"""A canary that falls behind, seen from outside: a real worker, a real API, requests all the time."""

import time

import pytest

from jobs.registry import register
from nowcast.life import State, Transition
from tests.jobs.asker import Asker
from tests.jobs.models import spoiled_plan
from tests.jobs.mortal import Installation


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_bad_canary_is_rolled_back_by_itself_within_a_minute_and_no_request_fails(database_url, tmp_path):
    plan = spoiled_plan(tmp_path / "bad", rain=0.4)
    with Installation(tmp_path, database_url, speed=240) as place:
        place.start()
        place.wait_for_news()

        def step(state, regions=()):
            place.store.models.step(
                Transition("dry", "advection", state, regions, "me", place.clock.now(), "on purpose")
            )

        register(place.store, place.settings.models_dir, plan, "dry", "advection", "me", "bad", place.clock.now())
        step(State.SHADOW)
        with place.serve() as address, Asker(address) as asker:
            enough = lambda: len(scored(place, "dry")) >= 24  # noqa: E731  twelve cycles of two regions
            place.wait(enough, "evidence from the shadow", seconds=240)
            step(State.CANARY, ("coast",))
            began = time.monotonic()
            place.wait(lambda: place.store.models.lives().now("dry").state is State.ROLLED_BACK, "the rollback", 240)
            decided = time.monotonic()
            place.wait(lambda: place.store.newest("coast").model == "advection", "the incumbent")
            serves = time.monotonic()
            place.wait_for_news()
        last = place.store.models.history("dry")[-1]
        assert last.who == "nowcast"
        assert last.numbers["low"] > 0
        assert asker.failed == []
        assert asker.count > 100
        assert asker.models[-1] == "advection"
        print(
            f"{asker.count} requests; rolled back after {decided - began:.1f} s, served {serves - decided:.1f} s later"
        )
        assert serves - decided < 60
        assert place.examine(once=False) == [], "the canary's last base time is made again by the incumbent"


def scored(place, model):
    since, until = place.settings.clock_epoch.replace(year=2020), place.clock.now()
    return {
        (r.region, r.base_time)
        for name in ("alps", "coast")
        for r in place.store.verification.series(name, [model], since, until)
    }
