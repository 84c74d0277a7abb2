"""Files made for a request: bounded in bytes, whole for who reads them, and a full disk is told and not a 500."""

import asyncio
import gc
import shutil
import subprocess
import tempfile
from collections import namedtuple
from contextlib import suppress
from pathlib import Path

import pytest

from api.files import shelf as shelves
from api.files.shelf import MOST_FILES, Shelf
from nowcast.errors import Busy, NoRoom
from tests.api.served import made as served
from tests.api.served.made import base_time

CUBE = "/edr/collections/alps_rain/cube?bbox=8,46.9,8.2,47&f=NetCDF"
MIB = 2**20


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary files go."""
    made = tmp_path / "temporary"
    made.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    return made


def writing(size, letter=b"x"):
    return lambda path: path.write_bytes(letter * size)


def put(shelf, number, size=MIB, letter=b"x"):
    return asyncio.run(shelf.file((number, "nc"), writing(size, letter)))


def open_files(folder):
    gc.collect()
    return sum(str(folder) in str(f.readlink()) for f in Path("/proc/self/fd").iterdir() if f.is_symlink())


def test_files_are_bounded_in_bytes_and_leave_nothing_behind(folder):
    shelf = Shelf(most_bytes=4 * MIB)
    for number in range(10):
        put(shelf, number)
    assert [number for number in range(10) if shelf.kept((number, "nc"))] == [6, 7, 8, 9]
    assert open_files(folder) == 4
    assert put(shelf, 10, 5 * MIB).size == 5 * MIB, "one that is too large to keep is given all the same"
    assert shelf.kept((10, "nc")) is None
    assert list(folder.iterdir()) == [], "who is killed leaves no file"
    shelf.clear()
    assert open_files(folder) == 0


def test_small_files_do_not_take_all_descriptors(folder):
    shelf = Shelf(most_bytes=4 * MIB)
    for number in range(MOST_FILES + 20):
        put(shelf, number, 10)
    assert open_files(folder) == MOST_FILES


def test_a_file_that_leaves_the_shelf_stays_whole_for_its_reader(folder):
    shelf = Shelf(most_bytes=MIB)
    file = put(shelf, 1, MIB - 5, b"a")
    pieces = file.read(0, file.size)
    first = next(pieces)
    for number in range(2, 5):
        put(shelf, number)
    assert first + b"".join(pieces) == b"a" * (MIB - 5)
    assert b"".join(file.read(10, 20)) == b"a" * 10


def test_slow_readers_do_not_fill_the_disk(folder):
    shelf = Shelf(most_bytes=MIB)
    readers = [put(shelf, number) for number in range(3)]
    assert open_files(folder) == 3
    with pytest.raises(Busy, match="files of 3 MiB are being read"):
        put(shelf, 3)
    assert put(shelf, 2) is readers[2], "what is kept is given"
    del readers[0]
    assert put(shelf, 3).size == MIB


def test_a_file_is_made_once(folder):
    shelf, made = Shelf(), []

    async def ask():
        return await asyncio.gather(*(shelf.file((1, "nc"), lambda p: made.append(1) or p.touch()) for _ in range(5)))

    assert len(set(asyncio.run(ask()))) == 1
    assert made == [1]


def test_files_on_the_shelf_make_room_for_another(folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    shelf = Shelf()
    put(shelf, 1)
    monkeypatch.setattr(shelves.shutil, "disk_usage", lambda _: usage(10**9, 0, 0 if len(shelf._files) else 10**9))
    assert put(shelf, 2).size == MIB
    assert shelf.kept((1, "nc")) is None
    monkeypatch.setattr(shelves.shutil, "disk_usage", lambda _: usage(10**9, 0, 10 * MIB))
    with pytest.raises(NoRoom, match=r"10.0 MiB are free, 64.0 are left for others; make room there, or set TMPDIR"):
        put(shelf, 3)


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A disk of 8 MiB for temporary files, of which 2 are left to others."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here: not root, or a container without CAP_SYS_ADMIN")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder, leave):
    """Leave so many bytes on a disk."""
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while shutil.disk_usage(folder).free > leave:
            file.write(b"x" * 4096)


def refused(answer):
    assert answer.status_code == 503, answer.text
    problem = answer.json()
    assert problem["title"] == "No room"
    assert "make room" in problem["detail"]
    assert int(answer.headers["retry-after"]) > 0


CF, PYSTEPS = "/v1/files/alps/{stamp}.nc", "/v1/files/alps/{stamp}.pysteps.nc"
BEFORE = 2 * MIB - 5000
MIDST = {CF: 2 * MIB + 2_000_000, PYSTEPS: 2 * MIB + 1_500_000}
"""A block takes 1.6 MB before it is compressed."""


@pytest.mark.parametrize(("path", "left"), [(CF, BEFORE), (PYSTEPS, BEFORE), (CUBE, BEFORE), *MIDST.items()])
def test_a_full_disk_is_a_problem_and_passes_with_it(store, client, disk, path, left):
    """Its last room is left to others, before a file is begun and in its midst; then all is as if nothing had been."""
    base = base_time()
    served.publish(store, base, members=True)
    path = path.format(stamp=f"{base:%Y%m%dT%H%MZ}")
    fill(disk, left)
    refused(client.get(path))
    assert client.get("/v1/forecast?lat=47.05&lon=8.31").status_code == 200
    assert [file.name for file in disk.iterdir()] == ["filler"]
    assert shutil.disk_usage(disk).free > left - 10_000
    (disk / "filler").unlink()
    assert client.get(path).status_code == 200


def test_no_folder_for_temporary_files_is_no_bug(monkeypatch):
    def gettempdir():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/app']")  # as when it is full

    monkeypatch.setattr(tempfile, "gettempdir", gettempdir)
    with pytest.raises(NoRoom, match=r"No usable temporary directory.*make room on its disk"):
        put(Shelf(), 1)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("NetCDF: HDF error")])
def test_what_cannot_be_written_is_told_with_a_remedy(folder, error):
    def make(_path):
        raise error

    with pytest.raises(NoRoom, match="make room on its disk"):
        asyncio.run(Shelf().file((1, "nc"), make))
    assert list(folder.iterdir()) == []


def test_head_of_a_file_makes_none(store, app, client):
    base = base_time()
    run_id = served.publish(store, base, members=True)
    shelf = app.state.services.shelf
    for kind in ("nc", "pysteps.nc"):
        path = f"/v1/files/alps/{base:%Y%m%dT%H%MZ}.{kind}"
        before = client.head(path)
        assert before.status_code == 200
        assert "content-length" not in before.headers
        assert shelf.kept((run_id, kind)) is None
        whole = client.get(path)
        after = client.head(path)
        assert after.content == b""
        assert int(after.headers["content-length"]) == len(whole.content)
        same = ("etag", "last-modified", "accept-ranges", "content-disposition", "content-type", "cache-control")
        assert [before.headers[n] for n in same] == [whole.headers[n] for n in same] == [after.headers[n] for n in same]
        part = client.head(path, headers={"Range": "bytes=0-9"})
        assert (part.status_code, part.headers["content-length"]) == (206, "10")
        assert client.head(path, headers={"If-None-Match": before.headers["etag"]}).status_code == 304
    assert client.head("/v1/files/alps/20200101T0000Z.nc").status_code == 404


def test_head_of_a_file_reads_nothing_of_it(store, app, client, monkeypatch):
    base = base_time()
    served.publish(store, base)
    path = f"/v1/files/alps/{base:%Y%m%dT%H%MZ}.nc"
    assert client.get(path).status_code == 200
    read = []
    monkeypatch.setattr(shelves.os, "pread", lambda *args: read.append(args) or b"")
    assert client.head(path).status_code == 200
    assert read == []


def test_head_is_counted_under_its_route(store, client):
    base = base_time()
    served.publish(store, base)
    client.head(f"/v1/files/alps/{base:%Y%m%dT%H%MZ}.nc")
    client.head("/v1/forecast?lat=47.05&lon=8.31")
    told = client.get("/metrics").text
    assert 'route="/v1/files/{region}/{base_time}.nc",status="200"' in told
    assert 'route="/v1/forecast",status="200"' in told
