"""Who leads: how long a lease lasts, and whose is not waited for: of a process of this machine that is no more."""

import subprocess
import sys
import time
from datetime import timedelta

import pytest

from jobs.guard import Guard
from jobs.leader import Leader, has_ended, holder_name
from nowcast.clock import Clock
from nowcast.errors import LeaseLost

LASTS = timedelta(seconds=3)
ASK = "import sys; from jobs.leader import has_ended, holder_name; print(has_ended(sys.argv[1]), holder_name())"
ANEW = ("unshare", "--pid", "--fork", "--mount-proc")


def asked(holder, *within):
    """Return what another process says of a holder, and its own name."""
    answer = subprocess.run([*within, sys.executable, "-c", ASK, holder], capture_output=True, text=True, check=True)
    told, name = answer.stdout.split()
    return told == "True", name


def test_a_process_that_runs_has_not_ended_and_one_that_is_gone_has():
    told, gone = asked(holder_name())
    assert not told
    assert has_ended(gone)
    assert not has_ended(f"elsewhere{gone}")


def test_a_container_does_not_know_the_processes_of_another():
    if subprocess.run([*ANEW, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may make no process namespace")
    told, other = asked(holder_name(), *ANEW)
    assert not told  # this process has no such number there, and lives
    assert not has_ended(other)


def seconds_until_taken(store):
    """How long another worker, on another machine, waits for the lease."""
    other, began = Leader(store, Clock(), "elsewhere", lasts=LASTS), time.monotonic()
    while True:
        try:
            other.hold()
        except LeaseLost:
            assert time.monotonic() - began < 20
            time.sleep(0.05)
        else:
            return time.monotonic() - began


def test_the_lease_of_a_pass_that_hangs_is_renewed_and_ends_with_the_time_that_a_pass_has(store):
    """Of a lease of 3 s and a pass that may take 7: so long that a busy machine does not decide."""
    guard, leader = Guard(lambda: None, 1000, limit=7.0), Leader(store, Clock(), lasts=LASTS)
    with guard:
        leader.hold()
        leader.keep(lambda: guard.at_work(guard.limit - 3))
        assert 4 < seconds_until_taken(store) < 12
    leader.release()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_lease_that_was_given_back_is_not_taken_again_by_a_pass_under_way(store):
    leader = Leader(store, Clock())
    leader.hold()
    leader.release()
    with pytest.raises(LeaseLost, match="ends and has given"):
        leader.hold()
    assert Leader(store, Clock(), "elsewhere").hold().token == 2
