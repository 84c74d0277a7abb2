"""The image of the API holds what the API imports: it is no environment in which anything else was installed."""

import ast
import json
import re
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOADED = """
import importlib, json, pkgutil, sys, api
for module in pkgutil.walk_packages(api.__path__, "api."):
    importlib.import_module(module.name)
print(json.dumps([m.__file__ for name, m in sys.modules.items() if name.partition(".")[0] in ("api", "nowcast")]))
"""


def plain(name):
    """Return a distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def imported():
    """Return the distributions that our modules import where they are imported themselves."""
    told = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    tops = set()
    for node in (node for file in json.loads(told.stdout) for node in ast.parse(Path(file).read_text()).body):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None) or ""]
        tops |= {name.partition(".")[0] for name in names}
    known = packages_distributions()
    return {plain(dist) for top in tops for dist in known.get(top, ())} - {"nowcast"}


def brought(asked):
    """Return the distributions that requirements bring."""
    found, todo = set(), [Requirement(text) for text in asked]
    while todo:
        one = todo.pop()
        found.add(plain(one.name))
        more = [Requirement(text) for text in distribution(one.name).requires or ()]
        extras = one.extras or {""}
        wanted = (r for r in more if not r.marker or any(r.marker.evaluate({"extra": extra}) for extra in extras))
        todo += [r for r in wanted if plain(r.name) not in found]
    return found


def installed():
    """Return what the Dockerfile installs into the image `api`."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    command = re.search(r"AS api\n.*?RUN pip install --no-cache-dir -c constraints.txt (.*?)\n", text, re.DOTALL)
    return [part.strip("'") for part in command[1].split()]


def test_all_that_the_api_imports_is_in_its_image():
    wanted = imported()
    missing = wanted - brought(installed())
    assert wanted >= {"fastapi", "numpy", "sqlalchemy", "pillow"}
    assert not missing, f"add {', '.join(sorted(missing))} to the Dockerfile's list of the image api"
