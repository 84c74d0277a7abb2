"""/docs in a browser that has no network."""

import httpx


def test_a_browser_without_a_network_shows_every_operation(chromium, filled):
    context = chromium.new_context()
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith((filled.url, "data:")) else None)
    page.goto(f"{filled.url}/docs")
    page.wait_for_selector("#operations-forecast-read_forecast_v1_forecast_get", timeout=30_000)
    shown = page.locator(".opblock").count()
    document = httpx.get(f"{filled.url}/openapi.json").json()
    assert shown == sum(len(operations) for operations in document["paths"].values())
    page.locator("#operations-forecast-read_forecast_v1_forecast_get button.opblock-summary-control").click()
    page.wait_for_selector("text=Degrees north", timeout=30_000)
    context.close()
    assert not wrong
