"""API keys: `nck_ID_SECRET` with a secret of 256 bits, of which only the SHA-256 is kept.

A digest of 256 random bits needs no salt and no slow hash: there is nothing to guess.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime

PREFIX = "nck"
SCOPES = ("read", "files", "operations")


@dataclass(frozen=True)
class ApiKey:
    """What is kept of a key.

    Attributes
    ----------
    ends_at
        From when on it is refused; None for never.
    """

    id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    created_at: datetime
    ends_at: datetime | None = None

    def __post_init__(self) -> None:
        unknown = set(self.scopes) - set(SCOPES)
        if unknown or not self.scopes:
            raise ValueError(f"scopes must be of {', '.join(SCOPES)}, got {', '.join(self.scopes) or 'none'}")

    def holds(self, secret: str, scope: str, now: datetime) -> bool:
        """Return whether this is its secret, and it opens `scope` at `now`."""
        known = hmac.compare_digest(digest_of(secret), self.digest)
        return known and scope in self.scopes and (self.ends_at is None or now < self.ends_at)


def make_key(name: str, scopes: tuple[str, ...], now: datetime) -> tuple[ApiKey, str]:
    """Return a new key's record and its text, which is shown once and kept nowhere."""
    key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    return ApiKey(key_id, name, digest_of(secret), scopes, now), f"{PREFIX}_{key_id}_{secret}"


def parse_key(text: str) -> tuple[str, str] | None:
    """Return (id, secret) of a key's text; None when it is none."""
    parts = text.split("_", 2)
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == PREFIX and len(text) < 200 else None


def digest_of(secret: str) -> str:
    """Return the SHA-256 of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()
