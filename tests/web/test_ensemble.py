"""An ensemble's run on the page: its products, its members, and what is told of its model; a real API, made-up rain."""

import re

from tests.web.filled import MEMBERS, SCORES, STEPS
from tests.web.looking import frames_loaded, text_of, until

LIVE_BITMAPS = """
  window.bitmaps = {now: 0, most: 0};
  const make = window.createImageBitmap, close = ImageBitmap.prototype.close;
  window.createImageBitmap = async (...given) => {
    const made = await make(...given);
    bitmaps.now += made.width * made.height * 4;
    bitmaps.most = Math.max(bitmaps.most, bitmaps.now);
    return made;
  };
  ImageBitmap.prototype.close = function () {
    bitmaps.now -= this.width * this.height * 4;
    close.call(this);
  };
"""
STAMPS = "[...document.querySelectorAll('#stamps canvas')]"
PICTURES = f"{STAMPS}.map((canvas) => canvas.toDataURL())"
DRAWN = f"{STAMPS}.length === {MEMBERS} && {STAMPS}.every((canvas) => !canvas.classList.contains('unseen'))"
MIB = 2**20


def test_the_products_of_an_ensemble_are_offered_and_shown(visit_filled):
    page = visit_filled()
    frames_loaded(page)
    offered = page.locator("#product option").all_inner_texts()
    assert offered == [
        "Rain rate, mean",
        "Rain rate, median",
        "Rain rate, 90th perc.",
        "Rain rate, 10th perc.",
        *(f"Probability > {t} mm/h" for t in ("0.1", "1", "5", "10")),
        "Rain since the base time",
        "All members",
    ]
    page.locator("body").press("End")
    before = page.evaluate("document.querySelector('.rain canvas').toDataURL()")
    page.select_option("#product", "prob_1")
    until(page, f"{text_of('legend')}.startsWith('Probability > 1 mm/h, %')")
    until(page, f"document.querySelector('.rain canvas').toDataURL() !== {before!r}")


def test_a_place_has_the_band_and_the_probabilities(visit_filled):
    page = visit_filled("at=52.0900,5.1200&zone=utc")
    until(page, "document.querySelectorAll('#place canvas').length === 2")
    page.click("#table-summary")
    heads = page.locator("#place thead th").all_inner_texts()
    assert heads[-5:] == ["p10–p90", "> 0.1 mm/h", "> 1 mm/h", "> 5 mm/h", "> 10 mm/h"]
    last = page.locator("#place tbody tr").last.locator("td").all_inner_texts()
    low, high = map(float, last[-5].split("–"))
    assert 0 <= low < high
    assert [re.fullmatch(r"\d+ %", cell) is not None for cell in last[-4:]] == [True] * 4
    assert "10th to 90th percentile" in page.locator("#place").inner_text()


def test_the_state_tells_members_canary_coverage_and_what_is_missing(visit_filled):
    page = visit_filled()
    state = page.locator("#state").inner_text()
    assert "edge-2 (canary), 8 members" in state
    assert re.search(r"Coverage\s+90\s%", state)
    assert page.locator("[data-flag=frames-missing]").get_attribute("class") == "chip late"
    assert page.locator("[data-flag=revision]").get_attribute("class") == "chip quiet"
    assert "by satellite" not in state


def test_members_are_stamps_that_follow_the_time(visit_filled):
    page = visit_filled("product=members")
    frames_loaded(page)
    until(page, f"{text_of('stamps')}.includes('move the time past now')")
    page.click("#later")
    until(page, DRAWN)
    first = page.evaluate(PICTURES)
    assert len(set(first)) == MEMBERS
    assert page.locator("#stamps figcaption").first.inner_text() == "Member 1"
    page.click("#later")
    until(page, f"{DRAWN} && {STAMPS}[0].toDataURL() !== {first[0]!r}")
    assert all(a != b for a, b in zip(first, page.evaluate(PICTURES), strict=True))
    page.select_option("#product", "rain_mean")
    page.wait_for_selector("#stamps", state="hidden")


def test_a_member_that_cannot_be_had_is_hatched(visit_filled):
    page = visit_filled("product=members", before=lambda page: page.route("**/rain_member_03/5.png*", _abort))
    frames_loaded(page)
    page.click("#later")
    hatched = f"{STAMPS}.flatMap((canvas, k) => (canvas.classList.contains('unseen') ? [k] : [])).join()"
    until(page, f"{STAMPS}.length === {MEMBERS} && {hatched} === '2'")


def test_members_are_decoded_ahead_within_a_budget(visit_filled):
    page = visit_filled(before=lambda page: page.add_init_script(LIVE_BITMAPS))
    frames_loaded(page)
    alone = page.evaluate("bitmaps.now")
    assert alone > 20 * MIB  # the counter counts
    page.select_option("#product", "members")
    page.click("#later")
    until(page, DRAWN)
    until(page, f"bitmaps.now > {alone + 80 * MIB}")  # many leads ahead, not the one on show alone
    page.select_option("#speed", label="4×")
    page.click("#play")
    page.wait_for_selector("#play[data-playing=true]")
    until(page, f"{text_of('kind')} === 'forecast, +120 min'")
    assert page.evaluate(DRAWN)  # it waited for them
    page.click("#play")
    assert page.evaluate("bitmaps.most") < alone + (96 + 8) * MIB  # and the few in flight
    page.select_option("#product", "rain_mean")
    until(page, f"bitmaps.now < {alone + 8 * MIB}")


def test_the_status_view_tells_the_lives_of_models_and_who_served(visit_filled):
    page = visit_filled("page=status")
    until(page, "document.querySelectorAll('#lives tbody tr').length > 0")
    rows = page.locator("#lives tbody tr")
    assert rows.count() == 20
    newest = rows.first.locator("th, td").all_inner_texts()
    assert newest[1:5] == ["edge-2", "canary", "wide", "nightly"]
    assert newest[5] == "better than advection on 300 cycles"
    rows.first.locator("summary").click()
    evidence = rows.first.locator("li").all_inner_texts()
    assert evidence == ["cycles: 36", "difference: 0.0125", "regimes convective cycles: 4"]
    page.click("#older")
    until(page, f"document.querySelectorAll('#lives tbody tr').length === {STEPS}")
    assert page.locator("#older").count() == 0
    assert rows.first.locator("details").get_attribute("open") is not None
    assert "edge-2 (canary)" in page.locator("#status-page").inner_text()
    young = page.locator("#status-page section").first.locator("div:has(> h4:text-is('Young'))")
    assert young.inner_text().endswith("Nothing yet.")


def test_the_skill_table_has_the_apis_numbers(visit_filled):
    page = visit_filled("page=status")
    until(page, "document.querySelectorAll('#status-page .graph').length === 3")  # CRPS here, and two published
    graph = page.locator("#status-page .graph").first
    graph.locator("summary").click()
    heads = graph.locator("thead th").all_inner_texts()
    assert heads == ["Time", "edge", "extrapolation (advection)", "persistence"]
    rows = [row.locator("th, td").all_inner_texts() for row in graph.locator("tbody tr").all()]
    assert rows == [[f"+{lead} min", *(f"{v[k]:g}" for v in SCORES.values())] for k, lead in enumerate((5, 30))]


def _abort(route):
    route.abort()
