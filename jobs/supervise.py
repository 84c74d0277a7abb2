"""`nowcast run`: one worker process and one API process, started, watched and stopped together."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from types import FrameType

import structlog

from nowcast.clock import wall
from nowcast.config import Settings
from nowcast.disk import make_folder, require_temporary
from nowcast.errors import PortInUse
from nowcast.store.database import upgrade

log = structlog.get_logger()

STOP_SECONDS = 15.0
RESTART_SECONDS = 2.0


def require_port(host: str, port: int, setting: str = "NOWCAST_PORT") -> None:
    """Raise `PortInUse` when nothing can listen there; `setting` is what names the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(
                f"{host}:{port}: {error.strerror}; stop what listens there or set {setting} to another"
            ) from error


def require_files(settings: Settings) -> None:
    """Raise `ConfigError` for files of settings that cannot be used: the worker would end and be started for ever."""
    from nowcast.feeds.config import read_feeds  # here: the image of the API takes this module for its port alone
    from nowcast.region import read_regions
    from nowcast.sources import source_named, with_own

    sources = with_own(settings.sources_file)
    for name in {name for region in read_regions(settings.regions_file) for name in region.sources}:
        source_named(name, sources)
    if settings.feeds_file:
        read_feeds(settings.feeds_file)


def run(settings: Settings, speed: float) -> int:
    """Migrate the store, run worker and API until a signal, and return the exit status."""
    require_port(settings.host, settings.port)
    make_folder(settings.data_dir)
    require_temporary()
    require_files(settings)
    upgrade(settings.url)
    environment = {**os.environ, "NOWCAST_CLOCK_SPEED": str(speed), "NOWCAST_CLOCK_EPOCH": wall().isoformat()}
    pair = Supervisor(environment)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup asks to outlive the terminal
            signal.signal(number, pair.stop)
    print(f"nowcast: http://{settings.host}:{settings.port}  (Ctrl-C stops)", flush=True)  # noqa: T201
    status = pair.watch()
    with suppress(OSError):  # a terminal that was closed takes no more
        print("nowcast: stopped", flush=True)  # noqa: T201
    return status


@dataclass
class Supervisor:
    """The two processes; one that dies is started again, so that either may be killed at any time."""

    environment: dict[str, str]
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _stopping: bool = False
    _pipe: tuple[int, int] = field(default_factory=os.pipe)  # nobody writes: it ends when this process does

    def watch(self) -> int:
        """Keep both running until `stop`, then end both; return 0 when they ended by themselves within their time."""
        try:
            while not self._stopping:
                for name in ("worker", "serve"):
                    self._keep(name)
                time.sleep(0.2)
        finally:
            clean = self._end()
        return 0 if clean else 1

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """Ask for the end (a signal handler)."""
        self._stopping = True

    def _keep(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None and child.poll() is None:
            return
        if child is not None:
            log.error("process ended, starting it again", process=name, status=child.returncode)
            time.sleep(RESTART_SECONDS)
        if not self._stopping:
            # a session of its own: Ctrl-C in the terminal reaches the supervisor alone, which ends both in order
            self._children[name] = subprocess.Popen(  # noqa: S603  our own interpreter and module
                [sys.executable, "-m", "jobs.supervise", name],
                env=self.environment,
                stdin=self._pipe[0],
                start_new_session=True,
            )

    def _end(self) -> bool:
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        clean = True
        for name, child in self._children.items():
            try:
                child.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                log.error("process did not stop, killed", process=name)
                child.kill()
                child.wait()
                clean = False
        return clean


def _end_with_supervisor() -> None:
    os.read(0, 1)  # returns when the supervisor has ended, however it did
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":  # one of the two: the command line, and a look at who started it
    from jobs.cli import main

    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    main()
