"""`nowcast forecast` on real KNMI files, and what it says of files that cannot be used."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from nowcast.scores import csi, mae
from nowcast.sources import read_frame
from tests.jobs.feeds import BASE, OTHER, minutes, write

ROOT = Path(__file__).parents[2]


def nowcast(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def knmi(shared_data):
    return sorted((shared_data / "raw/knmi_h5").glob("*.h5"))


@pytest.fixture(scope="module")
def made(knmi, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "out.nc"
    given = [knmi[4], knmi[2], knmi[5], knmi[0], knmi[3], knmi[1]]  # any order will do
    done = nowcast("forecast", *given, "-o", output)
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(output, decode_timedelta=True) as dataset:
        return dataset.load()


def test_the_file_is_what_the_contract_says(made):
    assert made["rain_rate"].dims == ("lead_time", "y", "x")
    assert made["rain_rate"].dtype == np.float32
    assert made["rain_rate"].attrs["units"] == "mm h-1"
    assert made["rain_rate"].attrs["standard_name"] == "rainfall_rate"
    mapping = made["rain_rate"].encoding.get("grid_mapping") or made["rain_rate"].attrs["grid_mapping"]
    assert "Stereographic" in made[mapping].attrs["crs_wkt"]
    assert made["forecast_reference_time"].values == np.datetime64("2010-08-26T00:25")
    assert made["lead_time"].values.tolist() == [k * 300 * 10**9 for k in range(1, 25)]
    assert made["time"].values[2] == np.datetime64("2010-08-26T00:40")
    assert np.all(np.diff(made["y"]) < 0)


def test_what_was_not_seen_is_nan_and_never_zero(made, knmi):
    unseen = np.isnan(read_frame(knmi[5])["rain_rate"].values)
    first = made["rain_rate"].values[0]
    assert np.isnan(first[unseen]).mean() > 0.98  # but for what the wind carried over the edge
    assert np.isfinite(first[~unseen]).mean() > 0.95


@pytest.mark.parametrize("lead", [0, 2, 5])
def test_it_beats_persistence(made, knmi, lead):
    observed = read_frame(knmi[6 + lead])["rain_rate"].values
    persistence, forecast = read_frame(knmi[5])["rain_rate"].values, made["rain_rate"].values[lead]
    assert csi(forecast, observed, 1) > 1.3 * csi(persistence, observed, 1)
    assert mae(forecast, observed) < 0.7 * mae(persistence, observed)


@pytest.mark.parametrize(
    "sources", [["knmi"], ["mch", "fmi"]]
)  # whatever the region lists: the files are what there is
def test_leads_and_region(knmi, tmp_path, sources):
    regions = tmp_path / "regions.toml"
    regions.write_text(
        '[regions.home]\ncrs = "EPSG:28992"\nx0 = 150500\ny0 = 500500\ncell = 1000\nheight = 80\nwidth = 70\n'
        f"sources = {sources}\n"
    )
    out = tmp_path / "home.nc"
    done = nowcast(
        "forecast", *knmi[:4], "-o", out, "--leads", 6, "--region", "home", NOWCAST_REGIONS_FILE=str(regions)
    )
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(out, decode_timedelta=True) as dataset:
        assert dataset["rain_rate"].shape == (6, 80, 70)
        assert np.isfinite(dataset["rain_rate"].values).mean() > 0.95


def cases(tmp_path, knmi):
    whole = knmi[0].read_bytes()
    files = {name: tmp_path / f"RAD_NL25_{name}.h5" for name in ("empty", "truncated", "text")}
    files["empty"].touch()
    files["truncated"].write_bytes(whole[: len(whole) // 2])
    files["text"].write_bytes(b"no radar here")
    future, near = (write(tmp_path, BASE + minutes(m), name=f"{m}.nc") for m in (60 * 24 * 3650, 0))
    small, earlier = write(tmp_path, BASE - minutes(5), name="small.nc", grid=OTHER), knmi[0]
    return {
        "no such file": ([tmp_path / "none.h5", knmi[0]], "No such file"),
        "empty": ([files["empty"], knmi[0]], "empty file"),
        "truncated": ([files["truncated"], knmi[0]], "not readable as knmi"),
        "text": ([files["text"], knmi[0]], "no source recognises it"),
        "future": ([future, near], "min ahead of"),
        "one file": ([earlier], "only 1 usable frame"),
        "too far apart": ([knmi[0], knmi[8]], "only 1 usable frame"),
        "two grids": ([small, near], "not the same grid"),
    }


NAMES = ["no such file", "empty", "truncated", "text", "future", "one file", "too far apart", "two grids"]


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_is_one_line_and_nothing_is_written(name, tmp_path, knmi):
    files, told = cases(tmp_path, knmi)[name]
    done = nowcast("forecast", *files, "-o", tmp_path / "out.nc")
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.glob("*out.nc*"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--leads", "0"], "between 1 and 24"),
        (["--leads", "25"], "between 1 and 24"),
        (["--region", "moon"], "no region 'moon'; there are: lowlands, alps"),
        (["--region", "alps"], "knmi saw nothing on (128, 192) cells of alps"),
        (["--model", "oracle"], "no plan for model 'oracle'"),
        (["--model", "edge", "--members", "9"], "model 'edge' has 8; ask for 1 to 8, or take --model standard (24)"),
        (["-o", "/nowhere/at/all/out.nc"], "does not exist; create it"),
    ],
)
def test_bad_options_are_one_line(options, told, knmi, tmp_path):
    out = [] if "-o" in options else ["-o", tmp_path / "out.nc"]
    done = nowcast("forecast", *knmi[:4], *out, *options)
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
