"""The page for everyone: no serious finding of axe-core."""

import pytest

from tests.web.demo import ROOT
from tests.web.looking import frames_loaded, still, until

AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", ["region=lowlands&at=52.0900,5.1200", "page=status"])
def test_axe_finds_nothing_serious(visit, demo, theme, view):
    page = visit(f"{view}&theme={theme}")
    with still(page, demo):  # nothing is drawn anew while axe looks at it
        page.wait_for_selector("#place canvas, #status-page .slots")
        if "at=" in view:
            page.click("#table-summary")
            page.click("#later")  # a forecast: the legend has all that it may have
        assert serious(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_an_ensemble(visit_filled, theme):
    page = visit_filled(f"product=members&at=52.0900,5.1200&theme={theme}")
    frames_loaded(page)
    page.click("#later")
    until(page, "document.querySelectorAll('#stamps canvas').length && document.querySelector('#place canvas')")
    assert serious(page) == []
    page.click("#page")
    until(page, "document.querySelector('#lives summary') && document.querySelectorAll('.graph').length === 3")
    page.locator("#lives summary").first.click()
    assert serious(page) == []


def serious(page):
    """What axe-core finds serious or worse: the rule and the first elements."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: `npm ci` in web/")
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")["violations"]
    return [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found if v["impact"] in ("serious", "critical")]
