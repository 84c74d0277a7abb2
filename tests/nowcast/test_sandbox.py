"""Parsing in children: the same frames, and no way for a file to hold up, kill or reach out of the parent."""

import json
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from nowcast.confine import Limits
from nowcast.errors import ConfigError, UnreadableFile, WrongTime
from nowcast.sandbox import Sandbox
from nowcast.sources import read_frame
from nowcast.sources.geotiff import TIFF
from tests.sources.written import netcdf, odim, radolan


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(workers=2) as pool:
        yield pool


def pid_of(sandbox):
    return next(worker._process.pid for worker in sandbox._idle.queue if worker)


def peak_megabytes(sandbox):
    status = Path(f"/proc/{pid_of(sandbox)}/status").read_text()
    return max(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def test_the_same_frame_as_in_this_process(sandbox, tmp_path):
    quality = np.full((3, 4), 255, np.uint8)
    path = odim(tmp_path / "composite.h5", quality=quality)
    there, here = sandbox.read(path), read_frame(path)
    assert there.identical(here)
    assert sandbox.read(path, "odim").identical(here)


def test_walls_stand(sandbox):
    walls = sandbox.walls()
    assert "limits" in walls
    if sys.platform == "linux" and os.uname().machine in {"x86_64", "aarch64"}:
        assert "seccomp" in walls


def test_refusals_keep_their_class_and_name_the_file(sandbox, tmp_path):
    (tmp_path / "empty.nc").touch()
    with pytest.raises(UnreadableFile, match=f"{tmp_path}/empty.nc: empty file"):
        sandbox.read(tmp_path / "empty.nc")
    with pytest.raises(UnreadableFile, match="No such file"):
        sandbox.read(tmp_path / "gone.nc")
    path = netcdf(
        tmp_path / "rain.nc",
        {"rain": (("y", "x"), np.zeros((2, 2), np.float32), {"standard_name": "rainfall_rate", "units": "mm h-1"})},
        {"y": 2, "x": 2},
    )
    with pytest.raises(WrongTime, match="no coordinate valid_time or time"):
        sandbox.read(path)


def test_own_sources_are_known_to_children(tmp_path):
    toml = tmp_path / "own.toml"
    toml.write_text('[sources.shmu]\nreader = "odim"\nfiles = ["composite.h5"]\n')
    with Sandbox(1, sources_file=toml) as pool:
        assert pool.read(odim(tmp_path / "composite.h5")).attrs["source"] == "shmu"


def test_a_slow_parser_is_killed_and_the_next_file_is_read(tmp_path):
    path = odim(tmp_path / "composite.h5")
    with Sandbox(1, Limits(seconds=1.5)) as pool:
        pool.read(path)
        os.kill(pid_of(pool), 19)  # SIGSTOP
        before = time.monotonic()
        with pytest.raises(UnreadableFile, match=r"took longer than 1\.5 s"):
            pool.read(path)
        assert time.monotonic() - before < 4
        assert pool.read(path)["rain_rate"].shape == (3, 4)


def test_a_dead_parser_is_replaced(tmp_path):
    path = odim(tmp_path / "composite.h5")
    with Sandbox(1) as pool:
        pool.read(path)
        os.kill(pid_of(pool), 9)
        time.sleep(0.2)
        assert pool.read(path)["rain_rate"].shape == (3, 4)


def test_folders_of_killed_processes_are_removed(tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stale, ours = tmp_path / "nowcast-parse-999999999-x", tmp_path / f"nowcast-parse-{os.getpid()}-x"
    stale.mkdir()
    ours.mkdir()
    Sandbox(1).close()
    assert not stale.exists()
    assert ours.exists()


def test_too_little_memory_refuses_the_file_not_the_system(tmp_path):
    with pytest.raises(ConfigError, match="memory limit of 64 MiB"):
        Sandbox(1, Limits(memory=1 << 26)).read(odim(tmp_path / "composite.h5"))


def test_a_shape_bomb_stays_within_memory(sandbox, tmp_path):
    path = odim(tmp_path / "bomb.h5")
    with h5py.File(path, "r+") as file:
        del file["dataset1/data1/data"]
        file["dataset1/data1"].create_dataset("data", (11_000, 11_000), "f8", chunks=(100, 100))
    before = time.monotonic()
    with pytest.raises(UnreadableFile, match=r"bomb\.h5"):
        sandbox.read(path)
    assert time.monotonic() - before < 20


def test_a_canary_beside_the_file_cannot_be_opened(tmp_path):
    """Even a parser that is taken over reads only the file at hand: Landlock and seccomp, tried from inside."""
    code = """
import json, socket, sys
from pathlib import Path
from nowcast.confine import confine, limit, Limits
limit(Limits())
walls = confine([Path.cwd()])
out = {"walls": walls}
for name, act in {
    "canary": lambda: Path(sys.argv[1]).read_text(),
    "environ": lambda: Path("/proc/1/environ").read_bytes(),
    "write": lambda: Path("new").write_text("x"),
    "socket": lambda: socket.socket(),
    "spawn": lambda: __import__("os").execv("/bin/true", ["true"]),
}.items():
    try:
        out[name] = repr(act())
    except OSError as error:
        out[name] = "refused"
print(json.dumps(out))
"""
    canary = tmp_path / "canary"
    canary.write_text("secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", code, str(canary)], capture_output=True, text=True, cwd=inside, check=True,
        env={"PYTHONPATH": str(root)},
    )  # fmt: skip
    told = json.loads(found.stdout)
    if "seccomp" in told["walls"]:
        assert (told["socket"], told["spawn"]) == ("refused", "refused")
    if "landlock" in told["walls"]:
        assert (told["canary"], told["environ"], told["write"]) == ("refused", "refused", "refused")
    else:
        pytest.skip(f"no Landlock in this kernel, walls: {told['walls']}")


class LyingWorker:
    """A child that answers what it is told to."""

    def __init__(self, answer):
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.stdin.readline(); sys.stdout.buffer.write({answer!r})"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip


def framed(header, payload=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + payload


GRID = ["EPSG:3035", 0.0, 0.0, 1.0, 1.0, 1, 2]
HONEST = {
    "arrays": ["rain_rate"], "grid": GRID, "valid_time": "2024-05-01T12:00:00+00:00", "source": "odim",
    "digest": "", "accumulation_minutes": 0.0, "comment": "",
}  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        struct.pack("<Q", 1 << 60),
        struct.pack("<Q", 4) + b"\x80\x04K\x01",
        framed([1, 2]),
        framed(HONEST | {"arrays": ["rain_rate"] * 9}),
        framed(HONEST | {"grid": [*GRID[:5], 1 << 30, 1 << 30]}),
        framed(HONEST | {"grid": [*GRID[:5], -1, 2]}),
        framed(HONEST, b"\0\0"),
        framed(HONEST | {"valid_time": "2024-05-01T12:00:00"}, bytes(8)),
        framed(HONEST | {"valid_time": 5}, bytes(8)),
        framed(HONEST, np.array([-1, np.inf], np.float32).tobytes()),
        framed(HONEST | {"grid": ["+proj=longlat +nadgrids=/etc/passwd", *GRID[1:]]}, bytes(8)),
        framed(HONEST | {"grid": ["nonsense", *GRID[1:]]}, bytes(8)),
        framed({"error": "SystemExit", "message": "bye"}),
    ],
)
def test_a_child_that_lies_is_refused(tmp_path, answer):
    from nowcast.errors import InputError

    path = odim(tmp_path / "composite.h5")
    with Sandbox(1, Limits(seconds=5)) as pool:
        put_in_its_place(pool, answer)
        with pytest.raises(InputError):
            pool.read(path)


def put_in_its_place(pool, answer):
    """Make the pool's child one that answers what it is told to."""
    pool.walls()
    worker = pool._idle.queue[0]
    real, worker._process = worker._process, LyingWorker(answer).process
    real.kill()
    real.wait()
    for stream in (real.stdin, real.stdout):
        stream.close()


@pytest.mark.parametrize(("source", "well"), [("odim", True), (None, True), ("mrms", False)])
def test_a_child_says_of_a_named_source_what_it_was_asked_for(tmp_path, source, well):
    path = odim(tmp_path / "composite.h5")
    with Sandbox(1, Limits(seconds=5)) as pool:
        put_in_its_place(pool, framed(HONEST | {"comment": "a\x1b[2Jb[/b]"}, bytes(8)))
        if well:
            assert pool.read(path, source).attrs["comment"] == "a?(2Jb(/b)"
        else:
            with pytest.raises(UnreadableFile, match="its parser answered"):
                pool.read(path, source)


def test_what_a_file_says_is_told_and_moves_no_terminal(sandbox, tmp_path):
    path = odim(tmp_path / "composite.h5", "DBZH\x1b[2J")
    with pytest.raises(UnreadableFile, match=r"holds DBZH\?\[2J, none of"):
        sandbox.read(path)


def test_threads_share_the_pool(sandbox, tmp_path):
    paths = [radolan(tmp_path / f"ry{n}", packed=True) for n in range(3)]
    paths = [p.rename(p.with_name(f"raa01-ry_10000-{n}-dwd---bin.gz")) for n, p in enumerate(paths)]
    shapes = []
    threads = [threading.Thread(target=lambda p=p: shapes.append(sandbox.read(p)["rain_rate"].shape)) for p in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shapes == [(900, 900)] * 3


def test_the_united_states_within_two_seconds_and_a_gigabyte(shared_data):
    path = sorted((shared_data / "raw" / "mrms_grib2").iterdir())[0]
    with Sandbox(1) as pool:
        pool.walls()
        before = time.monotonic()
        frame = pool.read(path)
        took = time.monotonic() - before
        assert frame["rain_rate"].shape == (3500, 7000)
        assert peak_megabytes(pool) < 1000
        assert took < 2 or os.getloadavg()[0] > os.cpu_count(), f"{took:.2f} s"


def test_every_real_file_comes_through(sandbox, shared_data):
    from nowcast.errors import ReaderMissing

    for folder in sorted((shared_data / "raw").iterdir()):
        path = sorted(folder.iterdir())[0]
        try:
            frame = sandbox.read(path)
        except ReaderMissing:
            assert path.read_bytes()[:4] in TIFF
            continue
        assert frame.attrs["digest"]
