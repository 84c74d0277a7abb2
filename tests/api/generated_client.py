"""`make check-client`: generate a client from the OpenAPI document, and let it read a served run."""

import json
import subprocess
import tempfile
from pathlib import Path

from api.main import create_app
from nowcast.config import Settings
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.api.served import made as served
from tests.api.served.conftest import serving

ENVIRONMENT = Path(__file__).parents[2] / ".venv-client" / "bin"
READ = """
import sys
sys.path.insert(0, sys.argv[1])
from made import Client
from made.api.forecast import read_forecast_v1_forecast_get as point, read_forecasts_v1_forecast_post as points
from made.api.regions import read_regions_v1_regions_get as regions
from made.api.regions import read_timeline_v1_regions_region_timeline_get as timeline
from made.models import PointQuery, Points
client = Client(base_url=sys.argv[2], raise_on_unexpected_status=True)
found = point.sync(client=client, lat=47.05, lon=8.31)
assert found.region == "alps" and len(found.minutely_5.rain_mean) == 24, found
assert found.summary.text
assert [r.name for r in regions.sync(client=client)] == ["alps", "lowlands"]
assert len(timeline.sync("alps", client=client).steps) == 24
many = points.sync(client=client, body=Points(points=[PointQuery(lat=47.05, lon=8.31)] * 3))
assert len(many.forecasts) == 3
print("generated client:", found.summary.text, "|", found.base_time)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/nowcast.db"
        upgrade(url)
        store = Store.open(url)
        store.put_regions(served.regions())
        served.publish(store, served.base_time(), members=True)
        app = create_app(Settings(database_url=url))
        document = Path(folder) / "openapi.json"
        document.write_text(json.dumps(app.openapi()), "utf-8")
        generate = [ENVIRONMENT / "openapi-python-client", "generate", "--meta", "none", "--path", document]
        subprocess.run([*generate, "--output-path", Path(folder) / "made"], check=True, stdout=subprocess.DEVNULL)
        with serving(app) as address:
            subprocess.run([ENVIRONMENT / "python", "-c", READ, folder, address], check=True)
        store.close()


if __name__ == "__main__":
    main()
