from datetime import UTC, datetime

import h5py
import numpy as np
import pytest
import xarray as xr

from nowcast.errors import ConfigError, InputError, UnreadableFile, WrongTime
from nowcast.frame import grid_of, make_frame, valid_time
from nowcast.grid import Grid
from nowcast.sources import digest_of, read_frame, source_named
from nowcast.sources.simulated import RADAR_GRID, rain, write_files

TIME = datetime(2026, 11, 21, 12, tzinfo=UTC)


class TestKnmi:
    @pytest.fixture
    def path(self, shared_data):
        return sorted((shared_data / "raw/knmi_h5").glob("*.h5"))[5]

    def test_states_units_and_time(self, path):
        frame = read_frame(path)
        with h5py.File(path) as file:
            codes = file["image1/image_data"][...]
        rate = frame["rain_rate"].values
        assert np.array_equal(np.isnan(rate), codes == 65535)
        seen = codes != 65535
        assert np.allclose(rate[seen], codes[seen] * 0.01 * 12, atol=1e-5)  # mm in 5 min → mm/h
        assert valid_time(frame) == datetime(2010, 8, 26, 0, 25, tzinfo=UTC)
        assert (frame.attrs["source"], frame.attrs["accumulation_minutes"]) == ("knmi", 5)
        assert frame.attrs["digest"] == digest_of(path)

    def test_the_grid_meets_the_corners_that_the_file_states(self, path):
        grid = grid_of(read_frame(path))
        with h5py.File(path) as file:
            corners = file["geographic"].attrs["geo_product_corners"]  # lon, lat of SW, NW, NE, SE
        outer = [
            (grid.x0 - 500, grid.y0 - (grid.height - 0.5) * 1000),
            (grid.x0 - 500, grid.y0 + 500),
            (grid.x0 + (grid.width - 0.5) * 1000, grid.y0 + 500),
        ]
        from nowcast.grid import WGS84, transformer

        for (x, y), lon, lat in zip(outer, corners[::2], corners[1::2], strict=False):
            assert np.allclose(transformer(grid.crs, WGS84).transform(x, y), (lon, lat), atol=0.01)

    def test_de_bilt_lies_where_the_file_says_the_radar_is(self, path):
        row, column = grid_of(read_frame(path)).cell(52.103, 5.179)
        assert 0 < row < 765
        assert 0 < column < 700


def cf_file(path, rate, **changes):
    grid = changes.pop("grid", Grid("EPSG:2056", 2600000.0, 1200000.0, 1000.0, 1000.0, *rate.shape))
    dataset = make_frame(rate, grid, TIME, "other").drop_attrs(deep=False)
    change = changes.pop("change", lambda d: d)
    change(dataset).to_netcdf(path, engine="netcdf4", encoding={"rain_rate": changes} if changes else {})
    return path


RATE = np.array([[0, 1, 2], [np.nan, 0.5, 30]], np.float32)


def as_air(dataset):
    renamed = dataset.rename(rain_rate="t")
    renamed["t"].attrs["standard_name"] = "air_temperature"
    return renamed


class TestCf:
    def test_a_frame_survives_the_file(self, tmp_path):
        frame = read_frame(cf_file(tmp_path / "a.nc", RATE))
        assert np.array_equal(frame["rain_rate"].values, RATE, equal_nan=True)
        assert valid_time(frame) == TIME
        assert grid_of(frame).digest == Grid("EPSG:2056", 2600000.0, 1200000.0, 1000.0, 1000.0, 2, 3).digest

    def test_packed_codes_keep_unseen_apart_from_dry(self, tmp_path):
        path = cf_file(tmp_path / "a.nc", RATE, dtype="u2", scale_factor=0.01, _FillValue=65535)
        got = read_frame(path)["rain_rate"].values
        assert np.allclose(got, RATE, atol=0.005, equal_nan=True)
        assert got[0, 0] == 0

    def test_rows_from_the_south_are_turned(self, tmp_path):
        frame = read_frame(cf_file(tmp_path / "a.nc", RATE, change=lambda d: d.isel(y=slice(None, None, -1))))
        assert np.array_equal(frame["rain_rate"].values, RATE, equal_nan=True)

    @pytest.mark.parametrize(("unit", "factor"), [("kg m-2 s-1", 3600), ("m s-1", 3.6e6), ("mm/h", 1)])
    def test_units_become_mm_per_hour(self, tmp_path, unit, factor):
        def change(dataset):
            dataset["rain_rate"].attrs["units"] = unit
            dataset["rain_rate"] = dataset["rain_rate"] / np.float32(factor)
            dataset["rain_rate"].attrs = {"units": unit, "standard_name": "rainfall_rate", "grid_mapping": "crs"}
            return dataset

        frame = read_frame(cf_file(tmp_path / "a.nc", RATE, change=change))
        assert np.allclose(frame["rain_rate"].values, RATE, rtol=1e-4, equal_nan=True)

    def test_latitude_and_longitude_need_no_mapping(self, tmp_path):
        grid = Grid("EPSG:4326", 7.0, 47.0, 0.1, 0.1, 2, 3)

        def change(dataset):
            dataset["rain_rate"].attrs.pop("grid_mapping")
            return dataset.drop_vars("crs")

        assert grid_of(read_frame(cf_file(tmp_path / "a.nc", RATE, grid=grid, change=change))).shape == (2, 3)

    @pytest.mark.parametrize(
        ("change", "error", "told"),
        [
            (lambda d: d.drop_vars("valid_time"), WrongTime, "no coordinate valid_time or time"),
            (lambda d: d.assign_coords(valid_time=5.0), WrongTime, "is no time"),
            (as_air, UnreadableFile, "standard_name"),
            (lambda d: d.assign(rain_rate=d.rain_rate.assign_attrs(units="dBZ")), UnreadableFile, "'dBZ'"),
            (lambda d: d.drop_vars("crs"), UnreadableFile, "grid_mapping"),
            (lambda d: d.assign_coords(x=[0.0, 1.0, 5.0]), UnreadableFile, "evenly spaced"),
            (lambda d: d.assign(rain_rate=d.rain_rate - 99), InputError, "finite and ≥ 0"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said(self, tmp_path, change, error, told):
        def keep_attributes(dataset):
            changed = change(dataset)
            if "rain_rate" in changed and not changed["rain_rate"].attrs:
                changed["rain_rate"].attrs = dataset["rain_rate"].attrs
            return changed

        with pytest.raises(error, match=told):
            read_frame(cf_file(tmp_path / "a.nc", RATE, change=keep_attributes))


class TestRefusals:
    def test_empty_file(self, tmp_path):
        path = tmp_path / "RAD_NL25_x.h5"
        path.touch()
        with pytest.raises(UnreadableFile, match="empty file; fetch it again"):
            read_frame(path)

    def test_missing_file(self, tmp_path):
        with pytest.raises(UnreadableFile, match="No such file"):
            read_frame(tmp_path / "none.h5")

    def test_unknown_file(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("rain")
        with pytest.raises(UnreadableFile, match=r"no source recognises it; there are: .*knmi"):
            read_frame(path)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_truncated_file(self, shared_data, tmp_path, share):
        original = sorted((shared_data / "raw/knmi_h5").glob("*.h5"))[0]
        data = original.read_bytes()
        path = tmp_path / original.name
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(UnreadableFile, match="not readable as knmi"):
            read_frame(path)

    def test_unknown_source(self):
        with pytest.raises(ConfigError, match=r"no source 'x'; there are: .*knmi"):
            source_named("x")


class TestSimulated:
    def test_files_are_written_once_and_read_back(self, tmp_path):
        start = datetime(2026, 11, 21, 11, 40, tzinfo=UTC)
        paths = list(write_files(tmp_path, start, TIME))
        assert [p.parent.name for p in paths].count("simulated") == 4
        assert [p.parent.name for p in paths].count("simulated-sat") == 2
        assert list(write_files(tmp_path, start, TIME)) == []
        frames = [read_frame(path) for path in paths]
        assert {f.attrs["source"] for f in frames} == {"simulated", "simulated-sat"}
        radar = frames[0]["rain_rate"].values
        assert 0.2 < np.isnan(radar).mean() < 0.8
        assert 0.02 < (radar >= 0.1).mean() < 0.5

    def test_the_weather_moves_grows_and_decays(self):
        from nowcast.motion import motion
        from nowcast.scores import csi
        from nowcast.space import to_model

        x, y = np.meshgrid(RADAR_GRID.x[:320] / 1000, RADAR_GRID.y[:320] / 1000)
        minute = lambda m: rain(x, y, datetime(2026, 11, 21, 11, m, tzinfo=UTC))  # noqa: E731
        values, mask = to_model(np.stack([minute(m) for m in (0, 5, 10, 15)]))
        wind = motion(values, mask)
        assert 2 < np.hypot(*np.median(wind, (1, 2))) < 10  # 24 to 120 km/h
        assert csi(minute(15), minute(45), 0.5) < 0.6

    def test_the_spectrum_falls_like_rain(self):
        x, y = np.meshgrid(np.arange(512.0) + 3800, np.arange(512.0) + 2700)
        field = np.log10(np.maximum(rain(x, y, TIME), 0.05))
        power = np.abs(np.fft.fft2(field * np.hanning(512) * np.hanning(512)[:, None])) ** 2
        k = np.hypot(*np.meshgrid(np.fft.fftfreq(512), np.fft.fftfreq(512)))
        bands = [power[(k > 1 / s / 1.3) & (k < 1.3 / s)].mean() for s in (64, 32, 16, 8)]
        slopes = np.diff(np.log2(bands))
        assert ((slopes < -1) & (slopes > -4)).all()


def test_xarray_opens_what_we_write(tmp_path):
    (path,) = write_files(
        tmp_path, datetime(2026, 11, 21, 11, 50, tzinfo=UTC), datetime(2026, 11, 21, 11, 55, tzinfo=UTC)
    )
    with xr.open_dataset(path) as dataset:
        assert dataset["rain_rate"].attrs["units"] == "mm h-1"
        assert "crs_wkt" in dataset["crs"].attrs
