"""Workers that die, freeze or hang by themselves, at a chosen statement or publication."""

import logging
import os
import signal
import sys
import threading
from dataclasses import dataclass

from nowcast.config import Settings
from nowcast.errors import LeaseLost
from nowcast.store.store import Store


@dataclass(frozen=True)
class End:
    """How a worker dies or freezes by itself: before its n-th writing statement or publication, by a signal.

    Without a signal it hangs there, for so many seconds or for good, and hears signals.
    """

    at: int
    what: str = "statement"
    signal: int | None = signal.SIGKILL
    seconds: float | None = None


def live(values, log, end):
    """Be a worker (in a process of its own)."""
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    from jobs.logs import set_up_logging
    from jobs.worker import work

    set_up_logging(Settings(**values), logging.INFO)
    if end:
        (_count_statements if end.what == "statement" else _count_publications)(end)
    sys.exit(work(Settings(**values)))


def _count_statements(end):
    from sqlalchemy import Engine, event

    left = [end.at]

    @event.listens_for(Engine, "before_cursor_execute")
    def count(_connection, _cursor, statement, *_):
        if statement.lstrip()[:6] in ("INSERT", "UPDATE", "DELETE"):
            passed()

    @event.listens_for(Engine, "commit")
    def commit(_connection):
        passed()

    def passed():
        left[0] -= 1
        if left[0] == 0:
            signal.pthread_kill(threading.get_ident(), end.signal)  # in this very thread, here


def _count_publications(end):
    before, left = Store.publish, [end.at]

    def publish(self, run, fields, lease=None):
        left[0] -= 1
        if left[0] == 0:
            print(f"signals itself before {run.region} {run.base_time:%H:%M}", flush=True)
            if end.signal is None:
                threading.Event().wait(end.seconds)
                return before(self, run, fields, lease)
            with self._db._turn:  # another thread's transaction would freeze with it and keep SQLite's only lock
                signal.pthread_kill(threading.get_ident(), end.signal)  # in this very thread, here
        try:
            return before(self, run, fields, lease)
        except LeaseLost as error:
            print(f"publication refused: {error}", flush=True)
            raise

    Store.publish = publish
