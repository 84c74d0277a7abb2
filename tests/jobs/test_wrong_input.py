"""Every command with what it cannot use: an error of ours, with the value and the remedy, and no traceback."""

import json
import os
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from typer.testing import CliRunner

from engines.keys import Keyring
from engines.manifest import Host, Manifest
from engines.plan import SHIPPED, read_plan, shipped_plan
from engines.planstore import Shelf
from jobs.cli import app
from jobs.registry import register
from nowcast.errors import NowcastError, StoreError
from nowcast.sources.simulated import write_files
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.jobs.test_oneshot import nowcast

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _logs_as_they_were():
    """Commands run in this process, and set up where it logs."""
    known = structlog.get_config()
    yield
    structlog.configure(**known)


@pytest.fixture
def folder(tmp_path):
    """A data folder with a migrated database, and beside it what people name by mistake."""
    upgrade(f"sqlite:///{tmp_path / 'data' / 'nowcast.db'}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "train.json").write_text(json.dumps({"data": "", "out": str(tmp_path / "out")}))
    return tmp_path


def typed(folder, line, **environment):
    """Return what became of a command line; `@name` in it is a path in the folder."""
    environment = {"NOWCAST_DATA_DIR": str(folder / "data"), **environment}
    return CliRunner().invoke(app, line.replace("@", f"{folder}/").split(), env=environment)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("engine promote 1 --runtime trt", "no runtime 'trt'; there are: tensorrt"),
        ("engine verify 1 --runtime trt", "no runtime 'trt'; there are: tensorrt"),
        ("engine rollback --runtime trt", "no runtime 'trt'; there are: tensorrt"),
        ("engine check --runtime trt", "no runtime 'trt'; there are: tensorrt"),
        ("engine keygen @binary", "binary is there already; give another name"),
        ("engine keygen @none/key", "none/key: its folder is not there; make it"),
        ("engine build --precision int8 --graph @none", "none: No such file or directory; `python"),
        ("engine export advection --folder @binary", "binary is a file and has to be a folder"),
        ("hindcast --from 2026-03-01 --to 2026-03-02 --model edgy", "no plan for model 'edgy'; there are: advection"),
        ("train --config @none", "none: [Errno 2] No such file or directory"),
        ("train --config @folder", "folder: [Errno 21] Is a directory"),
        ("train --config @binary", "docs/model-card.md has ours"),
        ("train --config @list.json", "docs/model-card.md has ours"),
        ("train --config @train.json --data @none", "none': [Errno 2] No such file or directory"),
        ("train --config @train.json --data @folder", "folder': no .npz, .nc or .zarr in it"),
        ("backup @data/nowcast.db", "that is the database itself"),
        ("model history edgy", "model 'edgy' is not known"),
        (f"model register mine {SHIPPED / 'edge'} --family edgy", "'edgy': no region has that model; there are: edge"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_told(folder, line, told):
    done = typed(folder, line)
    assert done.exit_code == 1
    assert isinstance(done.exception, NowcastError), done.exception
    assert told in str(done.exception)


@pytest.mark.parametrize("command", ["worker", "run", "db upgrade"])
def test_a_file_where_the_data_folder_should_be(folder, command):
    done = typed(folder, command, NOWCAST_DATA_DIR=str(folder / "binary"))
    assert isinstance(done.exception, NowcastError), done.exception
    assert "is a file and has to be a folder" in str(done.exception)


@pytest.mark.parametrize("speed", ["0", "-1", "5000"])
def test_a_clock_that_cannot_be_is_wrong_usage(folder, speed):
    assert typed(folder, f"run --speed {speed}").exit_code == 2


def test_a_doctor_survives_a_node_that_does_not_run(folder, monkeypatch):
    (folder / "node").write_text("#!/no/such/shell")
    (folder / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    assert "does not run" in typed(folder, "doctor", COLUMNS="200").output


@pytest.mark.parametrize("key", ["schlüssel.pub", "folder", "binary"])
def test_a_plan_key_that_is_none_is_named(folder, key):
    done = typed(folder, "engine list", NOWCAST_PLAN_KEYS=key if key[0] == "s" else str(folder / key))
    assert isinstance(done.exception, NowcastError), done.exception
    assert key in str(done.exception)


@pytest.mark.parametrize("command", ["forecast {} -o @folder", "inspect {} --png @folder"])
def test_a_folder_where_a_file_is_to_be_written(folder, command):
    files = list(write_files(folder / "feed", NOW - timedelta(minutes=20), NOW))
    radar = " ".join(str(path) for path in files if path.parent.name == "simulated")
    done = typed(folder, command.format(radar))
    assert isinstance(done.exception, NowcastError), done.exception
    assert "folder: Is a directory" in str(done.exception)
    assert not list(folder.glob(".*"))


def test_a_pass_by_hand_reads_all_that_has_arrived(folder, monkeypatch):
    """A worker leaves to its next look what takes long; a pass has none."""
    monkeypatch.setattr("nowcast.ingest.LONGEST_LOOK", -1.0)
    now = datetime.now(UTC)
    list(write_files(folder / "data" / "feed", now - timedelta(minutes=25), now))
    time.sleep(2.1)  # files settle
    done = typed(folder, "cycle")
    assert "lowlands: published" in done.output, done.output


def test_a_name_in_brackets_is_told_as_it_is(folder):
    """Rich takes what is in brackets for a style, and ends at `[/b]` where none began, as a product may be called."""
    radar = next(p for p in write_files(folder / "feed", NOW - timedelta(minutes=5), NOW) if "simulated" in str(p))
    done = typed(folder, f"inspect {radar.rename(radar.with_name('[red].nc'))}", COLUMNS="200")
    assert done.exit_code == 0, done.exception
    assert "[red].nc" in done.output


@pytest.mark.parametrize(
    ("times", "told"),
    [(("xx", "2026-03-02"), "'xx' is no time"), (("2026-03-02", "2026-03-01T12:00"), "is not after --from")],
)
def test_times_that_are_none_are_wrong_usage(folder, times, told):
    done = typed(folder, "hindcast --from {} --to {}".format(*times), COLUMNS="200")
    assert done.exit_code == 2
    assert told in done.output


def test_a_hindcast_without_an_archive_fails(folder):
    done = typed(folder, "hindcast --from 2026-03-01 --to 2026-03-02")
    assert done.exit_code == 1
    assert "lowlands: nothing archived" in done.output


def test_the_reference_is_held_against_its_own_golden_cases():
    done = nowcast("engine", "check", "--runtime", "torch", COLUMNS="120")
    assert done.returncode == 0, done.stderr
    assert "torch fp32, plan" in done.stdout


def test_a_plan_does_not_serve_when_the_database_cannot_be_told(folder):
    (folder / "empty").mkdir()
    settings = {"NOWCAST_DATA_DIR": str(folder / "empty"), "NOWCAST_PLAN_HMAC_KEY": 44 * "k"}
    assert typed(folder, "engine build", **settings).exit_code == 0
    assert typed(folder, "engine sign 1", **settings).exit_code == 0
    assert isinstance(typed(folder, "engine promote 1", **settings).exception, StoreError)
    assert "current" not in typed(folder, "engine list", COLUMNS="200", **settings).output


def test_of_damaged_plans_all_others_are_listed_and_each_is_named(folder):
    plans, spec = folder / "plans", shipped_plan("advection").spec
    for model in ("advection", "edge"):
        for version in (1, 2, 3):
            shelf = Shelf(plans, model, "openvino", Keyring())
            expires = NOW + timedelta(days=version)
            shelf.add(Manifest(spec, version, "fp16", Host("openvino", "2026.4"), {}, NOW, expires), {})
    (plans / "advection" / "openvino" / "v0002" / "manifest.json").write_bytes(b"\0" * 400)
    (plans / "edge" / "openvino" / "v0001" / "manifest.json").unlink()
    (plans / "edge" / "openvino" / "state.json").write_text('{"current"')
    done = typed(folder, "engine list", NOWCAST_DATA_DIR=str(folder), COLUMNS="200")
    assert done.exit_code == 1
    assert done.output.count("fp16") == 4
    assert done.stdout.count("│ damaged") == 2
    for told in ("v0002: the manifest cannot be read", "edge/openvino/v0001", "state.json cannot be read"):
        assert told in done.stderr


def test_a_model_that_could_not_be_made_a_candidate_leaves_its_name_free(folder):
    place, plan = folder / "data" / "nowcast.db", shipped_plan("advection")
    store = Store.open(f"sqlite:///{place}")
    arguments = store, folder / "models", plan, "mine", "advection", "me", "to try", NOW
    with closing(sqlite3.connect(place, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError):
            register(*arguments)
    assert not list((folder / "models").iterdir())
    register(*arguments)
    assert [path.name for path in (folder / "models").iterdir()] == ["mine"]
    assert read_plan(folder / "models" / "mine").spec.name == "mine"
    store.close()
