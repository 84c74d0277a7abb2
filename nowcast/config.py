"""Settings, read from the environment (`NOWCAST_…`) here and nowhere else."""

from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from nowcast.errors import ConfigError


class Settings(BaseSettings):
    """What an operator may set; each field is the variable `NOWCAST_<FIELD>`.

    Attributes
    ----------
    data_dir
        Folder of everything that is written: feed, embedded database, engine caches.
    database_url
        SQLAlchemy URL; empty means the embedded SQLite database in `data_dir`.
    regions_file
        TOML file of regions; empty means the two simulated demonstration regions.
    feeds_file
        TOML file of feeds to poll (`nowcast.feeds.config`); empty means that others bring files into `data_dir/feed`.
    sources_file
        TOML file of sources of your own (`nowcast.sources.own`).
    parse_workers
        Child processes in which files are parsed.
    clock_speed, clock_epoch
        The clock runs `clock_speed` times faster since `clock_epoch` (aware UTC): demonstrations and tests.
    poll_seconds
        How often feeds are looked at, in seconds of the (possibly faster) clock.
    engine_threads
        CPU threads of one OpenVINO engine.
    lease_seconds
        How long a worker's lease lasts when it is not renewed: another takes over that long after one has frozen.
    worker_metrics_port
        Port on which the worker answers `GET /metrics`; 0 for none.
    keep_days, keep_scores_days, keep_gb
        How long runs and observations are kept, how long scores, and how large the database may grow (0: no cap).
    keep_feed_days
        How long files stay in the feed folder once they have been read; 0 leaves them to whoever wrote them.
    archive_days, archive_gb
        How long what was seen is kept for training and hindcasts (0: no archive), and how large that may grow.
    canary_regions
        Names of regions, separated by commas, that the nightly job may serve a canary to.
    nightly
        Hour (UTC) at which the nightly job looks for a better model; -1 for never.
    nightly_seconds, nightly_days
        How long it trains per region, and on how many of the last whole days of the archive, which it did not train on,
        the candidate is held against the model that serves.
    plan_keys, plan_revoked
        Public keys that may sign plans, separated by commas: PEM files or base64 of 32 bytes; ids of revoked keys.
    plan_signing_key, plan_hmac_key
        Ed25519 private key, or the shared key of a single host: a file or base64. Never logged.
    require_key
        Answer only to API keys (`nowcast key create`).
    rate_per_minute, concurrent
        Most requests of one key (one address, without keys) a minute and at once; 0 for no limit.
    cors_origins
        Origins of other pages that may ask, as a JSON list; `["*"]` for all.
    log_json
        One JSON object a line instead of coloured text.
    """

    model_config = SettingsConfigDict(env_prefix="NOWCAST_", extra="ignore")

    data_dir: Path = Path("var")
    database_url: str = ""
    regions_file: Path | None = None
    feeds_file: Path | None = None
    sources_file: Path | None = None
    parse_workers: int = Field(default=1, ge=1)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    clock_speed: float = Field(default=1.0, gt=0, le=1000)
    clock_epoch: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    poll_seconds: float = Field(default=5.0, gt=0)
    engine_threads: int = Field(default=2, ge=1)
    lease_seconds: float = Field(default=30, ge=1)
    worker_metrics_port: int = Field(default=0, ge=0, le=65535)
    keep_days: float = Field(default=30, gt=0.1)
    keep_scores_days: float = Field(default=90, gt=0.1)
    keep_gb: float = Field(default=0, ge=0)
    keep_feed_days: float = Field(default=0, ge=0)
    archive_days: float = Field(default=0, ge=0)
    archive_gb: float = Field(default=0, ge=0)
    canary_regions: str = ""
    nightly: int = Field(default=-1, ge=-1, le=23)
    nightly_seconds: float = Field(default=900, gt=0)
    nightly_days: int = Field(default=2, ge=1)
    plan_keys: str = ""
    plan_revoked: str = ""
    plan_signing_key: SecretStr = SecretStr("")
    plan_hmac_key: SecretStr = SecretStr("")
    require_key: bool = False
    rate_per_minute: int = Field(default=0, ge=0)
    concurrent: int = Field(default=0, ge=0)
    cors_origins: list[str] = []
    log_json: bool = False

    @cached_property
    def url(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'nowcast.db').resolve()}"

    @property
    def feed_dir(self) -> Path:
        """Folder in which files arrive, one sub-folder per source."""
        return self.data_dir / "feed"

    @property
    def archive_dir(self) -> Path:
        """Folder of what was seen; see `nowcast.archive`."""
        return self.data_dir / "archive"

    @property
    def models_dir(self) -> Path:
        """Folder of registered models; see `jobs.registry`."""
        return self.data_dir / "models"

    @property
    def plans_dir(self) -> Path:
        """Folder of compiled plans; see `engines.planstore`."""
        return self.data_dir / "plans"


def read_settings() -> Settings:
    """Read the environment once.

    Raises
    ------
    ConfigError
        Naming each variable that cannot be used, and why.
    """
    try:
        return Settings()
    except ValidationError as error:
        told = "; ".join(
            f"NOWCAST_{'_'.join(str(p) for p in e['loc']).upper()}={e['input']!r}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(f"{told}; correct or unset the variable") from error
