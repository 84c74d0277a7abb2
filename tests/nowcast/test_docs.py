"""What the documents show works as they show it."""

import re
from pathlib import Path

import numpy as np
import pytest

from nowcast.feeds.config import read_feeds
from nowcast.frame import grid_of, valid_time
from nowcast.inspect import describe, picture
from nowcast.sources import SOURCES, read_frame, source_of, with_own
from nowcast.stack import build_stack
from tests.sources.written import netcdf

DOCS = Path(__file__).parents[2] / "docs"


def blocks(name):
    return re.findall(r"```toml\n(.*?)```", (DOCS / name).read_text("utf-8"), re.S)


def test_the_tutorial_from_a_file_to_a_stack(tmp_path):
    """Everything of the tutorial but the engine: described, recognised, inspected, and enough for a forecast."""
    toml = tmp_path / "sources.toml"
    toml.write_text(blocks("own-files.md")[0], "utf-8")
    sources = with_own(toml)
    frames = []
    for number, minute in enumerate((40, 45, 50, 55)):
        values = np.full((64, 64), -8888, np.float32)
        values[20:40, 20 + number : 40 + number] = 0.5
        values[:5] = -9999
        path = netcdf(
            tmp_path / f"RR_2024050111{minute}.nc",
            {
                "x": (("x",), 4e6 + 1000.0 * np.arange(64), {"units": "m"}),
                "y": (("y",), 3e6 - 1000.0 * np.arange(64), {"units": "m"}),
                "rr": (("y", "x"), values, {}),
            },
            {"y": 64, "x": 64},
        )
        frames.append(read_frame(path, source_of(path, sources)))
    found = describe(frames[-1], "file", sources[0])
    assert found.source == "our-radar"
    assert found.maximum == pytest.approx(6)
    assert found.not_seen == pytest.approx(5 / 64)
    assert f"{valid_time(frames[-1]):%H:%M}" == "12:00"
    assert len(picture(frames[-1])) > 100
    assert build_stack(frames, grid_of(frames[-1])).missing == 0


def test_the_other_descriptions_are_valid(tmp_path):
    for number, text in enumerate(blocks("own-files.md")):
        path = tmp_path / f"{number}.toml"
        path.write_text(text, "utf-8")
        assert len(with_own(path)) == len(SOURCES) + 1
    path.write_text(blocks("feeds.md")[0], "utf-8")
    assert [feed.name for feed in read_feeds(path)] == ["us", "nl", "ftp-in", "ours", "bucket"]


def test_every_source_is_documented():
    text = (DOCS / "sources.md").read_text("utf-8")
    documented = {source.name for source in SOURCES if not source.name.startswith("simulated")}
    assert all(f"`{name}`" in text for name in documented)
