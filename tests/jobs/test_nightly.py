"""The night: from the archive that the cycle wrote to a candidate in the shadow, or to the reason why there is none."""

from dataclasses import replace
from datetime import timedelta

import pytest

from engines.keys import make_key
from engines.planstore import Shelf
from jobs.drive import Drive
from jobs.judge import Judge
from jobs.nightly import Night
from nowcast.config import Settings
from nowcast.models import registry
from nowcast.region import Region, Regions
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
    from nowcast.store.store import Store

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


def test_a_graph_that_is_not_of_the_trained_weights_is_refused_by_the_gate(archived, store, monkeypatch):
    import engines.export
    from engines.golden import make_cases, pack
    from engines.plan import shipped_plan, write_plan
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
