"""/docs works with no other host, under the content security policy of every page."""

import pytest


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
