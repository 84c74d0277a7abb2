"""What the page says when things are not as they should be."""

import signal

from tests.web.looking import frames_loaded, next_run, still, text_of, until

CONNECTED = "html[data-connected=true]"
AWAY = "html[data-connected=false]"
FRESH = "document.querySelector('#age[data-state=fresh]') && document.getElementById('notice').hidden"


def test_the_api_goes_away_and_comes_back(visit, demo):
    page = visit("region=lowlands")
    with demo.unsupervised():
        demo.signal("serve", signal.SIGKILL)
        page.wait_for_selector(AWAY)
        assert "does not answer" in page.locator("#notice").inner_text()
        assert page.locator("#age").is_visible()
    page.wait_for_selector(CONNECTED, timeout=60_000)  # the supervisor starts it again after two seconds
    next_run(page)
    until(page, FRESH)


def test_a_forecast_that_grows_old_turns_amber_then_red_then_fresh(visit, demo):
    page = visit("region=lowlands")
    next_run(page)
    demo.signal("worker", signal.SIGSTOP)
    try:
        late, old = ("document.querySelector('#age[data-state=%s]')" % state for state in ("late", "old"))
        until(page, f"{late} && {text_of('notice')}.includes('newer radar images are late')", patience_ms=60_000)
        until(page, f"{old} && {text_of('notice')}.includes('Do not rely on it')", patience_ms=60_000)
    finally:
        demo.signal("worker", signal.SIGCONT)
    until(page, FRESH, patience_ms=90_000)


def test_a_frame_that_cannot_be_had_is_hatched_and_never_looks_dry(visit, demo):
    without = lambda page: page.route("**/120.png*", lambda route: route.abort())  # noqa: E731
    page = visit("region=lowlands", before=without)
    frames_loaded(page)
    rain = "document.querySelector('.rain [data-region=lowlands]').className"
    until(page, f"{rain} === ''")
    with still(page, demo):
        page.locator("body").press("End")
        until(page, f"{rain} === 'unseen'")
