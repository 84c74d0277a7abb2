"""The page against the running demonstration, in a browser."""

import re
from datetime import datetime

import pytest

from tests.web.looking import address, base_time, clock, frames_loaded, map_opened, next_run, still, text_of, until

WATCH_FLICKER = """() => {
  const canvas = document.querySelector(`.rain [data-region=${document.getElementById("region").value}]`);
  window.flickered = 0;
  const missing = () => document.getElementById("kind").textContent === "no image"; // rightly hatched
  const look = () => (window.flickered += canvas.classList.contains("unseen") && !missing());
  new MutationObserver(look).observe(canvas, {attributes: true, attributeFilter: ["class"]});
}"""
WATCH_PLAYING = """
  window.played = [];
  addEventListener("DOMContentLoaded", () => {
    const play = document.getElementById("play");
    new MutationObserver(() => window.played.push(play.dataset.playing)).observe(play, {attributes: true});
  });
"""
STANDS = """() => new Promise((resolve) => {
  const clock = document.getElementById("clock"), {run} = document.documentElement.dataset;
  const before = clock.textContent;
  setTimeout(() => resolve(clock.textContent === before || document.documentElement.dataset.run !== run), 500);
})"""
"""Whether the time stands; where it follows the newest observation, a new run moves it."""
COUNT_DOTS = """([region, lat, lon, radius]) => {
  const canvas = document.querySelector(`.rain [data-region=${region.name}]`);
  const [west, south, east, north] = region.bounds, y = (lat) => Math.asinh(Math.tan((lat * Math.PI) / 180));
  const column = Math.floor(((lon - west) / (east - west)) * canvas.width);
  const row = Math.floor(((y(north) - y(lat)) / (y(north) - y(south))) * canvas.height);
  const size = 2 * radius + 1;
  const {data} = canvas.getContext("2d").getImageData(column - radius, row - radius, size, size);
  let dark = 0;
  for (let k = 0; k < data.length; k += 4) dark += data[k] < 60 && data[k + 1] < 60 && data[k + 2] < 60 && data[k + 3] > 200;
  return dark;
}"""
UTRECHT = "at=52.0900,5.1200"


def test_shows_the_newest_run_and_says_what_it_is(visit, demo):
    page = visit("zone=utc&region=lowlands")
    frames_loaded(page)
    assert page.locator("#region option").count() == len(demo.read("/v1/regions"))
    run, state = page.evaluate("[document.documentElement.dataset.run, document.getElementById('state').innerText]")
    assert f"{datetime.fromisoformat(run):%H:%M} UTC" in state
    age, warned = page.evaluate("[document.getElementById('age').dataset.state, !document.getElementById('notice').hidden]")
    assert warned == (age != "fresh")  # a busy machine makes its runs late, and the page says so
    assert "openvino" in page.locator("#state").inner_text()
    assert re.search(r"Coverage (\d+|< 1)\s%", page.locator("#state").inner_text())
    classes = next(p for p in demo.read("/v1/palettes") if p["kind"] == "rate")["classes"]
    assert page.locator("#legend .classes li").count() == len(classes)
    assert page.locator("#legend .hatch").is_visible()
    assert page.locator("#kind").inner_text() == "observed"
    assert page.locator("#seen-by").inner_text() == "simulated"
    assert page.context.cookies() == []
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_plays_steps_and_drags(visit, demo):
    page = visit("zone=utc")
    frames_loaded(page)
    before = clock(page)
    page.select_option("#speed", label="4×")
    page.evaluate(WATCH_FLICKER)
    page.click("#play")
    until(page, f"{text_of('clock')} !== '{before}'")
    until(page, f"{text_of('kind')}.startsWith('forecast')")
    next_run(page)
    until(page, f"{text_of('kind')} === 'observed'")  # round, and past a new run
    page.click("#play")
    page.wait_for_selector("#play[data-playing=false]")
    assert page.evaluate("flickered") == 0
    assert page.evaluate(STANDS)
    with still(page, demo):
        page.click("#tonow")
        now = page.locator("#slider").input_value()
        page.click("#later")
        assert page.locator("#kind").inner_text() == "forecast, +5 min"
        assert page.locator("#seen-by").inner_text() == ""
        assert int(page.locator("#slider").input_value()) == int(now) + 1
        box = page.locator("#slider").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
        assert page.locator("#kind").inner_text() == "forecast, +120 min"


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_begins_to_play_only_where_motion_is_welcome(visit, motion):
    page = visit(before=lambda page: page.add_init_script(WATCH_PLAYING), reduced_motion=motion)
    frames_loaded(page)
    if motion == "reduce":
        page.wait_for_timeout(1500)  # time enough to begin
        assert page.evaluate("played.includes('true')") is False
    else:  # once, and back to now
        until(page, "played.includes('true') && played.at(-1) === 'false'")
        until(page, f"{text_of('kind')} === 'observed'")


def test_click_opens_a_place_with_sentence_chart_table_and_downloads(visit, demo):
    page = visit("region=lowlands&zone=utc")
    map_opened(page)
    box = page.locator("#map").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#place canvas")
    assert page.locator("#summary").inner_text() != ""
    page.click("#table-summary")
    rows = page.locator("#place tbody tr").all_inner_texts()
    assert sum("Forecast" in row or "forecast" in row for row in rows) == 24
    assert any("observed" in row for row in rows)
    at = re.search(r"at=([-\d.]+),([-\d.]+)", address(page))
    assert page.locator("#csv").get_attribute("href") == f"/v1/forecast.csv?lat={at[1]}&lon={at[2]}"
    assert page.locator("#netcdf").get_attribute("href").startswith("/v1/files/lowlands/")
    page.keyboard.press("Escape")
    assert page.locator("#place").is_hidden()
    assert "at=" not in address(page)


def test_a_click_counts_before_the_map_has_opened(visit, demo):
    held, released = [], []

    def hold(route):
        route.continue_() if released else held.append(route)

    page = visit("region=lowlands&zone=utc", wait=False, before=lambda page: page.route("**/assets/map-*.js", hold))
    until(page, "performance.getEntriesByName('first-frame').length > 0")
    box = page.locator("#map").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#place canvas")
    until(page, "!document.querySelector('.maplibregl-canvas')")
    lat, lon = map(float, re.search(r"at=([-\d.]+),([-\d.]+)", address(page)).groups())
    assert demo.read(f"/v1/forecast?lat={lat}&lon={lon}")["region"] == "lowlands"
    released.append(True)
    for route in held:
        route.continue_()
    page.wait_for_selector(".maplibregl-canvas")


def test_a_link_reopens_the_same_view(visit):
    page = visit(f"region=alps&zone=utc&{UTRECHT.replace('52.0900,5.1200', '47.0000,8.0000')}&theme=dark&lang=de")
    frames_loaded(page)
    map_opened(page)
    page.locator("body").press("End")
    until(page, "location.hash.includes('time=')")
    camera, link = re.search(r"map=[^&]*", address(page))[0], address(page)
    again = visit(link)
    frames_loaded(again)
    map_opened(again)
    assert again.locator("html").get_attribute("lang") == "de"
    assert again.locator("html").get_attribute("data-theme") == "dark"
    assert again.locator("#region").input_value() == "alps"
    assert again.locator("#place").is_visible()
    assert clock(again) == clock(page)
    assert camera in address(again)


def test_a_new_run_arrives_without_losing_the_place(visit, demo):
    page = visit(f"region=lowlands&zone=utc&{UTRECHT}")
    frames_loaded(page)
    page.wait_for_selector("#place canvas")
    with still(page, demo):
        for _ in range(6):
            page.click("#later")
        looked_at, run, link = clock(page), base_time(page), page.locator("#netcdf").get_attribute("href")
    until(page, f"Date.parse(document.documentElement.dataset.run) > {run.timestamp() * 1000}")
    assert clock(page) == looked_at
    until(page, f"document.getElementById('netcdf')?.getAttribute('href') !== '{link}'")
    page.click("#tonow")
    until(page, f"{text_of('kind')} === 'observed'")


def test_keyboard_alone_is_enough(visit, demo):
    page = visit("region=lowlands&zone=utc")
    frames_loaded(page)
    map_opened(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "slider"
    with still(page, demo):
        page.keyboard.press("Home")
        first = clock(page)
        page.keyboard.press("ArrowRight")
        assert clock(page) != first
        page.keyboard.press("End")
        assert page.locator("#slider").get_attribute("aria-valuetext").endswith("forecast, +120 min")
    page.keyboard.press(" ")
    page.wait_for_selector("#play[data-playing=true]")
    page.keyboard.press(" ")
    page.wait_for_selector("#play[data-playing=false]")
    page.locator("#query").focus()
    page.keyboard.type("52.09, 5.12")
    page.keyboard.press("Enter")
    page.wait_for_selector("#place canvas")
    assert page.evaluate("document.activeElement.id") == "place"
    page.keyboard.press("Escape")
    assert page.locator("#place").is_hidden()
    page.keyboard.press("Enter")  # the map has the focus: the place in its middle
    page.wait_for_selector("#place canvas")
    page.keyboard.press("Escape")


def test_a_place_no_region_covers_says_so(visit):
    page = visit("at=10.0000,10.0000")
    until(page, "document.getElementById('summary')?.textContent.includes('No region')")
    page.fill("#query", "Atlantis")
    page.press("#query", "Enter")
    until(page, f"{text_of('search-answer')}.includes('No place of that name')")


def test_the_status_view_shows_slots_stages_and_parity(visit):
    page = visit("page=status")
    page.wait_for_selector("#status-page .slots rect:is(.published, .degraded)")  # degraded while a radar is out
    until(page, f"{text_of('status-page')}.includes('engine') && {text_of('status-page')}.includes('passed')")
    page.select_option("#region", "lowlands")
    page.click("#page")
    map_opened(page)
    width = "document.querySelector('.rain [data-region=lowlands]')?.getBoundingClientRect().width"
    until(page, f"300 < {width} && {width} < 1280")
    page.go_back()
    page.wait_for_selector("#status-page .slots")


def test_skill_is_drawn_beside_its_baselines(visit, demo):
    page = visit("page=status&region=lowlands")
    # once the radar has seen what the first runs said
    until(page, "document.querySelectorAll('#status-page .graph').length > 2")  # the published ones are two
    with still(page, demo):
        page.reload()
        until(page, "document.querySelectorAll('#status-page .graph').length > 2")
        makers = {row["made_by"] for row in demo.read("/v1/regions/lowlands/skill?hours=24")} - {"observed"}
        assert "persistence" in makers
        assert len(makers) > 1
        graph = page.locator("#status-page h4:has-text('Low Countries') ~ .side .graph").first
        assert "CRPS" in graph.locator("h5").inner_text()
        assert graph.locator("path:not(.axis)").count() == 2 * len(makers)  # a line and its sample in the key
        assert "persistence" in graph.locator(".key").inner_text()
        assert "STEPS" in page.locator("#status-page").inner_text()


def test_what_a_satellite_filled_is_marked_and_what_the_radar_saw_is_not(visit, demo):
    """The north-eastern corner of the simulated Low Countries is out of the reach of every radar."""
    page = visit("region=lowlands&zone=utc")
    with still(page, demo):
        region = demo.read("/v1/regions/lowlands")
        seen_by = lambda lat, lon: demo.read(f"/v1/forecast?lat={lat}&lon={lon}")["minutely_5"]["rain_source"][0]  # noqa: E731
        filled, seen, radius = (53.4, 7.2), (52.09, 5.12), 6
        for lat, lon, source in ((*filled, "simulated-sat"), (*seen, "simulated")):
            for north, east in ((0, 0), (0.06, 0), (-0.06, 0), (0, 0.1), (0, -0.1)):
                assert seen_by(lat + north, lon + east) == source
        assert region["satellites"] == ["simulated-sat"]
        page.click("#tonow")
        assert page.locator("#legend-filled").count() == 0  # observed: what the radar saw, and nothing else
        assert page.evaluate(COUNT_DOTS, [region, *filled, radius]) == 0
        page.click("#later")
        assert page.locator("#legend-filled").inner_text() == "from satellite"
        assert page.evaluate(COUNT_DOTS, [region, *filled, radius]) >= 2
        assert page.evaluate(COUNT_DOTS, [region, *seen, radius]) == 0
        assert "by satellite" in page.locator("#coverage").inner_text()
        page.evaluate(f"location.hash = location.hash + '&at={filled[0]},{filled[1]}'")
        page.wait_for_selector("#from-satellite")


@pytest.mark.parametrize(("language", "word"), [("de", "Vorhersage"), ("zh", "预报")])
def test_speaks_the_readers_language(visit, language, word):
    page = visit(locale=language)
    page.locator("body").press("End")
    assert page.locator("html").get_attribute("lang") == language
    assert word in page.locator("#kind").inner_text()


def test_on_a_phone_no_word_of_what_is_shown_is_cut(visit):
    """German has the longest: Vorhersage."""
    page = visit("region=lowlands", viewport={"width": 390, "height": 844}, locale="de-DE")
    page.locator("body").press("End")
    until(page, f"{text_of('kind')}.startsWith('Vorhersage')")
    cut = "(e) => e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX !== 'visible'"
    assert not page.eval_on_selector(".what", cut)


@pytest.mark.parametrize("size", [(390, 844), (640, 400)], ids=["phone", "zoomed to 200 %"])
def test_fits_a_phone_and_a_zoomed_window(visit, size):
    page = visit(f"region=lowlands&{UTRECHT}", viewport={"width": size[0], "height": size[1]}, has_touch=True)
    page.wait_for_selector("#place canvas")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#map").bounding_box()["height"] >= 200
    for control in ("#play", "#slider", "#region", "#product", "#age", "#summary", "#close-place"):
        left, right = page.evaluate(
            f"(({{left, right}}) => [left, right])(document.querySelector('{control}').getBoundingClientRect())"
        )
        assert 0 <= left < right <= size[0], control
    page.tap("#play")
    page.wait_for_selector("#play[data-playing=true]")
