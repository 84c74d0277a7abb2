"""How routes declare what FastAPI does not see in their signature."""

from typing import Any

Responses = dict[int | str, dict[str, Any]]

NAME: dict[str, Any] = {
    "name": "region",
    "in": "path",
    "required": True,
    "description": "A region's name.",
    "example": "lowlands",
    "schema": {"type": "string", "maxLength": 64},
}


def media(*types: str) -> Responses:
    """Return the declaration of a 200 with one of these media types."""
    return {200: {"content": {kind: {"schema": _schema(kind)} for kind in types}}}


def _schema(kind: str) -> dict[str, str]:
    if kind.startswith("text/"):
        return {"type": "string"}
    return {"type": "object"} if kind.endswith("json") else {"type": "string", "format": "binary"}
