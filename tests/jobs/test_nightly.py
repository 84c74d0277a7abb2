"""The night: from the archive that the cycle wrote to a candidate in the shadow, or to the reason why there is none."""

from dataclasses import replace
from datetime import timedelta

import pytest

from engines.keys import make_key
from engines.plan import shipped_plan
from engines.planstore import Shelf
from jobs.drive import Drive
from jobs.judge import Judge
from jobs.nightly import Night
from nowcast.archive import Archive
from nowcast.config import Settings
from nowcast.decide import Comparison
from nowcast.life import State, Transition
from nowcast.models import registry
from nowcast.region import Region, Regions
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.jobs.feeds import BASE, GRID, minutes, write

for module in ("zarr", "torch", "onnxscript"):
    pytest.importorskip(module, reason="the night needs the extras `archive` and `reference`")

DAY = timedelta(days=1)
REGION = Region("alps", "Alps", GRID, ("cf",), "advection", margin=8)
NIGHT = (BASE + 2 * DAY).replace(hour=2)


def regions(model):
    return Regions({"alps": replace(REGION, model=model)})


def live(drive, start, count=13):
    for k in range(count):
        time = start + minutes(5 * k)
        path = write(drive.cycle.feed.folder, time)
        drive.deliver(path, "cf", time, path.name)
        drive.look(time + timedelta(seconds=30))


@pytest.fixture(scope="module")
def archived(tmp_path_factory):
    """A data folder with the archive of two days, an hour each."""
    folder = tmp_path_factory.mktemp("archived")
    settings = Settings(
        data_dir=folder, database_url=f"sqlite:///{folder / 'nowcast.db'}", engine_threads=1,
        archive_days=9, nightly_seconds=3, nightly_days=1,
    )  # fmt: skip
    drive = Drive.open(settings, regions("advection"), BASE)
    live(drive, BASE)
    live(drive, BASE + DAY)
    drive.close()
    return settings


@pytest.fixture(autouse=True)
def own_models(monkeypatch):
    """The night's models are known to this process; to the next test they are not."""
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))


def night(settings, store, family="edge"):
    return Night(store, Judge(store, regions(family)), family, settings)


@pytest.fixture
def store(archived):
    made = Store.open(archived.url)
    yield made
    made.close()


def told(done):
    return {d.step.rpartition(" ")[2]: d.state for d in done}


def test_what_there_is_nothing_to_train_with_is_told(archived, store):
    (done,) = night(archived, store, "advection").run(NIGHT)
    assert (done.state, done.told) == ("absent", "there is nothing to train in advection")
    (done,) = night(archived, store).run(NIGHT - DAY)
    assert done.state == "absent"
    assert "1 whole days archived, more than 1 are needed" in done.told


def test_what_a_night_that_was_killed_left_is_removed_and_nothing_else(archived, store, tmp_path):
    settings = Settings(**{**archived.model_dump(), "data_dir": tmp_path})
    names = ("alps-20260201", "alps-20260202", "alps-b-20260201")
    left = [settings.models_dir / f".work-edge-{name}" for name in names]
    for folder in left:
        (folder / "plan").mkdir(parents=True)
    list(night(settings, store).make(regions("edge")["alps"], NIGHT - DAY))
    assert [folder.exists() for folder in left] == [False, False, True]


def test_a_shadow_that_cannot_be_judged_does_not_end_the_night(tmp_path):
    settings = Settings(data_dir=tmp_path)
    upgrade(settings.url)
    store, known = Store.open(settings.url), dict(regions("edge").by_name)
    known["lowlands"] = replace(known["alps"], name="lowlands")
    ways = {
        "mine": ((State.SHADOW, ()),),
        "other": ((State.SHADOW, ()), (State.CANARY, ("alps",)), (State.PROMOTED, ("alps",))),
    }
    for model, steps in ways.items():
        for state, where in ((State.CANDIDATE, ()), *steps):
            store.models.step(Transition(model, "edge", state, where, "me", BASE, "test"))
    (done,) = Night(store, Judge(store, Regions(known)), "edge", settings, ("alps",)).advance(NIGHT)
    assert (done.step, done.state) == ("mine → canary", "refused")
    assert "have no common incumbent" in done.told
    store.close()


def test_a_graph_that_is_not_of_the_trained_weights_is_refused_by_the_gate(archived, store, monkeypatch):
    import engines.export
    from engines.golden import make_cases, pack
    from engines.plan import write_plan
    from engines.reference import TorchEngine, build_model, spec_of

    def mistaken(name, folder):
        spec, shipped = spec_of(build_model(name)), shipped_plan("edge")
        return write_plan(folder, spec, shipped.graph(), pack(make_cases(spec, TorchEngine(spec))), {})

    monkeypatch.setattr(engines.export, "export", mistaken)
    monkeypatch.setattr("nowcast.train.nightly.TABLE_RATE", 0.5)
    done = list(night(archived, store).run(NIGHT))
    assert told(done) == {"train": "done", "export": "done", "make": "failed"}
    assert "differs from the PyTorch reference" in done[-1].told
    assert store.models.lives().all() == []
    assert [path.name for path in archived.models_dir.glob("*") if not path.name.startswith(".motion")] == []


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_from_the_archive_to_a_signed_candidate_in_the_shadow(archived, store, tmp_path):
    make_key(tmp_path / "key")
    keys = {"plan_signing_key": str(tmp_path / "key"), "plan_keys": str(tmp_path / "key.pub")}
    settings = Settings(**{**archived.model_dump(), **keys})
    done = list(night(settings, store).run(NIGHT))
    assert told(done) == dict.fromkeys(("train", "export", "check", "score", "sign", "register", "shadow"), "done")
    name = "edge-alps-20260303"
    last = store.models.lives().now(name)
    assert (last.state, last.regions, last.who) == ("shadow", ("alps",), "nightly")
    entered = store.models.history(name)[0]
    assert entered.numbers["held_out"]["incumbent"] == "edge"
    assert entered.numbers["held_out"]["cycles"] >= 10
    assert Shelf(settings.plans_dir, name, "openvino", None).state().current.version == 1
    assert list(settings.models_dir.glob(".work*")) == []
    (again,) = night(settings, store).run(NIGHT + minutes(60))
    assert again.told == "it was made earlier today"
    drive = Drive.open(settings, regions("edge"), NIGHT)
    live(drive, NIGHT, 4)
    run = drive.cycle.store.newest("alps")
    assert (run.model, run.state) == ("edge", "promoted")
    assert name in drive.cycle.store.trials.models("alps", run.base_time)
    made = {s.made_by for s in drive.cycle.store.scores("alps", 10_000)}
    assert {name, "edge", "advection"} <= made
    drive.close()


@pytest.fixture
def made_at_once(tmp_path, monkeypatch):
    """A night with a store of its own, whose candidates take no training: the shipped plan, no better and no worse."""
    from nowcast.store.database import upgrade
    from nowcast.store.store import Store
    from nowcast.train.nightly import Trained

    def trained(model, days, work, motions, seconds):
        work.mkdir(parents=True)
        (work / "weights").write_bytes(b"")
        return Trained(work / "weights", 1, 1, 1)

    same = Comparison("", "edge", 12, 0.1, 0.1, 0.0, -0.01, 0.01)
    monkeypatch.setattr("nowcast.train.nightly.train_on_archive", trained)
    monkeypatch.setattr("nowcast.train.nightly.enter", lambda *_: None)
    monkeypatch.setattr("engines.export.export", lambda *_: shipped_plan("edge"))
    monkeypatch.setattr("jobs.nightly.prove", lambda *_: [])
    monkeypatch.setattr(Night, "compare", lambda *_: same)
    monkeypatch.setattr(Archive, "days", lambda *_: [tmp_path / "20260301.zarr", tmp_path / "20260302.zarr"])
    settings = Settings(data_dir=tmp_path, database_url=f"sqlite:///{tmp_path / 'own.db'}", nightly_days=1)
    upgrade(settings.url)
    store = Store.open(settings.url)
    two = Regions({name: replace(REGION, name=name, model="edge") for name in ("alps", "coast")})
    yield Night(store, Judge(store, two), "edge", settings)
    store.close()


def put(night, name, *states, regions=("alps",), who="me"):
    for state in ("candidate", *states):
        step = Transition(name, "edge", State(state), regions, who, NIGHT - DAY, "test")
        night.store.models.step(step)


def states(night):
    return {s.model: str(s.state) for s in night.store.models.lives().all()}


def test_a_night_retires_the_shadow_of_the_night_before_and_no_other(made_at_once):
    night = made_at_once
    put(night, "by-hand", "shadow")
    put(night, "canary", "shadow", "canary", who="nightly")
    put(night, "promoted", "shadow", "canary", "promoted", who="nightly")
    mine = states(night)
    put(night, "of-all", regions=())
    list(night.run(NIGHT))
    first = {"edge-alps-20260303": "shadow", "edge-coast-20260303": "shadow"}
    assert states(night) == {**mine, "of-all": "shadow", **first}, "a shadow of one region is none of another's"
    list(night.run(NIGHT + DAY))
    second = {"edge-alps-20260304": "shadow", "edge-coast-20260304": "shadow"}
    assert states(night) == {**mine, "of-all": "shadow", **dict.fromkeys(first, "retired"), **second}
    last = night.store.models.history("edge-alps-20260303")[-1]
    assert (last.who, last.at, last.why) == ("nightly", NIGHT + DAY, "superseded by edge-alps-20260304")
    steps = [s.model for s in night.store.models.history() if s.at == NIGHT + DAY and s.state != "candidate"]
    assert steps[:2] == ["edge-alps-20260303", "edge-alps-20260304"], "the earlier goes first"
    beside = night.store.models.lives().beside(night.judge.regions["alps"])
    assert [m for m in beside if m.startswith("edge-")] == ["edge-alps-20260304"]


def test_a_shadow_that_may_become_a_canary_has_its_days_to_prove_itself(made_at_once):
    night = replace(made_at_once, canaries=("alps",))
    for name in ("older", "newer"):
        put(night, name, "shadow", who="nightly")
    done = list(night.run(NIGHT))
    assert states(night) == {"older": "retired", "newer": "shadow", "edge-coast-20260303": "shadow"}
    (told,) = [d.told for d in done if d.step == "alps: train"]
    assert told == "newer is in the shadow with 0 verified cycles, 288 are needed to judge it"
    list(night.run(NIGHT + 2 * DAY))
    assert states(night)["newer"] == "retired"
    assert states(night)["edge-alps-20260305"] == "shadow"
