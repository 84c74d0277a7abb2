"""What tests read off the page, and how they wait for it: for states, never for so many milliseconds.

The page is alive: runs arrive every few seconds. What belongs together is read in one call, and what a new run would
change is looked at while the worker stands still (`still`).
"""

import json
import signal
import time
from contextlib import contextmanager
from datetime import datetime

PATIENCE_MS = 45_000


def until(page, condition, patience_ms=PATIENCE_MS):
    """Wait until an expression is true on the page; in here, since its policy forbids the page to evaluate words."""
    deadline = time.monotonic() + patience_ms / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"never true: {condition}; {describe(page)}"
        page.wait_for_timeout(50)


def describe(page):
    """What the page shows, for a test that fails."""
    return page.evaluate("""() => ({
      hash: location.hash, run: document.documentElement.dataset.run,
      ...Object.fromEntries(["clock", "kind", "state", "notice", "progress", "summary"].map(
        (id) => [id, document.getElementById(id)?.innerText])),
    })""")


def text_of(name):
    """The expression of an element's text."""
    return f"(document.getElementById({json.dumps(name)})?.textContent ?? '')"


def clock(page):
    """The time shown."""
    return page.evaluate(text_of("clock"))


def base_time(page):
    """Base time of the run shown."""
    return datetime.fromisoformat(page.evaluate("document.documentElement.dataset.run"))


def address(page):
    """The part of the address that keeps the view, as the page itself has it."""
    return page.evaluate("location.hash.slice(1)")


def next_run(page):
    """Wait for another run than the one shown."""
    shown = page.evaluate("document.documentElement.dataset.run")
    until(page, f"document.documentElement.dataset.run !== {json.dumps(shown)}")


def frames_loaded(page):
    """Wait until all frames are decoded and one is drawn."""
    until(page, "performance.getEntriesByName('first-frame').length > 0 && document.getElementById('progress').hidden")


def map_opened(page):
    """Wait until there is a map and the address has its camera."""
    until(page, "document.querySelector('#map .maplibregl-canvas') && location.hash.includes('map=')")


@contextmanager
def still(page, demo):
    """Hold the worker, so that no run arrives, and wait until the page shows the last one."""
    demo.signal("worker", signal.SIGSTOP)
    try:
        region = page.evaluate("document.getElementById('region').value")
        newest = demo.read(f"/v1/regions/{region}")["newest_base_time"]
        until(page, f"Date.parse(document.documentElement.dataset.run) >= Date.parse({json.dumps(newest)})")
        frames_loaded(page)
        yield
    finally:
        demo.signal("worker", signal.SIGCONT)
