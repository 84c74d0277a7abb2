"""The command line: what it says when something is wrong, and that nothing is half done."""

import os
import socket
import subprocess
import sys

import pytest

from nowcast.store.database import upgrade
from tests.jobs.test_oneshot import ROOT, nowcast


def test_help_names_the_commands():
    shown = nowcast("--help").stdout
    for command in ("run", "serve", "worker", "cycle", "forecast", "db", "doctor"):
        assert command in shown


def one_line(done, told):
    assert done.returncode == 1
    lines = [line for line in done.stderr.strip().splitlines() if "warning" not in line]
    assert len(lines) == 1, done.stderr
    assert told in lines[0]
    assert "Traceback" not in done.stderr


def test_a_port_in_use(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for command in ("run", "serve"):
            one_line(
                nowcast(command, NOWCAST_PORT=port, NOWCAST_DATA_DIR=str(tmp_path)), f":{port}: Address already in use"
            )


def test_a_metrics_port_in_use_names_its_own_setting(tmp_path):
    upgrade(f"sqlite:///{tmp_path / 'nowcast.db'}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = {"NOWCAST_WORKER_METRICS_PORT": str(taken.getsockname()[1]), "NOWCAST_DATA_DIR": str(tmp_path)}
        one_line(nowcast("worker", **settings), "set NOWCAST_WORKER_METRICS_PORT to another")


@pytest.mark.parametrize("command", ["run", "worker", "cycle", f"inspect {__file__}"])
def test_no_folder_for_temporary_files(command, tmp_path):
    full = ["bash", "-c", 'ulimit -f 0; exec "$@"', "", sys.executable, "-m", "jobs.cli"]  # no byte fits any file
    environment = {**os.environ, "NOWCAST_DATA_DIR": str(tmp_path), "NOWCAST_PORT": "0"}
    done = subprocess.run(
        [*full, *command.split()], capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=60
    )
    one_line(done, "No usable temporary directory found in")
    assert "or name another in TMPDIR" in done.stderr


@pytest.mark.parametrize("command", ["worker", "cycle"])
def test_a_database_that_is_not_migrated(command, tmp_path):
    one_line(nowcast(command, NOWCAST_DATA_DIR=str(tmp_path)), "run `nowcast db upgrade`")


@pytest.mark.parametrize("command", ["worker", "cycle", "db upgrade"])
def test_a_database_that_is_away(command, tmp_path):
    url = "postgresql://postgres@127.0.0.1:1/none"
    done = nowcast(*command.split(), NOWCAST_DATA_DIR=str(tmp_path), NOWCAST_DATABASE_URL=url)
    one_line(done, "check that the server runs")


@pytest.mark.parametrize("setting", ["NOWCAST_REGIONS_FILE", "NOWCAST_SOURCES_FILE", "NOWCAST_FEEDS_FILE"])
def test_run_starts_nothing_that_would_end_at_once(setting, tmp_path):
    environment = {"NOWCAST_PORT": "0", "NOWCAST_DATA_DIR": str(tmp_path), setting: "/no/such.toml"}
    one_line(nowcast("run", **environment), "No such file")


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("NOWCAST_PORT", "eighty", "NOWCAST_PORT='eighty'"),
        ("NOWCAST_CLOCK_SPEED", "0", "NOWCAST_CLOCK_SPEED='0'"),
        ("NOWCAST_REGIONS_FILE", "/no/such.toml", "No such file"),
        ("NOWCAST_DATABASE_URL", "mysql://x/y", "not supported"),
    ],
)
def test_settings_that_cannot_be_used(setting, value, told, tmp_path):
    one_line(nowcast("cycle", NOWCAST_DATA_DIR=str(tmp_path), **{setting: value}), told)


REGION = '[regions.{name}]\ncrs="{crs}"\nx0=0\ny0=0\ncell={cell}\nheight=9\nwidth=9\nsources=["{source}"]\n'
GOOD = {"name": "a", "crs": "EPSG:2056", "cell": 1000, "source": "cf"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = ", "Invalid value"),
        ("a = 1", "no [regions.NAME] table"),
        ('[regions.a]\ncrs = "EPSG:2056"', "x0: Field required"),
        (REGION.format(**{**GOOD, "name": "A"}), "lower-case letters"),
        (REGION.format(**{**GOOD, "crs": "EPSG:0"}), "region 'a'"),
        (REGION.format(**{**GOOD, "cell": 0}), "cell size must be > 0"),
        (REGION.format(**{**GOOD, "source": "radio"}), "no source 'radio'"),
        (REGION.format(**GOOD) + "margin=-1", "margin must be >= 0"),
        (REGION.format(**GOOD) + "colour=1", "colour: Extra inputs"),
    ],
)
def test_regions_that_cannot_be_used(text, told, tmp_path):
    path = tmp_path / "regions.toml"
    path.write_text(text)
    one_line(nowcast("cycle", NOWCAST_DATA_DIR=str(tmp_path), NOWCAST_REGIONS_FILE=str(path)), told)


def start_worker(settings):
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", "worker"],
        cwd=ROOT,
        env={**os.environ, **settings, "NOWCAST_LOG_JSON": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process, told):
    for line in process.stderr:
        if told in line:
            return
    raise AssertionError(f"{told!r} was not said")


def test_two_workers_on_one_data_folder_and_the_second_takes_over(tmp_path):
    upgrade(f"sqlite:///{tmp_path / 'nowcast.db'}")
    settings = {"NOWCAST_DATA_DIR": str(tmp_path)}
    first = start_worker(settings)
    try:
        read_until(first, "this worker holds the lease")
        second = start_worker(settings)
        try:
            read_until(second, "standing by")
            first.terminate()
            _, told = first.communicate(timeout=60)
            assert first.returncode == 0, told
            read_until(second, "this worker holds the lease")
        finally:
            second.terminate()
            _, told = second.communicate(timeout=60)
        assert second.returncode == 0, told
    finally:
        first.kill()
        first.wait()


def test_doctor_says_what_to_do(tmp_path):
    done = nowcast("doctor", NOWCAST_DATA_DIR=str(tmp_path), COLUMNS="200")
    assert done.returncode == 1
    assert "nowcast db upgrade" in done.stdout
    upgrade(f"sqlite:///{tmp_path / 'nowcast.db'}")
    done = nowcast("doctor", NOWCAST_DATA_DIR=str(tmp_path), COLUMNS="200")
    assert done.returncode == 0, done.stdout
    for subject in ("python", "openvino", "gpu", "plan advection", "database"):
        assert subject in done.stdout


def test_engine_check_shows_the_parity():
    done = nowcast("engine", "check", COLUMNS="120")
    assert done.returncode == 0
    for told in ("openvino fp32, plan", "rain_mean", "coverage", "CSI difference", "5 of 5"):
        assert told in done.stdout
