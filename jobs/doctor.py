"""`nowcast doctor`: what this machine can run, and what to do about what is missing."""

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from engines.gpu import find_gpu
from engines.memory import table
from engines.plan import SHIPPED, read_plan
from engines.runtimes import RUNTIMES
from jobs.fit import require_regions_fit
from jobs.keep import REMEDY
from jobs.registry import configured_rungs
from nowcast.clock import wall
from nowcast.config import Settings
from nowcast.disk import Space
from nowcast.errors import NowcastError
from nowcast.region import read_regions
from nowcast.sources import SOURCES
from nowcast.store.store import Store


@dataclass(frozen=True)
class Finding:
    """One thing looked at: its state is `ok`, `missing` (optional), `scarce` or `bad` (nothing works without it)."""

    subject: str
    state: str
    told: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield findings, from the machine up to the database."""
    cores, memory = os.cpu_count() or 1, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield Finding("machine", "ok", f"{platform.machine()}, {cores} cores, {memory:.0f} GiB, {platform.platform()}")
    yield Finding("python", "ok", sys.version.split()[0])
    yield _gpu()
    yield from _runtimes()
    yield _node()
    yield from _plans()
    yield Finding("sources", "ok", ", ".join(source.name for source in SOURCES))
    yield _regions(settings)
    yield from _fit(settings)
    yield _disk(settings)
    yield Finding("sqlite", "ok", sqlite3.sqlite_version)
    yield _database(settings)


def _runtimes() -> Iterator[Finding]:
    gpu = find_gpu()
    for runtime in RUNTIMES:
        missing, needed = runtime.missing(gpu), "bad" if runtime.name == "openvino" else "missing"
        told = f"{runtime.version}; serves as rung {runtime.rung}" if runtime.version else "not installed"
        yield Finding(f"runtime {runtime.name}", needed if missing else "ok", told, missing)


def _gpu() -> Finding:
    gpu = find_gpu()
    if gpu is None:
        return Finding("gpu", "missing", "no NVIDIA GPU found", "none needed: OpenVINO serves on the CPU")
    told = f"{gpu.name}, compute capability {gpu.capability}, driver {gpu.driver}, {gpu.memory / 2**30:.0f} GiB"
    return Finding("gpu", "ok", told)


def _node() -> Finding:
    command = shutil.which("node")
    if not command:
        return Finding("node", "missing", "not installed; needed to build the map page", "install Node ≥ 20")
    try:
        found = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("node", "missing", f"does not run: {error}", "install Node ≥ 20")
    return Finding("node", "ok", found.stdout.strip())


def _plans() -> Iterator[Finding]:
    for folder in sorted(p for p in SHIPPED.iterdir() if p.is_dir()):
        try:
            plan = read_plan(folder)
            plan.graph(), plan.golden()
            yield Finding(f"plan {folder.name}", "ok", plan.digest[:12])
        except NowcastError as error:
            yield Finding(f"plan {folder.name}", "bad", str(error), "nowcast engine export")


def _regions(settings: Settings) -> Finding:
    try:
        return Finding("regions", "ok", ", ".join(r.name for r in read_regions(settings.regions_file)))
    except NowcastError as error:
        return Finding("regions", "bad", str(error), "correct the file")


def _fit(settings: Settings) -> Iterator[Finding]:
    """Yield whether the regions' engines fit on the GPU, where there is one."""
    gpu = find_gpu()
    if gpu is None:
        return
    try:
        needs = require_regions_fit(read_regions(settings.regions_file), configured_rungs(settings, wall), gpu)
        yield Finding("gpu memory", "ok", table(needs))
    except NowcastError as error:
        yield Finding("gpu memory", "bad", str(error), "the worker does not start with these regions")


def _disk(settings: Settings) -> Finding:
    try:
        space = Space.at(settings.data_dir)
    except OSError as error:
        return Finding("disk", "bad", str(error), "let this user look at NOWCAST_DATA_DIR, or name another folder")
    told = f"{space} at {settings.data_dir}"
    return Finding("disk", "scarce", told, REMEDY) if space.scarce else Finding("disk", "ok", told)


def _database(settings: Settings) -> Finding:
    try:
        store = Store.open(settings.url)
        newest, size = store.newest_base_times(), store.retention.size()
    except NowcastError as error:
        return Finding("database", "bad", str(error), "nowcast db upgrade")
    told = ", ".join(f"{region} {time:%Y-%m-%d %H:%M} UTC" for region, time in newest.items()) or "no run yet"
    return Finding("database", "ok", f"migrated, {size / 2**20:.0f} MiB in use; newest: {told}")
