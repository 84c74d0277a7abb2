"""The demonstration and a browser, once for all tests of the page; both end with the last of them.

Playwright keeps an event loop running in this thread, under which tests of other packages could not run theirs.
"""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.web.demo import ROOT, Demo
from tests.web.filled import serve_filled
from tests.web.looking import PATIENCE_MS

# Chromium draws in software, as on any machine without a GPU: WebGL by SwiftShader, the rest without it
DRAWING = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-compositing"]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
    " worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page works under it; it is sent here where the API does not send one itself."""


def pytest_collection_modifyitems(items):
    """Keep the tests of the page in one process: a demonstration and a browser in each would all be late together.

    Each may be the first of them, which waits for the demonstration to start.
    """
    mine = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in mine:
        item.add_marker(pytest.mark.timeout(300))
        item.add_marker(pytest.mark.xdist_group("page"))
    known = {id(item) for item in mine}
    items[:] = [*mine, *(item for item in items if id(item) not in known)]  # the longest of all groups begins first


@pytest.fixture(scope="package")
def built():
    """The folder of the built page."""
    folder = ROOT / "api" / "static"
    if not (folder / "index.html").is_file():
        pytest.skip("the page is not built: `make api/static/index.html` (needs Node 20.19 or newer)")
    return folder


@pytest.fixture(scope="package")
def chromium():
    """A running Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium: `make chromium` as root, or `apt-get install chromium`")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make test` does it")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox", *DRAWING])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def demo(built, tmp_path_factory):
    """A running demonstration with a run of each region."""
    running = Demo(tmp_path_factory.mktemp("demo"))
    try:
        running.wait()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="package")
def filled(built, tmp_path_factory):
    """The API over a database with an ensemble's run, its members, scores and the lives of models."""
    with serve_filled(tmp_path_factory.mktemp("filled")) as serving:
        yield serving


@pytest.fixture
def visit(chromium, demo):
    """Open the demonstration's page: `visit("lang=de", locale="de")`."""
    with _visitor(chromium, demo.url) as open_page:
        yield open_page


@pytest.fixture
def visit_filled(chromium, filled):
    """Open the page of the API of `filled`."""
    with _visitor(chromium, filled.url) as open_page:
        yield open_page


@contextmanager
def _visitor(chromium, url):
    """Yield what opens pages; the test fails when a page fails, or asks anyone else."""
    contexts, wrong = [], []

    def open_page(view="", wait=True, before=None, **options):
        context = chromium.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "timezone_id": "Europe/Amsterdam", "locale": "en-GB"}
            | {"reduced_motion": "reduce"}
            | options
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("console", lambda told: wrong.append(told.text) if "Content Security Policy" in told.text else None)
        page.on("request", lambda asked: None if _own(asked.url, url) else wrong.append(f"asked {asked.url}"))
        page.route(f"{url}/", _under_policy)
        if before:
            before(page)
        page.goto(f"{url}/#{view}")
        if wait:
            page.wait_for_selector("html[data-run]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def _under_policy(route):
    answer = route.fetch()
    route.fulfill(response=answer, headers={"content-security-policy": POLICY} | answer.headers)


def _own(url: str, origin: str) -> bool:
    return url.startswith((origin, "blob:", "data:"))
