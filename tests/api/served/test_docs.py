"""/docs works with no other host, under the content security policy of every page."""

import pytest

from tests.web.conftest import chromium  # noqa: F401  the fixture


def test_its_files_come_from_here(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert "script-src" not in page.headers["content-security-policy"]  # so that default-src 'self' holds for scripts
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "//" not in page.text
    for name, kind in (
        ("swagger-ui-bundle.js", "text/javascript"),
        ("swagger-ui.css", "text/css"),
        ("favicon.png", "image/png"),
        ("start.js", "text/javascript"),
    ):
        assert f"docs/{name}" in page.text
        file = client.get(f"/docs/{name}")
        assert file.status_code == 200
        assert file.headers["content-type"].startswith(kind)
    for name in ("redoc.standalone.js", "nothing.js", "..%2F__init__.py"):
        assert client.get(f"/docs/{name}").status_code == 404, name
    assert "/docs" not in client.get("/openapi.json").json()["paths"]


def test_a_browser_without_a_network_shows_every_operation(client, chromium):  # noqa: F811
    root = str(client.base_url).rstrip("/")
    context = chromium.new_context()
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith((root, "data:")) else None)
    page.goto(f"{root}/docs")
    page.wait_for_selector("#operations-forecast-read_forecast_v1_forecast_get", timeout=30_000)
    shown = page.locator(".opblock").count()
    document = client.get("/openapi.json").json()
    assert shown == sum(len(operations) for operations in document["paths"].values())
    page.locator("#operations-forecast-read_forecast_v1_forecast_get button.opblock-summary-control").click()
    page.wait_for_selector("text=Degrees north", timeout=30_000)
    context.close()
    assert not wrong


def test_under_a_prefix_it_asks_beside_itself(client):
    text = client.get("/docs").text + client.get("/docs/start.js").text
    assert '"/' not in text


def test_without_its_package_it_says_so(client, monkeypatch):
    import api.docs

    api.docs._folder.cache_clear()
    monkeypatch.setattr(api.docs, "find_spec", lambda name: None)
    answer = client.get("/docs/swagger-ui.css")
    api.docs._folder.cache_clear()
    assert answer.status_code == 404
    assert "fastapi-offline" in answer.json()["detail"]
    assert pytest.importorskip("fastapi_offline")
