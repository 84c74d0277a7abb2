"""Imports run one way: jobs → engines → nowcast ← api, and jobs → nowcast."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"nowcast", "engines", "jobs", "api"}
MAY_IMPORT = {
    "nowcast": {"nowcast"},
    "engines": {"engines", "nowcast"},
    "jobs": {"jobs", "engines", "nowcast"},
    "api": {"api", "nowcast"},
}
NEVER = {
    "nowcast": {"fastapi", "uvicorn", "apscheduler", "tensorrt", "cuda", "openvino"},
    "api": {"torch", "openvino", "tensorrt", "cuda", "apscheduler", "cv2"},
    "engines": {"fastapi", "uvicorn", "apscheduler"},
    "jobs": {"torch"},
}


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_it_may(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        found = imports(path)
        assert found & ROOMS <= MAY_IMPORT[room], path
        assert not found & NEVER[room], path


def test_only_config_reads_the_environment():
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text("utf-8")
            if path.relative_to(ROOT).as_posix() not in {"nowcast/config.py", "jobs/supervise.py"}:
                assert "os.environ" not in text, path
                assert "getenv" not in text, path


def test_the_api_loads_without_torch_or_engine():
    code = "import sys, api.main; print(sorted({'torch', 'openvino', 'cv2', 'apscheduler'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
