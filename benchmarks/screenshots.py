"""The pictures of the page in `docs/img`, of the running demonstration: `python -m benchmarks.screenshots`.

A model that is no better is registered, and made the canary of one region by the same commands that a person has, so
that the status view has a life to tell. Look at every picture before it is committed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.web.conftest import DRAWING
from tests.web.demo import ROOT, Demo
from tests.web.looking import frames_loaded, map_opened, next_run, until

OUT = ROOT / "docs" / "img"
SPEED = 20
TRIED = "advection-b"
AHEAD = timedelta(minutes=40)
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
UTRECHT, BERN = "at=52.0900,5.1200", "at=46.9480,7.4474"


def model(demo: Demo, *command: str) -> None:
    """Run `nowcast model …` on the demonstration's database and clock."""
    settings = Path(f"/proc/{demo.child('worker')}/environ").read_bytes().split(b"\0")
    found = dict(one.decode().split("=", 1) for one in settings if one.startswith((b"NOWCAST_", b"PYTHONPATH=")))
    subprocess.run(
        [sys.executable, "-m", "jobs.cli", "model", *command], env={**os.environ, **found}, check=True, cwd=ROOT
    )


def live(demo: Demo, minutes: float) -> None:
    """Let time pass, and a model be tried."""
    family = demo.read("/v1/regions/alps")["model"]
    model(demo, "register", TRIED, "engines/plans/advection", "--family", family, "--why", "a second opinion")
    model(demo, "promote", TRIED, "--to", "shadow", "--why", "every candidate runs in the shadow first")
    time.sleep(60 * minutes / 3)
    model(demo, "promote", TRIED, "--to", "canary", "--region", "alps", "--why", "to see it under load")
    time.sleep(60 * minutes * 2 / 3)


def shots(newest: datetime) -> dict[str, tuple[str, dict]]:
    """Return the view and the browser of each picture."""
    ahead = f"time={newest + AHEAD:%Y-%m-%dT%H:%MZ}"
    return {
        "page-light": (f"region=lowlands&theme=light&{ahead}&{UTRECHT}", DESKTOP),
        "page-dark": (f"region=alps&theme=dark&product=prob_1&{ahead}", DESKTOP),
        "page-members": (f"region=lowlands&theme=light&product=members&{ahead}", DESKTOP),
        "page-status": ("page=status&theme=light&region=lowlands", {"viewport": {"width": 1280, "height": 1500}}),
        "page-phone": (f"region=lowlands&theme=light&{ahead}", {**PHONE, "locale": "de-DE"}),
        "page-phone-dark": (f"region=alps&theme=dark&{ahead}&{BERN}", {**PHONE, "locale": "zh-CN"}),
    }


def take(page: Page, name: str, out: Path) -> None:
    """Wait until all is drawn, and take the picture; of the status view the lives of models as well."""
    if name == "page-status":
        until(page, "document.querySelectorAll('#status-page section').length > 5")
        page.screenshot(path=out / f"{name}.png")
        page.locator("#status-page section:has(#lives)").screenshot(path=out / "page-lives.png")
        return
    next_run(page)  # so that what is shown is fresh
    frames_loaded(page)
    map_opened(page)
    until(page, "document.querySelector('#place').hidden || document.querySelector('#place canvas')")
    until(page, "!document.querySelector('#stamps canvas.unseen')")
    page.wait_for_timeout(1500)  # coasts come last
    page.screenshot(path=out / f"{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    demo = Demo(Path(tempfile.mkdtemp()), SPEED)
    try:
        demo.wait()
        live(demo, args.minutes)
        newest = datetime.fromisoformat(demo.read("/v1/regions/lowlands")["newest_base_time"])
        with sync_playwright() as playwright:
            path = shutil.which("chromium") or "chromium-browser"
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *DRAWING])
            for name, (view, options) in shots(newest).items():
                shared = {"timezone_id": "Europe/Amsterdam", "locale": "en-GB", "reduced_motion": "reduce"}
                page = browser.new_context(**{**shared, **options}).new_page()
                page.set_default_timeout(90_000)
                page.goto(f"{demo.url}/#{view}")
                page.wait_for_selector("html[data-run]")
                take(page, name, args.out)
            browser.close()
    finally:
        demo.stop()


if __name__ == "__main__":
    main()
