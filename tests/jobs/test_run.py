"""`make run` as a stranger uses it: a clone in an empty folder, a forecast of both regions, Ctrl-C, nothing left."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL_SECONDS, SERVE_SECONDS = 400, 60
PLACES = {"lowlands": (52.1, 5.2), "alps": (46.95, 7.45)}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return json.load(answer)


def answered(port, path):
    try:
        return get(port, path)
    except OSError:
        return None


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(f"{what} did not come within {seconds} s")


def forecasts(port):
    found = {name: answered(port, f"/v1/forecast?lat={lat}&lon={lon}") for name, (lat, lon) in PLACES.items()}
    return found if all(found.values()) else None


def processes_in(folder):
    """The processes whose working folder or command line lies in the clone."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            place, command = (entry / "cwd").resolve(strict=True), (entry / "cmdline").read_bytes().decode()
        except OSError:
            continue
        if folder in (place, *place.parents) or str(folder) in command:
            found.append(command.replace("\0", " "))
    return found


@pytest.mark.timeout(INSTALL_SECONDS + 180)
def test_a_clone_runs_and_stops(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NOWCAST_", "VIRTUAL_ENV", "PYTHONPATH"))}
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(
            ["make", "run"],
            cwd=clone,
            env={**environment, "NOWCAST_PORT": str(port)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_for(
                lambda: f"http://127.0.0.1:{port}" in (tmp_path / "log").read_text(), INSTALL_SECONDS, "the address"
            )
            started = time.monotonic()
            found = wait_for(lambda: forecasts(port), SERVE_SECONDS, "a forecast of both regions")
            print(f"first forecasts {time.monotonic() - started:.1f} s after the start")
        finally:
            os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does in a terminal
            process.wait(30)  # make itself ends by the signal, once nowcast has ended
    assert "nowcast: stopped" in (tmp_path / "log").read_text()
    for name, forecast in found.items():
        assert forecast["region"] == name
        assert len(forecast["minutely_5"]["rain_mean"]) == 24
        assert forecast["rung"] == "openvino"
        assert forecast["age_seconds"] < 600
    assert processes_in(clone) == []
    assert not list((clone / "var").glob("*.lock"))
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert not list((clone / ".venv/lib").glob("*/site-packages/torch")), "the default install has no torch"


@pytest.fixture
def demo(tmp_path):
    """A running demonstration sixty times faster than the wall's clock: a slot every five seconds."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", "run", "--speed", "60"],
        cwd=ROOT,
        env={**os.environ, "NOWCAST_PORT": str(port), "NOWCAST_DATA_DIR": str(tmp_path / "var")},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: forecasts(port), SERVE_SECONDS, "a forecast of both regions")
    yield port, process
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_a_closed_terminal_or_a_killed_supervisor_leaves_nothing(number, tmp_path):
    port, (terminal, end) = free_port(), os.openpty()
    settings = {"NOWCAST_PORT": str(port), "NOWCAST_DATA_DIR": str(tmp_path / "var"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "jobs.cli", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **settings}, stdout=end, stderr=end)
    try:
        wait_for(lambda: answered(port, "/v1/regions"), SERVE_SECONDS, "an answer")
        os.close(end)
        os.close(terminal)
    finally:
        process.send_signal(number)
    process.wait(30)
    wait_for(lambda: not processes_in(tmp_path), 30, "the end of worker and API")


def base_time(port):
    found = forecasts(port)
    return found["alps"]["base_time"] if found else None


def test_new_runs_follow_and_killed_processes_come_back(demo):
    port, process = demo
    first = base_time(port)
    second = wait_for(lambda: (t := base_time(port)) and t > first and t, 30, "a second run")
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout
    for child in children.split():
        os.kill(int(child), signal.SIGKILL)
    third = wait_for(lambda: (t := base_time(port)) and t > second and t, 40, "a run after both were killed")
    runs = get(port, "/v1/runs?region=alps")
    times = [run["base_time"] for run in runs]
    assert third in times
    assert len(times) == len(set(times)), "one run per base time"
    assert times == sorted(times, reverse=True)
