"""The life of models, judged on what was then seen: real frames, engines and databases; only the time is ours."""

import shutil
from datetime import timedelta

import pytest

from engines.plan import shipped_plan
from jobs.drive import Drive
from jobs.registry import register
from nowcast.config import Settings
from nowcast.errors import LifeError
from nowcast.life import State, Transition
from nowcast.region import Region, Regions
from tests.jobs.feeds import BASE, GRID, minutes, rain_at, write
from tests.jobs.models import spoiled_plan


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory):
    return spoiled_plan(tmp_path_factory.mktemp("spoiled"), rain=0.6)


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    return spoiled_plan(tmp_path_factory.mktemp("still"), motion=0)


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path, database_url=f"sqlite:///{tmp_path / 'nowcast.db'}", engine_threads=1)


def one_region(model="advection"):
    return Regions({"alps": Region("alps", "Alps", GRID, ("cf",), model, margin=0)})


@pytest.fixture
def drive(settings):
    made = Drive.open(settings, one_region(), BASE)
    yield made
    made.close()


def feed(drive, count, start=0):
    """Frames every five minutes, each seen half a minute after its time."""
    for k in range(start, start + count):
        time = BASE + minutes(5 * k)
        path = write(drive.cycle.feed.folder, time)
        seen = time + timedelta(seconds=30)
        drive.deliver(path, "cf", seen, path.name)
        report = drive.look(seen)
        assert not report.failed or k == 0, report.failed


def step(drive, model, state, regions=(), why="test"):
    now = drive.cycle.clock.now()
    drive.cycle.store.models.step(Transition(model, "advection", State(state), regions, "me", now, why))


def candidate(drive, settings, plan, name, family="advection"):
    register(drive.cycle.store, settings.models_dir, plan, name, family, "me", "test", drive.cycle.clock.now())


def by_maker(drive, score="crps-quantiles"):
    found = {}
    for s in drive.cycle.store.verification.summary("alps", BASE - minutes(60), BASE + minutes(600)):
        if s.score == score:
            found.setdefault(s.made_by, {})[s.lead_minutes] = s.value
    return found


def test_runs_are_scored_when_their_time_has_been_observed(drive):
    feed(drive, 9)
    crps = by_maker(drive)
    assert set(crps) == {"advection", "persistence"}
    assert set(crps["advection"]) == {5, 10, 15, 30}
    for lead in (10, 15, 30):
        assert crps["advection"][lead] < 0.6 * crps["persistence"][lead]
    assert by_maker(drive, "mae")["advection"] == pytest.approx(crps["advection"]), (
        "of one value, the CRPS is the error"
    )
    csi = by_maker(drive, "csi")
    assert csi["advection"][15] > csi["persistence"][15]
    first = drive.cycle.store.verification.series("alps", ["advection"], BASE, BASE + minutes(60))
    assert {r.base_time for r in first} == {BASE + minutes(5 * k) for k in range(1, 8)}, "one frame gives no run"


def test_runs_of_a_source_that_looks_every_two_minutes_are_scored_at_odd_leads_too(drive):
    for k in range(0, 26, 2):
        time = BASE + minutes(k)
        write(drive.cycle.feed.folder, time)
        for seconds in (30, 40):
            drive.look(time + timedelta(seconds=seconds))
    crps = by_maker(drive)
    assert set(crps["advection"]) == set(crps["persistence"]) == {5, 10, 15}
    first = drive.cycle.store.verification.series("alps", ["advection"], BASE, BASE + minutes(60))
    five = {r.base_time for r in first if r.lead_minutes == 5}
    bases = {r.base_time for r in drive.cycle.store.runs("alps")}
    assert five == {b for b in bases if b <= BASE + minutes(20)}


def test_an_observation_is_scored_once_and_its_revision_again(drive):
    feed(drive, 5)
    before = drive.cycle.store.scores("alps", 10000)
    drive.look(BASE + minutes(21))
    assert drive.cycle.store.scores("alps", 10000) == before
    write(drive.cycle.feed.folder, BASE + minutes(20), name="revised.nc", rate=2 * rain_at(BASE + minutes(20)))
    for _ in range(2):
        drive.look(BASE + minutes(22))
    after = drive.cycle.store.scores("alps", 10000)
    assert len(after) == len(before)
    assert after != before


def test_a_shadow_runs_beside_and_is_never_served(drive, settings, spoiled):
    candidate(drive, settings, spoiled, "dry")
    step(drive, "dry", "shadow")
    feed(drive, 8)
    runs = drive.cycle.store.runs("alps")
    assert {(r.model, r.state) for r in runs} == {("advection", "promoted")}
    crps = by_maker(drive)
    assert crps["dry"][15] > 1.2 * crps["advection"][15]
    assert drive.cycle.store.trials.models("alps", runs[0].base_time) == ["dry"]


def test_a_canary_that_falls_behind_is_rolled_back_by_itself_and_the_incumbent_serves_again(drive, settings, spoiled):
    candidate(drive, settings, spoiled, "dry")
    step(drive, "dry", "shadow")
    feed(drive, 4)
    step(drive, "dry", "canary", ("alps",))
    drive.look(BASE + minutes(16))
    canary = drive.cycle.store.newest("alps")
    assert (canary.model, canary.state, canary.base_time) == ("dry", "canary", BASE + minutes(15))
    feed(drive, 16, start=4)
    last = drive.cycle.store.models.history("dry")[-1]
    assert (last.state, last.who) == ("rolled-back", "nowcast")
    assert last.numbers["low"] > 0
    assert "falls behind advection" in last.why
    # the pass that decided had served it already: the next look, seconds later, serves the same base time again
    rolled_back = drive.cycle.store.runs("alps", limit=50)
    when = last.at
    drive.look(drive.clock.time + timedelta(seconds=5))
    newest = drive.cycle.store.newest("alps")
    assert (newest.model, newest.state) == ("advection", "promoted")
    after = [r for r in drive.cycle.store.runs("alps", limit=50) if r.published_at > when + minutes(1)]
    assert all(r.model == "advection" for r in after)
    assert len(rolled_back) == len({r.base_time for r in rolled_back})


def test_rollback_serves_the_incumbent_at_the_next_look_and_readers_never_miss(drive, settings, spoiled):
    candidate(drive, settings, spoiled, "dry")
    feed(drive, 4)
    for state, regions in (("shadow", ()), ("canary", ("alps",))):
        step(drive, "dry", state, regions)
    drive.look(BASE + minutes(16))
    assert drive.cycle.store.newest("alps").model == "dry"
    step(drive, "dry", "rolled-back")
    assert drive.cycle.store.point("alps", 30, 30) is not None
    drive.look(BASE + minutes(16) + timedelta(seconds=5))
    newest = drive.cycle.store.newest("alps")
    assert (newest.model, newest.state, newest.base_time) == ("advection", "promoted", BASE + minutes(15))


def test_where_a_promoted_models_plan_is_not_the_regions_own_model_serves_until_it_is(drive, settings, still):
    candidate(drive, settings, still, "still")
    for state in ("shadow", "canary", "promoted"):
        step(drive, "still", state, ("alps",) if state == "canary" else ())
    feed(drive, 3)
    place, away = settings.models_dir / "still", settings.models_dir / "away"
    place.rename(away)  # as on a second machine that takes over
    feed(drive, 1, start=3)
    drive.look(BASE + minutes(16))
    place.mkdir()
    (place / "plan.json").write_text('{"spec"')
    feed(drive, 1, start=4)
    shutil.rmtree(place)
    away.rename(place)
    drive.look(BASE + minutes(21))
    runs = drive.cycle.store.runs("alps")
    shown = [(run.model, "lower-rung" in run.flags) for run in sorted(runs, key=lambda run: run.base_time)]
    assert shown[-3:] == [("still", False), ("advection", True), ("still", False)]
    assert drive.cycle.store.last_run_id() == len(runs) + 1, "made again once, when the plan was back"


def test_a_better_model_is_promoted_on_evidence_and_a_worse_one_is_not(settings, still):
    register_as_shipped(settings, still, "dull")
    drive = Drive.open(settings, one_region("dull"), BASE)
    judge = drive.after.judge
    judge.least_cycles = 24
    for name, plan in (("sharp", shipped_plan("advection")), ("same", still)):
        candidate(drive, settings, plan, name, "dull")
        judge.promote(name, State.SHADOW, (), "me", "test", drive.clock.time)
    feed(drive, 10)
    judge.promote("sharp", State.CANARY, ("alps",), "me", "test", drive.clock.time)
    with pytest.raises(LifeError, match="at least 24 are needed"):
        judge.promote("sharp", State.PROMOTED, (), "me", "test", drive.clock.time)
    feed(drive, 24, start=10)
    judge.promote("sharp", State.PROMOTED, (), "me", "proven", drive.clock.time)
    last = drive.cycle.store.models.history("sharp")[-1]
    assert last.numbers["high"] < 0
    assert all(change >= -0.01 for change in last.numbers["csi"].values())
    judge.promote("same", State.CANARY, ("alps",), "me", "test", drive.clock.time)
    with pytest.raises(LifeError, match="must be below 0"):
        judge.promote("same", State.PROMOTED, (), "me", "test", drive.clock.time)
    assert drive.cycle.store.models.lives().incumbent(one_region("dull")["alps"]) == "sharp"
    drive.close()


def register_as_shipped(settings, plan, name):
    from dataclasses import replace

    from engines.plan import write_plan

    write_plan(settings.models_dir / name, replace(plan.spec, name=name), plan.graph(), plan.golden(), plan.versions)


@pytest.mark.parametrize(
    ("states", "last", "told"),
    [
        ((), "shadow", "is not known and cannot become shadow"),
        (("candidate",), "promoted", "is candidate and cannot become promoted"),
        (("candidate", "shadow", "canary", "rolled-back"), "shadow", "register it again under a new name"),
        (("candidate", "retired"), "candidate", "nothing"),
    ],
)
def test_steps_that_are_not_allowed(drive, states, last, told):
    for state in states:
        step(drive, "m", state)
    with pytest.raises(LifeError, match=told):
        step(drive, "m", last)


def test_of_promoted_models_one_is_kept_to_go_back_to(drive):
    for name in ("a", "b", "c"):
        for state in ("candidate", "shadow", "canary", "promoted"):
            step(drive, name, state)
    lives, region = drive.cycle.store.models.lives(), drive.cycle.regions["alps"]
    assert {s.model: str(s.state) for s in lives.all()} == {"a": "retired", "b": "promoted", "c": "promoted"}
    assert lives.incumbent(region) == "c"
    step(drive, "c", "rolled-back")
    assert drive.cycle.store.models.lives().incumbent(region) == "b"
