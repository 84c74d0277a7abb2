"""Keys that sign and verify manifests: Ed25519, and HMAC-SHA256 for a single host that signs what it loads itself.

A verifier of Ed25519 signatures cannot forge them; whoever verifies by HMAC can. The algorithm follows from the key,
never from the signature's own claim. To rotate: add the new public key, sign anew, then remove or revoke the old one.
"""

import base64
import hashlib
import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from nowcast.config import Settings
from nowcast.disk import writing
from nowcast.errors import ConfigError, PlanRefused

CONTEXT = b"nowcast plan manifest 1\n"
"""Goes before what is signed, so that no signature made for another purpose fits."""
SHORTEST_SECRET = 32
RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)


@dataclass(frozen=True)
class Signature:
    """Bytes by which the holder of key `key` vouches for a manifest."""

    key: str
    value: bytes


class Verifier(Protocol):
    """A key that can tell whether a signature is its own."""

    @property
    def id(self) -> str:
        """Short name that follows from the key."""
        ...

    def fits(self, data: bytes, value: bytes) -> bool:
        """Return whether `value` is this key's signature of `data`."""
        ...


class Signer(Protocol):
    """A key that can sign."""

    def sign(self, data: bytes) -> Signature:
        """Return the signature of `data`."""
        ...


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key (RFC 8032)."""

    key: Ed25519PublicKey

    @property
    def id(self) -> str:
        """See `Verifier`."""
        return "ed25519-" + hashlib.sha256(self.key.public_bytes(*RAW)).hexdigest()[:16]

    def fits(self, data: bytes, value: bytes) -> bool:
        """See `Verifier`."""
        try:
            self.key.verify(value, CONTEXT + data)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """An Ed25519 private key."""

    key: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return PublicKey(self.key.public_key())

    def sign(self, data: bytes) -> Signature:
        """See `Signer`."""
        return Signature(self.public.id, self.key.sign(CONTEXT + data))


@dataclass(frozen=True)
class SharedKey:
    """An HMAC-SHA256 key (RFC 2104), both signer and verifier."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < SHORTEST_SECRET:
            raise ConfigError(
                f"HMAC key has {len(self.secret)} bytes, needs {SHORTEST_SECRET}; make one by `openssl rand`"
            )

    @property
    def id(self) -> str:
        """See `Verifier`."""
        return "hmac-" + hmac.digest(self.secret, b"nowcast key id", "sha256").hex()[:16]

    def sign(self, data: bytes) -> Signature:
        """See `Signer`."""
        return Signature(self.id, hmac.digest(self.secret, CONTEXT + data, "sha256"))

    def fits(self, data: bytes, value: bytes) -> bool:
        """See `Verifier`."""
        return hmac.compare_digest(value, hmac.digest(self.secret, CONTEXT + data, "sha256"))


class Keyring:
    """The keys that this host trusts."""

    def __init__(self, *keys: Verifier, revoked: frozenset[str] = frozenset()) -> None:
        self._keys = {key.id: key for key in keys}
        self._revoked = revoked

    def verify(self, data: bytes, signature: Signature) -> None:
        """Raise `PlanRefused` unless a trusted key signed `data`."""
        if signature.key in self._revoked:
            raise PlanRefused(f"key {signature.key} is revoked; sign the plan with a current one")
        key = self._keys.get(signature.key)
        if key is None:
            trusted = ", ".join(self._keys) or "none"
            raise PlanRefused(
                f"key {signature.key} is not trusted here (trusted: {trusted}); add it to NOWCAST_PLAN_KEYS"
            )
        if not key.fits(data, signature.value):
            raise PlanRefused(f"the signature of key {signature.key} does not fit the manifest; fetch the plan again")


def read_keyring(settings: Settings) -> Keyring:
    """Return the keys that the settings trust."""
    keys: list[Verifier] = [PublicKey(_public(text)) for text in _parts(settings.plan_keys)]
    secret = settings.plan_hmac_key.get_secret_value()
    if secret:
        keys.append(_shared(secret))
    return Keyring(*keys, revoked=frozenset(_parts(settings.plan_revoked)))


def read_signer(settings: Settings) -> Signer:
    """Return the key that signs here, or raise `ConfigError` when there is none."""
    text, secret = settings.plan_signing_key.get_secret_value(), settings.plan_hmac_key.get_secret_value()
    if text:
        return PrivateKey(_private(text))
    if secret:
        return _shared(secret)
    raise ConfigError("no signing key: set NOWCAST_PLAN_SIGNING_KEY to a PEM file (`nowcast engine keygen` makes one)")


def make_key(path: Path) -> PublicKey:
    """Write a new private key to `path` (readable by its owner alone) and its public half to `path`.pub."""
    key = Ed25519PrivateKey.generate()
    pkcs8 = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption())
    public = PrivateKey(key).public
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    beside = path.with_name(path.name + ".pub")
    if there := [place for place in (path, beside) if place.exists()]:
        raise ConfigError(f"{there[0]} is there already; give another name: no key is written over")
    with writing(path):
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(pem)
        beside.write_bytes(public.key.public_bytes(serialization.Encoding.PEM, spki))
    return public


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _bytes(text: str, setting: str) -> bytes:
    """Return the bytes of a file named by `text`, or those that `text` gives in base64."""
    try:
        return Path(text).read_bytes() if os.path.isfile(text) else base64.b64decode(text, validate=True)  # noqa: PTH113  a key is too long for a path
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error  # an OSError's whole text has the value, which may be secret
        raise ConfigError(f"{setting} is neither a file to be read nor base64 ({told}); correct it") from error


def _shared(text: str) -> SharedKey:
    return SharedKey(_bytes(text, "NOWCAST_PLAN_HMAC_KEY"))


def _public(text: str) -> Ed25519PublicKey:
    setting = f"NOWCAST_PLAN_KEYS: {text!r}"
    data = _bytes(text, setting)
    try:
        key = (
            serialization.load_pem_public_key(data)
            if data.startswith(b"-")
            else Ed25519PublicKey.from_public_bytes(data)
        )
    except ValueError as error:
        raise ConfigError(f"{setting} is no Ed25519 public key ({error}); `nowcast engine keygen` makes one") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{setting} is of another kind than Ed25519; make one by `nowcast engine keygen`")
    return key


def _private(text: str) -> Ed25519PrivateKey:
    data = _bytes(text, "NOWCAST_PLAN_SIGNING_KEY")
    try:
        if not data.startswith(b"-"):
            return Ed25519PrivateKey.from_private_bytes(data)
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"NOWCAST_PLAN_SIGNING_KEY: no Ed25519 private key ({error})") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("NOWCAST_PLAN_SIGNING_KEY: a key of another kind than Ed25519")
    return key
