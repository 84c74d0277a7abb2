"""Which sources are satellites, by name alone: for readers of the store, who load none of the sources themselves."""

import tomllib
from pathlib import Path

from nowcast.errors import ConfigError

KNOWN = frozenset({"simulated-sat", "nwcsaf-crr", "goes-rrqpe"})
"""Of `nowcast.sources.SOURCES` those that say `satellite`; a test compares the two."""


def satellites(sources_file: Path | None) -> frozenset[str]:
    """Return the names of all satellites, with those of a file of own sources (`nowcast.sources.own`).

    Raises
    ------
    ConfigError
        When the file cannot be read; what is wrong inside a source, the worker says.
    """
    if sources_file is None:
        return KNOWN
    try:
        tables = tomllib.loads(sources_file.read_text("utf-8")).get("sources", {})
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{sources_file}: {error}; give a TOML file of sources") from error
    own = {name for name, table in tables.items() if table.get("satellite", table.get("reader") in KNOWN)}
    return (KNOWN - set(tables)) | own
