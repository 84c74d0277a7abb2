"""The commands on the life of models and on what is kept, as a person types them."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from engines.plan import shipped_plan
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.jobs.test_oneshot import ROOT, nowcast
from tests.nowcast.stored import fields, marks, region, run

WIDE = "200"
REGION = (
    '[regions.{name}]\ncrs = "EPSG:2056"\nx0 = {x0}\ny0 = 1200000\ncell = 1000\nheight = 32\nwidth = 32\n'
    'sources = ["cf"]\nmodel = "advection"\n'
)


@pytest.fixture
def at(tmp_path):
    """A migrated data folder, as settings."""
    upgrade(f"sqlite:///{tmp_path / 'nowcast.db'}")
    regions = tmp_path / "regions.toml"
    regions.write_text("".join(REGION.format(name=name, x0=x0) for name, x0 in (("lowlands", 0), ("alps", 90_000))))
    return {"NOWCAST_DATA_DIR": str(tmp_path), "NOWCAST_REGIONS_FILE": str(regions), "COLUMNS": WIDE}


def said(done, status=0):
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if status == 0 else done.stderr


def test_the_life_of_a_model_by_hand(at):
    folder = shipped_plan("advection").folder
    told = said(nowcast("model", "register", "mine", folder, "--family", "advection", "--why", "to try", **at))
    assert told == "mine: candidate for the regions of advection\n"
    assert "is taken" in said(nowcast("model", "register", "mine", folder, "--family", "advection", **at), 1)
    assert "shadow in all regions" in said(nowcast("model", "promote", "mine", "--to", "shadow", **at))
    named = ("--to", "canary", "--region")
    assert "is not for moon; it is for lowlands, alps" in said(
        nowcast("model", "promote", "mine", *named, "moon", **at), 1
    )
    assert said(nowcast("model", "promote", "mine", *named, "alps", **at)) == "mine: canary in alps\n"
    listed = said(nowcast("model", "list", **at))
    assert "alps: mine (canary); beside it: advection" in listed
    assert "lowlands: advection (promoted); beside it: mine" in listed
    assert "0 verified cycles, at least 288 are needed" in said(nowcast("model", "promote", "mine", **at), 1)
    assert said(nowcast("model", "rollback", "mine", "--why", "too dry", **at)) == "mine: rolled-back\n"
    shown = said(nowcast("model", "history", "mine", **at))
    steps = [line for line in shown.splitlines() if "│" in line]
    found = [next(s for s in ("candidate", "shadow", "canary", "rolled-back") if f" {s} " in line) for line in steps]
    assert found == ["candidate", "shadow", "canary", "rolled-back"]
    assert "to try" in shown
    assert "too dry" in shown


@pytest.mark.skipif(os.getuid() != 0, reason="only root may be another user")
def test_a_user_without_a_name_may_step_too():
    command = "import os; from jobs.model_cli import _user; os.setuid(54321); print(_user())"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=ROOT, env={})
    assert done.stdout == "uid 54321\n"


def test_what_is_not_known_is_one_line(at):
    for command in (("rollback", "none"), ("promote", "none")):
        told = said(nowcast("model", *command, **at), 1)
        assert "is not known" in told
        assert len([line for line in told.strip().splitlines() if "warning" not in line]) == 1


def test_backup_restore_and_prune(at, tmp_path):
    store, now = Store.open(f"sqlite:///{tmp_path / 'nowcast.db'}"), datetime.now(UTC).replace(second=0, microsecond=0)
    store.put_regions([region()])
    kept = [now - timedelta(days=days) for days in (40, 1, 0)]
    for number, base in enumerate(kept, 1):
        store.publish(run(base_time=base, mark=number), fields(number))
    assert "MiB" in said(nowcast("backup", tmp_path / "a.backup", **at))
    assert "in use" in said(nowcast("prune", **at))
    assert [r.base_time for r in store.runs("alps")] == [now, kept[1]], "older than 30 days goes"
    store.publish(run(base_time=now, mark=9), fields(9))
    assert "restored" in said(nowcast("restore", tmp_path / "a.backup", **at))
    back = store.runs("alps")
    assert [r.base_time for r in back] == kept[::-1]
    assert [marks(store.fields(r)) for r in back] == [{3}, {2}, {1}]
    assert "a.backup" in said(nowcast("restore", tmp_path / "none" / "a.backup", **at), 1)
    store.close()
