"""Every real file, against the sequences: decodings of the same files made by others' readers."""

import shutil
import zipfile
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest

from nowcast.errors import ReaderMissing
from nowcast.frame import valid_time
from nowcast.sources import read_frame, source_of
from nowcast.sources.geotiff import _rasterio

FILES = {
    "bom_nc": ("bom", "2018-06-16 10:00", 6, (512, 512)),
    "fmi_geotiff": ("fmi-geotiff", "2016-09-28 14:45", 0, (7316, 4963)),
    "fmi_pgm": ("fmi-pgm", "2016-09-28 14:45", 0, (1226, 760)),
    "knmi_h5": ("knmi", "2010-08-26 00:00", 5, (765, 700)),
    "mch_gif": ("mch-gif", "2015-05-15 15:45", 5, (640, 710)),
    "mrms_grib2": ("mrms", "2019-06-10 00:00", 0, (3500, 7000)),
    "nwcsaf_crr_nc": ("nwcsaf-crr", "2018-06-01 07:12:22", 0, (1019, 2200)),
    "opera_cirrus_2024": ("opera-dbzh", "2024-11-26 01:00", 0, (4400, 3800)),
    "opera_nimbus_2024": ("opera-rate", "2024-11-26 01:00", 0, (2200, 1900)),
    "opera_odim_2018": ("opera-rate", "2018-08-24 18:00", 0, (2200, 1900)),
}
SEQUENCES = {
    "fmi_pgm": "fmi_suomi1_20160928",
    "mch_gif": "mch_ch_20150515",
    "mrms_grib2": "mrms_conus_20190610",
    "nwcsaf_crr_nc": "sat_nwcsaf_crr_eu_20180601",
    "opera_cirrus_2024": "opera_cirrus_dbzh_20241126",
    "opera_odim_2018": "opera_eu_20180824",
}
NOT_FILLED = {"opera_cirrus_2024", "opera_nimbus_2024", "opera_odim_2018", "nwcsaf_crr_nc"}


def first(shared_data, folder):
    return sorted((shared_data / "raw" / folder).iterdir())[0]


def first_codes(shared_data, name, shape):
    """The first frame of a sequence, without unpacking the others."""
    with zipfile.ZipFile(shared_data / "sequences" / f"{name}.npz") as archive, archive.open("frames.npy") as member:
        version = np.lib.format.read_magic(member)
        assert version == (1, 0)
        stored, _, dtype = np.lib.format.read_array_header_1_0(member)
        assert stored[1:] == shape
        assert dtype == np.uint8
        return np.frombuffer(member.read(shape[0] * shape[1]), np.uint8).reshape(shape)


@pytest.fixture(scope="module")
def frames(shared_data):
    cache = {}

    def read(folder):
        if folder not in cache:
            if folder == "fmi_geotiff":
                try:
                    _rasterio()
                except ReaderMissing as error:
                    pytest.skip(str(error))
            cache[folder] = read_frame(first(shared_data, folder))
        return cache[folder]

    return read


@pytest.mark.parametrize("folder", FILES)
def test_source_time_interval_and_grid(frames, folder):
    name, time, minutes, shape = FILES[folder]
    frame = frames(folder)
    assert frame.attrs["source"] == name
    assert valid_time(frame) == datetime.fromisoformat(time).replace(tzinfo=UTC)
    assert frame.attrs["accumulation_minutes"] == minutes
    assert frame["rain_rate"].shape == shape
    assert ("quality" in frame) == (folder in NOT_FILLED)


@pytest.mark.parametrize("folder", SEQUENCES)
def test_same_mask_and_same_rain_as_the_sequences(frames, shared_data, folder):
    rate = frames(folder)["rain_rate"].values
    codes = first_codes(shared_data, SEQUENCES[folder], rate.shape)
    assert np.array_equal(np.isnan(rate), codes == 255)
    wet = (codes > 0) & (codes < 254)
    decibel = 10 * np.log10(rate[wet])
    assert np.abs(decibel - (-10 + 0.15 * (codes[wet] - 1.0))).max() <= 0.0751  # half a step of the codes
    assert rate[codes == 0].max() < 0.1 * 10**0.0075


def test_knmi_covers_a_quarter_and_counts_in_hundredths(frames):
    rate = frames("knmi_h5")["rain_rate"].values
    assert np.isfinite(rate).mean() == pytest.approx(0.256, abs=0.001)
    per_five_minutes = rate[np.isfinite(rate)] / 12
    assert np.abs(per_five_minutes * 100 - np.rint(per_five_minutes * 100)).max() < 1e-3


@pytest.mark.parametrize("formula", [b"GEO=0.500000*PV+-32.000000", b"GEO = 0.5 * PV - 32"])
def test_knmi_reflectivity(shared_data, tmp_path, formula):
    path = tmp_path / "RAD_NL25_PCP_NA_201008260000.h5"
    shutil.copyfile(first(shared_data, "knmi_h5"), path)
    with h5py.File(path, "r+") as file:
        file["image1"].attrs["image_geo_parameter"] = np.bytes_(b"REFLECTIVITY_[DBZ]")
        file["image1/calibration"].attrs["calibration_formulas"] = np.bytes_(formula)
        codes = file["image1/image_data"][...]
        codes[100, 100:102] = 130, 0
        file["image1/image_data"][...] = codes
    frame = read_frame(path)
    rate = frame["rain_rate"].values
    assert frame.attrs["accumulation_minutes"] == 0
    assert rate[100, 100] == pytest.approx((10 ** (33 / 10) / 200) ** (1 / 1.6), rel=1e-4)
    assert rate[100, 101] == 0
    assert np.array_equal(np.isnan(rate), codes == 65535)


def test_radolan_products_agree_where_it_rains(shared_data):
    folder = shared_data / "raw" / "dwd_radolan"
    rx, ry, rw = (read_frame(next(folder.glob(f"*-{product}_*"))) for product in ("rx", "ry", "rw"))
    assert [f.attrs["accumulation_minutes"] for f in (rx, ry, rw)] == [0, 5, 60]
    assert {valid_time(f) for f in (rx, ry, rw)} == {datetime(2014, 8, 10, 20, 50, tzinfo=UTC)}
    values = [f["rain_rate"].values for f in (rx, ry, rw)]
    both = np.isfinite(values[0]) & np.isfinite(values[1]) & ((values[0] > 0.5) | (values[1] > 0.5))
    assert np.corrcoef(values[0][both], values[1][both])[0, 1] > 0.5
    assert [round(float(np.isfinite(v).mean()), 3) for v in values] == [0.782, 0.751, 0.779]
    assert float(rx["x"][0]) == pytest.approx(-522_962.17, abs=0.01)
    assert float(rx["y"][-1]) == pytest.approx(-4_658_144.72, abs=0.01)


def test_bom_counts_in_twentieths_of_a_millimetre_in_six_minutes(frames):
    amounts = frames("bom_nc")["rain_rate"].values / 10
    assert np.abs(amounts * 20 - np.rint(amounts * 20)).max() < 1e-3


def test_crr_counts_in_tenths_and_most_is_good(frames):
    frame = frames("nwcsaf_crr_nc")
    rate = frame["rain_rate"].values
    assert np.nanmax(np.abs(rate * 10 - np.rint(rate * 10))) < 1e-3
    quality = frame["quality"].values
    assert set(np.unique(quality[np.isfinite(quality)])) <= {0.0, 0.5, 1.0}


def test_every_real_file_is_recognised(shared_data):
    for folder in sorted((shared_data / "raw").iterdir()):
        for path in sorted(folder.iterdir()):
            expected = "dwd-radolan" if folder.name == "dwd_radolan" else FILES[folder.name][0]
            assert source_of(path).name == expected, path
