"""Who has ended: a lease of a process of this machine that is no more is not waited for, any other is."""

import subprocess
import sys

import pytest

from jobs.leader import has_ended, holder_name

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
