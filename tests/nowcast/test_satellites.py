"""The names of satellites are those that the sources themselves say."""

import pytest

from nowcast.errors import ConfigError
from nowcast.ingest import satellites_of
from nowcast.satellites import satellites
from nowcast.sources import SOURCES, with_own

OWN = """
[sources.our-radar]
reader = "netcdf"
files = ["RR_*.nc"]
variable = "rr"
unit = "mm/h"

[sources.our-satellite]
reader = "netcdf"
files = ["SAT_*.nc"]
variable = "rr"
unit = "mm/h"
satellite = true

[sources.crr-of-ours]
reader = "nwcsaf-crr"
files = ["CRR_*.nc"]
"""


def test_names_are_those_of_the_sources():
    assert satellites(None) == satellites_of(SOURCES)


def test_own_sources_count_as_they_say_or_as_what_they_are_read_by(tmp_path):
    file = tmp_path / "sources.toml"
    file.write_text(OWN)
    assert satellites(file) == satellites_of(with_own(file))
    assert satellites(file) - satellites(None) == {"our-satellite", "crr-of-ours"}
    with pytest.raises(ConfigError, match=r"none\.toml"):
        satellites(tmp_path / "none.toml")
