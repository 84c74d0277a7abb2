"""What a feed is: a table of a TOML file, checked when it is read.

::

    [feeds.mrms]
    source = "mrms"                          # sub-folder of the feed folder, and who reads the files
    kind = "http"                            # folder, http or object
    listing = "https://host/2D/PrecipRate/"  # a page that names files; or url = "https://host/{time:%Y%m%d-%H%M%S}.gz"
    pattern = 'MRMS_(?P<time>[0-9]{8}-[0-9]{6})[.]grib2[.]gz'    # file names in the listing, and their time
    time_format = "%Y%m%d-%H%M%S"
    hosts = ["host"]                         # no other is ever asked, redirects included
    poll_seconds = 20

`{time:…}` and `{name}` stand in URLs for the time (UTC) and the file's name.
"""

import re
import tomllib
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nowcast.clock import floor
from nowcast.errors import ConfigError

KINDS = ("folder", "http", "object")
ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class FeedConfig:
    """One feed.

    Attributes
    ----------
    folder
        Where files appear (kind `folder`).
    url, listing, pattern, time_format
        A template with `{time:…}` for each file, or a page in which `pattern` finds file names; with a listing, `url`
        (with `{name}`) says where the files are, else they lie beside the listing. A listing with `{time:…}` is asked
        for each page that has wanted times.
    indirect
        The URL answers JSON that has the file's URL under this key (KNMI).
    store, options
        fsspec protocol and its options (kind `object`); `listing` is then the folder, with `{time:…}`.
    step_minutes
        Time between files: which times a template is asked for.
    look_back_minutes
        How far back files are fetched: newest first.
    hosts
        Who may be asked; of `url` and `listing` if left out.
    private
        Whether addresses of private networks may be asked.
    max_bytes, deadline_seconds, tries
        Of one file.
    key_file
        File with the value of the header `key_header`.
    licence, documentation
        For people.
    """

    name: str
    source: str
    kind: str = "http"
    folder: str = ""
    url: str = ""
    listing: str = ""
    pattern: str = ""
    time_format: str = "%Y%m%d%H%M"
    indirect: str = ""
    store: str = ""
    options: tuple[tuple[str, Any], ...] = ()
    step_minutes: float = 5.0
    look_back_minutes: float = 30.0
    hosts: tuple[str, ...] = ()
    private: bool = False
    max_bytes: int = 64_000_000
    deadline_seconds: float = 30.0
    tries: int = 4
    poll_seconds: float = 30.0
    key_file: str = ""
    key_header: str = "Authorization"
    licence: str = ""
    documentation: str = ""

    def __post_init__(self) -> None:
        self._need(self.kind in KINDS, f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        self._need(
            re.fullmatch(r"[a-z0-9-]+", self.source) is not None, f"source must be a source's name, got {self.source!r}"
        )
        self._need(self.kind != "folder" or bool(self.folder), "a folder feed needs folder")
        self._need(self.kind != "http" or bool(self.url or self.listing), "an http feed needs url or listing")
        self._need(not self.listing or bool(self.pattern), "a listing needs a pattern with (?P<time>…)")
        self._need(
            not self.pattern or "time" in re.compile(self.pattern).groupindex, "pattern needs a group (?P<time>…)"
        )
        self._need(self.kind != "object" or bool(self.store and self.listing), "an object feed needs store and listing")
        numbers = (self.step_minutes, self.look_back_minutes, self.max_bytes, self.deadline_seconds, self.tries)
        self._need(min(*numbers, self.poll_seconds) > 0, "times, sizes and tries must be > 0")
        for url in (self.url, self.listing) if self.kind == "http" else ():
            self._need(not url or urlsplit(url).scheme in {"http", "https"}, f"{url!r} is no http(s) URL")
        self._need(re.fullmatch(r"[A-Za-z0-9-]+", self.key_header) is not None, f"{self.key_header!r} is no header")
        self._try_out()

    def _try_out(self) -> None:
        """Fill in each template once: one that cannot be would only be found out by a poll, and end it."""
        for template in (self.url, self.listing):
            try:
                template.format(time=ANY_TIME, name="name")
            except (LookupError, AttributeError) as error:
                raise ValueError(f"{template!r} names {error}, only {{time:…}} and {{name}} are known") from error
        for host in self.allowed:
            host.encode("idna")
        datetime.strptime(ANY_TIME.strftime(self.time_format), self.time_format).replace(tzinfo=UTC)

    @staticmethod
    def _need(met: bool, message: str) -> None:
        if not met:
            raise ValueError(message)

    @property
    def allowed(self) -> frozenset[str]:
        """Hosts that may be asked."""
        return frozenset(self.hosts or (urlsplit(u).hostname or "" for u in (self.url, self.listing) if u))

    def times(self, now: datetime) -> list[datetime]:
        """Return the times whose files are wanted, newest first."""
        step = timedelta(minutes=self.step_minutes)
        newest = floor(now, step)
        return [newest - step * n for n in range(int(self.look_back_minutes / self.step_minutes) + 1)]

    def listings(self, now: datetime) -> list[str]:
        """Return the pages or folders that name wanted files: after midnight the day before's too, the newest first."""
        oldest = now - timedelta(minutes=self.look_back_minutes)
        return list(dict.fromkeys(self.listing.format(time=t) for t in (now, *self.times(now), oldest)))

    def young(self, name: str, now: datetime) -> datetime | None:
        """Return the time in a file's name if it matches and is wanted, else None."""
        match = re.fullmatch(self.pattern, name)
        if not match:
            return None
        try:
            time = datetime.strptime(match["time"], self.time_format).replace(tzinfo=UTC)
        except ValueError:  # digits that are no date
            return None
        return time if timedelta(minutes=-5) <= now - time <= timedelta(minutes=self.look_back_minutes) else None

    def headers(self) -> dict[str, str]:
        """Return the request headers, with the key read from its file.

        Raises
        ------
        ConfigError
            When the key file cannot be read, or holds what no header may.
        """
        if not self.key_file:
            return {}
        try:
            key = Path(self.key_file).read_bytes().decode("latin-1").strip()
        except OSError as error:
            raise ConfigError(f"feed {self.name}: {self.key_file}: {error.strerror}; write the key there") from error
        if not re.fullmatch("[ -~]+", key):
            told = f"{len(key)} bytes that are not one line of plain ASCII"
            raise ConfigError(f"feed {self.name}: {self.key_file}: {told}; write the key there, and nothing else")
        return {self.key_header: key}


def read_feeds(path: Path) -> tuple[FeedConfig, ...]:
    """Return the feeds of a TOML file; `use = "mrms"` in a table begins with a ready-made feed.

    Raises
    ------
    ConfigError
        With the file, the feed and what is wrong with it.
    """
    try:
        tables = dict(tomllib.loads(path.read_text("utf-8")).get("feeds", {}))
    except (OSError, TypeError, ValueError) as error:  # ValueError: no TOML, or no UTF-8
        raise ConfigError(f"{path}: {error}; give a TOML file of feeds") from error
    return tuple(_feed(name, table, str(path)) for name, table in tables.items())


def known_feeds() -> dict[str, FeedConfig]:
    """Return the ready-made feeds by name."""
    return {name: _feed(name, table, file) for name, (table, file) in _known_tables().items()}


def _known_tables() -> dict[str, tuple[dict[str, Any], str]]:
    found: dict[str, tuple[dict[str, Any], str]] = {}
    folder = resources.files("nowcast.feeds") / "known"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".toml"):
            tables = tomllib.loads(file.read_text("utf-8"))["feeds"]
            found |= {name: (table, file.name) for name, table in tables.items()}
    return found


def _feed(name: str, table: dict[str, Any], file: str) -> FeedConfig:
    try:
        table = dict(table)
        if use := table.pop("use", ""):
            known = _known_tables()
            if use not in known:
                raise ValueError(f"no ready-made feed {use!r}; there are: {', '.join(known)}")
            table = {**known[use][0], **table}
        if unknown := set(table) - {field.name for field in fields(FeedConfig)}:
            raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")
        table["options"] = tuple(dict(table.get("options", {})).items())
        table["hosts"] = tuple(table.get("hosts", ()))
        return FeedConfig(name=name, **table)
    except (TypeError, ValueError, re.error) as error:
        raise ConfigError(f"{file}: feed {name!r}: {error}; correct it") from error
