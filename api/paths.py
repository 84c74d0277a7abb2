"""Where a request goes, as the routes have it."""

from starlette.types import Scope


def path_of(scope: Scope) -> str:
    """Return the path beneath where the application is mounted: with uvicorn's `--root-path` that stands before it."""
    path, root = str(scope["path"]), scope.get("root_path")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path
