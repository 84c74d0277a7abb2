"""Damage files, read them in the sandbox, and check what must hold: `python -m tests.fuzz.run --count 10000`.

Every answer is a frame or an `InputError`; no child grows past its limit; this process neither dies nor grows; the
canary's rate and text are in no answer.
"""

import argparse
import re
import resource
import shutil
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nowcast.confine import Limits
from nowcast.errors import InputError
from nowcast.sandbox import Sandbox
from tests.conftest import find_shared
from tests.fuzz.mutations import CANARY, CANARY_RATE, Fuzzer


def check(sandbox, path):
    """Read one damaged file; return what it came to, or raise for what must never be."""
    word, told = "read", ""
    try:
        frame = sandbox.read(path)
        assert not (frame["rain_rate"].values == CANARY_RATE).any(), path
    except InputError as error:
        word, told = type(error).__name__, str(error)
    assert CANARY not in told, path
    cause = re.search(r"its parser (.*?);", told)
    return f"{word} ({path.name}: the child {cause[1]})" if cause else word


def hunt(count, seed=0, workers=2, shared=None, folder=None, limits=None):
    """Return how often each outcome came, the peak of a child's memory and the growth of this process, MiB."""
    folder = Path(folder or tempfile.mkdtemp(prefix="nowcast-fuzz-"))
    fuzzer, outcomes, peak = Fuzzer(folder, seed, shared), Counter(), 0.0
    limits = limits or Limits(seconds=10)
    with Sandbox(workers, limits) as sandbox, ThreadPoolExecutor(workers) as pool:
        sandbox.walls()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        def one(number):
            path = written[number]
            try:
                return check(sandbox, path)
            finally:
                shutil.rmtree(path.parent)

        for start in range(0, count, 64):
            written = {n: fuzzer.write(n) for n in range(start, min(start + 64, count))}
            outcomes.update(pool.map(one, written))
            peak = max(peak, *(memory(worker) for worker in sandbox._idle.queue if worker), 0.0)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert sum(outcomes.values()) == count
    assert peak < limits.memory / 2**20
    shutil.rmtree(folder)
    return outcomes, peak, grown


def memory(worker):
    """Return the peak of a child's resident memory, MiB; 0 where it has ended."""
    try:
        status = Path(f"/proc/{worker._process.pid}/status").read_text()
    except OSError:
        return 0.0
    return max((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), default=0) / 1024


def main():
    """Hunt, and say what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shared", type=Path, default=find_shared(), help="folder of real files")
    given = parser.parse_args()
    start = time.monotonic()
    outcomes, peak, grown = hunt(given.count, given.seed, given.workers, given.shared)
    told = ", ".join(f"{word} {number}" for word, number in outcomes.most_common())
    print(f"seed {given.seed}: {given.count} files in {time.monotonic() - start:.0f} s: {told}")
    print(f"largest child {peak:.0f} MiB, this process grew by {grown:.0f} MiB, no canary, no other error")


if __name__ == "__main__":
    main()
