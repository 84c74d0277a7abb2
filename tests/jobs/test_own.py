"""Sources of one's own, as docs/own-files.md describes them: forecast from, replayed, read by their own Z–R."""

import shutil

import numpy as np
import pytest
import xarray as xr

from jobs.oneshot import read_in_order
from nowcast.sources import with_own
from tests.jobs.test_oneshot import nowcast
from tests.nowcast.test_docs import blocks
from tests.sources.written import CODES, netcdf, odim

REGION = (
    '[regions.ours]\ncrs = "EPSG:3035"\nx0 = 3999500\ny0 = 3000500\ncell = 1000\nheight = 64\nwidth = 64\n'
    'sources = ["our-radar"]\nmargin = 0\n'
)


@pytest.fixture
def described(tmp_path):
    """The document's description and a satellite's like it, as settings, and a region on the first."""
    radar = blocks("own-files.md")[0]
    satellite = radar.replace("our-radar", "our-satellite").replace("RR_", "SAT_") + "satellite = true\n"
    (tmp_path / "sources.toml").write_text(radar + satellite, "utf-8")
    (tmp_path / "regions.toml").write_text(REGION)
    return {
        "NOWCAST_SOURCES_FILE": str(tmp_path / "sources.toml"),
        "NOWCAST_REGIONS_FILE": str(tmp_path / "regions.toml"),
    }


@pytest.fixture
def files(tmp_path):
    """The document's files, in the folder of a recorded feed."""
    folder = tmp_path / "feed" / "our-radar"
    folder.mkdir(parents=True)
    axes = {
        "x": (("x",), 4e6 + 1000.0 * np.arange(64), {"units": "m"}),
        "y": (("y",), 3e6 - 1000.0 * np.arange(64), {"units": "m"}),
    }
    made = []
    for number, minute in enumerate((40, 45, 50, 55)):
        values = np.full((64, 64), -8888, np.float32)
        values[20:40, 20 + number : 40 + number] = 0.5
        values[:5] = -9999
        variables = {**axes, "rr": (("y", "x"), values, {})}
        made.append(netcdf(folder / f"RR_2024050111{minute}.nc", variables, {"y": 64, "x": 64}))
    return made


def test_forecast(described, files, tmp_path):
    done = nowcast("forecast", *files, "-o", tmp_path / "rain.nc", **described)
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(tmp_path / "rain.nc", decode_timedelta=True) as made:
        assert made.attrs["source"] == "nowcast of our-radar"
        assert made["forecast_reference_time"].values == np.datetime64("2024-05-01T12:00")
        assert float(made["rain_rate"][0].max()) == pytest.approx(6, rel=0.2)


def test_a_satellite_fills_and_does_not_say_when(described, files, tmp_path):
    later = shutil.copy(files[-1], tmp_path / "SAT_202405011200.nc")
    done = nowcast("forecast", *files, later, "-o", tmp_path / "rain.nc", "--region", "ours", **described)
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(tmp_path / "rain.nc", decode_timedelta=True) as made:
        assert made["forecast_reference_time"].values == np.datetime64("2024-05-01T12:00")


def test_replay(described, files, tmp_path):
    done = nowcast("replay", files[0].parents[1], "--into", tmp_path / "again", **described)
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["11:50", "11:55", "12:00"]


def test_a_source_we_have_is_read_by_the_zr_that_is_stated(tmp_path):
    (tmp_path / "sources.toml").write_text(blocks("own-files.md")[1], "utf-8")
    path = odim(tmp_path / "T_PABV23_C_LZIB_20240501120000.hdf", "DBZH", minutes=0)
    (frame,) = read_in_order([path], with_own(tmp_path / "sources.toml"))
    assert frame.attrs["source"] == "shmu"
    dbz = 0.5 * CODES[2, 2]
    assert frame["rain_rate"].values[2, 2] == pytest.approx((10 ** (dbz / 10) / 300) ** (1 / 1.4), rel=1e-3)
