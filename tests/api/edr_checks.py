"""`make check-edr`: serve two regions with ensembles and places to OGC's schemas and to metno's `sedr`."""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from api.main import create_app
from nowcast.config import Settings
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.api.served import made as served
from tests.api.served.conftest import serving

ROOT = Path(__file__).parents[2]
SEDR_PYTHON = ROOT / ".venv-sedr" / "bin" / "python"
# Without its look at the conformance classes' addresses: it asks www.opengis.net, dies where that is not reached, and
# belongs to no requirement, as sedr/ogcapi10.py says itself.
START = "import sedr.ogcapi10; sedr.ogcapi10.tests_conformance.clear(); sedr.main()"
# It passes what schemathesis finds with a line on stderr, which it hides; `-s` shows it.
SEEN = {"PYTEST_ADDOPTS": "-s -p no:cacheprovider", "COLUMNS": "400"}
FAULT = re.compile(r"failed with message|^(FAILED|ERROR) |Request to .* failed|Traceback", re.MULTILINE)


def edr_alone(document: dict) -> dict:
    """Return an OpenAPI document's EDR paths as seen from `/edr`: sedr takes the API for the whole server."""
    paths = {p.removeprefix("/edr") or "/": item for p, item in document["paths"].items() if p.startswith("/edr")}
    return {**document, "paths": paths}


def sedr(folder: Path, address: str, openapi: Path) -> int:
    """Run a checkout of sedr; return how many faults it tells of (its own exit status is always 0)."""
    start = [SEDR_PYTHON, "-c", START, "--url", f"{address}/edr", "--openapi", openapi]
    told = subprocess.run(
        [*start, "--metocean-profile-core"],
        cwd=folder,
        env={**os.environ, **SEEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(told.stdout)
    return len(FAULT.findall(told.stdout)) + (told.returncode != 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schemas", type=Path, help="OGC's schemas, see scripts/edr_conformance.py")
    parser.add_argument("--sedr", type=Path, help="a checkout of sedr")
    asked = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/nowcast.db"
        upgrade(url)
        store = Store.open(url)
        store.put_regions(served.regions())
        base = served.base_time()
        for region in served.regions():
            for back in (served.STEP, 0 * served.STEP):
                served.publish(store, base - back, region.name, members=True)
        app = create_app(Settings(database_url=url))
        openapi = Path(folder) / "openapi.json"
        openapi.write_text(json.dumps(edr_alone(app.openapi())), "utf-8")
        with serving(app) as address:
            if asked.schemas:
                command = [sys.executable, ROOT / "scripts/edr_conformance.py", "--schemas", asked.schemas, address]
                faults += subprocess.run(command, check=False).returncode != 0
            if asked.sedr:
                faults += sedr(asked.sedr.resolve(), address, openapi)
        store.close()
    sys.exit(faults != 0)


if __name__ == "__main__":
    main()
