"""The store of plans: signed versions per model and runtime, one of them current, one previous.

::

    <root>/<model>/<runtime>/state.json               what this host accepted, written by atomic rename
    <root>/<model>/<runtime>/v0007/manifest.json      the signed statement, and
    <root>/<model>/<runtime>/v0007/manifest.sig       its signature
    <root>/<model>/<runtime>/v0007/plan.bin, golden.npz, …

A version folder appears whole (rename of a finished one) and is never changed, only its signature may be renewed. The
state holds the digest of the manifest that was promoted, so another signed folder in its place is not taken for it.
Whoever can write the state can go back in versions: the folder belongs to the operator.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from engines.keys import Keyring, Signature, Signer
from engines.manifest import Host, Manifest
from engines.plan import GOLDEN, Plan
from nowcast.disk import make_folder, writing
from nowcast.errors import PlanRefused

PLAN = "plan.bin"
MANIFEST, SIGNATURE, STATE = "manifest.json", "manifest.sig", "state.json"


@dataclass(frozen=True)
class Accepted:
    """A version that was promoted here, by its manifest's digest."""

    version: int
    manifest: str


@dataclass(frozen=True)
class State:
    """What this host accepted of one model on one runtime.

    Attributes
    ----------
    highest
        The highest version ever promoted here; none at or below it can be promoted again.
    drivers
        Drivers under which a manifest's plan passed the gate here, by the manifest's digest.
    """

    current: Accepted | None = None
    previous: Accepted | None = None
    highest: int = 0
    drivers: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "State":
        """Return the state of a file."""
        ends = {name: Accepted(**data[name]) if data[name] else None for name in ("current", "previous")}
        return cls(**{**data, **ends})


@dataclass(frozen=True)
class Verified:
    """A plan whose manifest a trusted key signed; the bytes that it names are checked again where they are loaded."""

    plan: Plan
    manifest: Manifest
    digest: str


class Shelf:
    """The versions of one model on one runtime."""

    def __init__(self, root: Path, model: str, runtime: str, keys: Keyring) -> None:
        self.folder, self.model, self.runtime, self._keys = root / model / runtime, model, runtime, keys

    def versions(self) -> list[int]:
        """Return all versions, oldest first."""
        return sorted(int(path.name[1:]) for path in self.folder.glob("v*") if path.name[1:].isdecimal())

    def place(self, version: int) -> Path:
        """Return the folder of a version."""
        return self.folder / f"v{version:04d}"

    def add(self, manifest: Manifest, files: dict[str, bytes]) -> None:
        """Add a version, whole or not at all."""
        make_folder(self.folder)
        with writing(self.folder), tempfile.TemporaryDirectory(dir=self.folder) as name:
            made = Path(name) / "made"
            made.mkdir()
            for file, data in {**files, MANIFEST: manifest.to_bytes()}.items():
                _write(made / file, data)
            try:
                made.rename(self.place(manifest.version))
            except OSError as error:
                raise PlanRefused(f"{self.place(manifest.version)} is there already; take a higher version") from error

    def sign(self, version: int, signer: Signer) -> Signature:
        """Sign a version, again if it was before."""
        signature = signer.sign(self._read(version, MANIFEST))
        data = {"key": signature.key, "signature": signature.value.hex()}
        _write(self.place(version) / SIGNATURE, json.dumps(data).encode() + b"\n")
        return signature

    def manifest(self, version: int) -> Manifest:
        """Return what a version says of itself, trusted or not: to be listed, not to be loaded."""
        return Manifest.from_bytes(self._read(version, MANIFEST))

    def next_version(self) -> int:
        """Return the number of the next version."""
        return max([self.state().highest, *self.versions()]) + 1

    def verify(self, version: int, here: Host, now: datetime) -> Verified:
        """Return a version that may be loaded here and now.

        Raises
        ------
        PlanRefused
            Saying which of signature, key, version, expiry, host and digests it is.
        """
        data = self._read(version, MANIFEST)
        self._keys.verify(data, self._signature(version))
        manifest, digest = Manifest.from_bytes(data), hashlib.sha256(data).hexdigest()
        named = manifest.spec.name, manifest.host.runtime, manifest.version
        if named != (self.model, self.runtime, version):
            raise PlanRefused(
                f"{self.place(version)} holds {named[0]} {named[1]} version {named[2]}; put it in its place"
            )
        manifest.require_unexpired(now)
        manifest.require_host(here, frozenset(self.state().drivers.get(digest, ())))
        for file, expected in manifest.files.items():
            found = hashlib.sha256(self._read(version, file)).hexdigest()
            if found != expected:
                raise PlanRefused(
                    f"{file} of version {version}: {found[:12]} is not the signed {expected[:12]}; fetch it again"
                )
        files, versions = manifest.files, {**manifest.built_with, manifest.host.runtime: manifest.host.version}
        plan = Plan(self.place(version), manifest.spec, files[PLAN], files[GOLDEN], versions, PLAN)
        return Verified(plan, manifest, digest)

    def promoted(self, which: str, here: Host, now: datetime) -> Verified | None:
        """Return the `current` or `previous` version, None when there is none.

        Raises
        ------
        PlanRefused
            When what lies there may not be loaded, or is not what was promoted.
        """
        accepted: Accepted | None = getattr(self.state(), which)
        if accepted is None:
            return None
        verified = self.verify(accepted.version, here, now)
        if verified.digest != accepted.manifest:
            raise PlanRefused(f"version {accepted.version} is not the one that was promoted; promote a new version")
        return verified

    def require_new(self, version: int) -> None:
        """Raise `PlanRefused` for a version that is not above every one promoted here before."""
        highest = self.state().highest
        if version <= highest:
            raise PlanRefused(f"version {version} is not above {highest}, which was promoted here; build a new version")

    def promote(self, verified: Verified) -> State:
        """Make a verified and proven version the current one, and the current one the previous."""
        accepted = Accepted(verified.manifest.version, verified.digest)
        with self._changing() as state:
            self.require_new(accepted.version)
            return self._put(replace(state, current=accepted, previous=state.current, highest=accepted.version))

    def rollback(self) -> State:
        """Make the previous version the current one again; the one left stays below `highest` and cannot come back."""
        with self._changing() as state:
            if state.previous is None:
                raise PlanRefused(f"{self.model} on {self.runtime}: no previous version to go back to")
            return self._put(replace(state, current=state.previous, previous=None))

    def accept_driver(self, digest: str, driver: str) -> State:
        """Note that a manifest's plan passed the gate under this host's driver."""
        with self._changing() as state:
            known = sorted({*state.drivers.get(digest, []), driver})
            return self._put(replace(state, drivers={**state.drivers, digest: known}))

    def state(self) -> State:
        """Return what was accepted, or raise `PlanRefused` when that cannot be read."""
        path = self.folder / STATE
        try:
            return State.from_json(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return State()
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise PlanRefused(f"{path} cannot be read ({error}); restore it from a backup") from error

    @contextmanager
    def _changing(self) -> Iterator[State]:
        with writing(self.folder), (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.state()

    def _put(self, state: State) -> State:
        _write(self.folder / STATE, json.dumps(asdict(state), indent=1).encode() + b"\n")
        return state

    def _signature(self, version: int) -> Signature:
        try:
            data = json.loads((self.place(version) / SIGNATURE).read_bytes())
            return Signature(data["key"], bytes.fromhex(data["signature"]))
        except FileNotFoundError as error:
            raise PlanRefused(f"{self.place(version)} is not signed; run `nowcast engine sign`") from error
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise PlanRefused(f"{self.place(version)}: no usable signature ({error}); sign it again") from error

    def _read(self, version: int, file: str) -> bytes:
        try:
            return (self.place(version) / file).read_bytes()
        except OSError as error:
            raise PlanRefused(f"{self.place(version) / file}: {error.strerror}; build or fetch the plan") from error


def shelves(root: Path, keys: Keyring) -> list[Shelf]:
    """Return every shelf there is, by model and runtime."""
    return [Shelf(root, p.parent.name, p.name, keys) for p in sorted(root.glob("*/*")) if p.is_dir()]


def remove(shelf: Shelf, version: int) -> None:
    """Remove a version that is neither current nor previous."""
    state = shelf.state()
    if version in {a.version for a in (state.current, state.previous) if a}:
        raise PlanRefused(f"version {version} serves or may be gone back to; promote another first")
    shutil.rmtree(shelf.place(version))


def _write(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path), part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        os.replace(part, path)
