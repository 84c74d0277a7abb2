"""The log: one JSON object a line where asked for, whoever speaks, also in the image of the API."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest

from nowcast.store.database import upgrade
from tests.jobs.mortal import ROOT, answers

BUGS = """
import logging, structlog
from jobs.logs import set_up_logging
from nowcast.config import Settings
set_up_logging(Settings())
for told in (structlog.get_logger(), logging.getLogger("uvicorn.error")):
    try:
        1 / 0
    except ZeroDivisionError:
        told.exception("a bug")
logging.getLogger("uvicorn.error").info("no news")
"""


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_bug_is_one_line_with_its_traceback_whoever_tells_it():
    done = subprocess.run(
        [sys.executable, "-c", BUGS],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "NOWCAST_LOG_JSON": "true"},
    )
    ours, theirs = lines(done.stderr)
    for told in (ours, theirs):
        assert (told["event"], told["level"]) == ("a bug", "error")
        assert "ZeroDivisionError: division by zero" in told["exception"]
    assert theirs["logger"] == "uvicorn.error"


@pytest.fixture
def image(tmp_path):
    """The files of the image of the API."""
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    made = "".join(stage for stage in stages if " AS base\n" in stage or " AS api\n" in stage)
    for copied in re.findall(r"^COPY ([^-].*)$", made, flags=re.MULTILINE):
        *sources, target = copied.split()
        for source in sources:
            place = tmp_path / "app" / target / (source.rpartition("/")[2] if target.endswith("/") else "")
            place.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, place)
    return tmp_path / "app"


def test_the_image_of_the_api_logs_one_object_a_line(image, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"NOWCAST_LOG_JSON": "true", "NOWCAST_DATA_DIR": str(tmp_path), "NOWCAST_PORT": str(port)}
    command = json.loads(re.search(r"^CMD (.*jobs.serve.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1])
    command = [sys.executable, *command[1:]]
    environment = {**os.environ, **settings}
    refused = subprocess.run(command, cwd=image, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "run `nowcast db upgrade`" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr
    upgrade(f"sqlite:///{tmp_path / 'nowcast.db'}")
    with (tmp_path / "log").open("w") as log:
        api = subprocess.Popen(command, cwd=image, env=environment, stdout=log, stderr=log)
    try:
        while not answers(f"http://127.0.0.1:{port}/healthz"):
            assert api.poll() is None, (tmp_path / "log").read_text()
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"no HTTP\r\n\r\n")
            client.recv(1000)
    finally:
        api.terminate()
        api.wait(30)
    told = {line["event"]: line for line in lines((tmp_path / "log").read_text())}
    assert told["API starts"]["port"] == port
    assert told["Invalid HTTP request received."]["logger"] == "uvicorn.error"
