"""The night's work: what is in the shadow or the canary a step further, and a new candidate for each region.

A candidate is its region's model fitted a little further on that region's own archive: trained on all whole days but
the last ones, exported, held against the PyTorch reference by the parity gate, signed where there is a key, held
against the model that serves on those last days by a hindcast, then put into the shadow. Whatever refuses ends the
chain for that region: nothing unproven is passed on. Each step is a command that a person can run as well.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from engines.keys import read_keyring, read_signer
from engines.ladder import Ladder, Rung
from engines.lifecycle import LIFE, host_of, promote, prove, worst
from engines.manifest import Manifest
from engines.plan import GOLDEN, Plan
from engines.planstore import PLAN, Shelf
from engines.runtimes import BY_NAME, make_rungs, rung_of
from jobs.hindcast import Hindcast
from jobs.judge import Judge
from jobs.leader import Leader
from jobs.registry import register, with_registered
from nowcast.archive import DAY, Archive, day_of
from nowcast.config import Settings
from nowcast.decide import Comparison, compare
from nowcast.errors import ConfigError, LifeError, NowcastError
from nowcast.life import State, Transition
from nowcast.region import Region
from nowcast.run import CheckRecord, ScoreRecord
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from nowcast.verification import OBSERVED

if TYPE_CHECKING:
    from nowcast.models.ensemble import Ensemble

log = structlog.get_logger()

SELF = "nightly"
MOST_DAYS = 10
"""Days of the archive that a night trains on, at most: a day of 512² is 75 MB in memory."""


@dataclass(frozen=True)
class Done:
    """What became of a step: `done`, `refused`, `failed`, or `absent` where there is nothing to do it with."""

    step: str
    state: str
    told: str


class Ended(Exception):
    """A region's chain ends here, for a reason that is no failure."""

    def __init__(self, done: Done) -> None:
        super().__init__(done.told)
        self.done = done


@dataclass
class Night:
    """One night's work for one family of models.

    Attributes
    ----------
    canaries
        Regions that a canary may serve; without any, no model leaves the shadow by itself.
    """

    store: Store
    judge: Judge
    family: str
    settings: Settings
    canaries: tuple[str, ...] = ()

    def run(self, now: datetime) -> Iterator[Done]:
        """Take what is there further, then make a new candidate for each region."""
        yield from self.advance(now)
        for region in self.judge.regions:
            if region.model == self.family:
                yield from self.make(region, now)

    # What is there

    def advance(self, now: datetime) -> Iterator[Done]:
        """Take candidates into the shadow, and shadows and canaries that have proven better a step on."""
        lives = self.store.models.lives()
        for last in lives.all():
            if last.family != self.family:
                continue
            made_for = lives.made_for(last.model)
            canaries = tuple(name for name in self.canaries if not made_for or name in made_for)
            if last.state is State.CANDIDATE:
                yield self._step(last.model, State.SHADOW, made_for, "a night of shadow for every candidate", now)
            elif last.state is State.SHADOW and canaries:
                yield self._proven(last.model, State.CANARY, canaries, now)
            elif last.state is State.CANARY:
                yield self._proven(last.model, State.PROMOTED, made_for, now)

    def _proven(self, model: str, to: State, regions: tuple[str, ...], now: datetime) -> Done:
        try:
            found = self.judge.evidence(model, now)
        except LifeError as error:  # its regions have no common incumbent: the night goes on
            return Done(f"{model} → {to}", "refused", str(error))
        objections = found.objections(self.judge.least_cycles)
        if objections:
            return Done(f"{model} → {to}", "refused", "; ".join(objections))
        return self._step(model, to, regions, f"better than {found.incumbent} on {found.cycles} cycles", now)

    def _step(self, model: str, to: State, regions: tuple[str, ...], why: str, now: datetime) -> Done:
        try:
            if to is State.SHADOW:
                self._supersede(model, regions, now)
            self.judge.promote(model, to, regions, SELF, why, now)
        except LifeError as error:
            return Done(f"{model} → {to}", "refused", str(error))
        return Done(f"{model} → {to}", "done", why)

    def _supersede(self, model: str, regions: tuple[str, ...], now: datetime) -> None:
        """Retire the other shadows that a night made for the same region: each costs a forecast of every run."""
        for step in self._shadows(regions):
            if step.model != model:
                why = f"superseded by {model}"
                self.store.models.step(Transition(step.model, step.family, State.RETIRED, (), SELF, now, why))

    def _shadows(self, regions: tuple[str, ...]) -> list[Transition]:
        """Return a region's shadows that a night put there, oldest first; what is for a whole family a person made."""
        return [
            step
            for step in self.store.models.lives().all()
            if step.state is State.SHADOW and step.who == SELF and step.family == self.family
            if regions and step.regions == regions
        ]

    # What is new

    def make(self, region: Region, now: datetime) -> Iterator[Done]:
        """Make a candidate for a region, through every gate into the shadow; ends where something refuses."""
        made_of = f"{self.family}-{region.name}"
        name = f"{made_of}-{now:%Y%m%d}"
        work = self.settings.models_dir / f".work-{name}"
        for left in self.settings.models_dir.glob(f".work-{made_of}-{8 * '[0-9]'}"):
            if left != work:  # of a night that was killed
                shutil.rmtree(left, ignore_errors=True)
        try:
            yield from self._made(region, name, work, now)
        except Ended as ended:
            yield ended.done
        except NowcastError as error:
            yield Done(f"{region.name}: make", "failed", str(error))
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _made(self, region: Region, name: str, work: Path, now: datetime) -> Iterator[Done]:
        train_on, held_out = self._days(region, name, now)
        self._let_prove(region, now)
        start = self._start(region)
        try:
            from engines.export import export
            from nowcast.train.nightly import WEIGHTS, enter, train_on_archive
        except ImportError as error:
            raise Ended(Done("train", "absent", f"{error}: pip install 'nowcast[reference]'")) from error
        motions = self.settings.models_dir / f".motion-{region.name}-{region.grid.digest[:8]}"
        trained = train_on_archive(start, train_on, work, motions, self.settings.nightly_seconds)
        yield Done(f"{name}: train", "done", f"{trained.steps} steps on {trained.frames} frames, {trained.days} days")
        enter(self.family, name, trained.weights)
        plan = export(name, work / "plan")
        yield Done(f"{name}: export", "done", plan.digest[:12])
        records = prove(plan, BY_NAME["openvino"], now)
        yield Done(f"{name}: check", "done", f"{len(records)} outputs of golden cases pass")
        found = self.compare(region, name, plan, day_of(held_out[0]), day_of(held_out[-1]) + DAY)
        told = (
            f"CRPS differs by {found.low:+.4f} … {found.high:+.4f} mm/h from {found.incumbent}, {found.cycles} cycles"
        )
        if found.low > 0:
            raise Ended(Done(f"{name}: score", "refused", told))
        yield Done(f"{name}: score", "done", told)
        numbers = {"weights": _digest(trained.weights.read_bytes()), "held_out": found.numbers()}
        yield self._signed(name, plan, records, numbers["weights"], now)
        why = f"fitted further on {trained.days} archived days of {region.name}"
        folder = self.settings.models_dir
        register(self.store, folder, plan, name, self.family, SELF, why, now, (region.name,), numbers)
        shutil.copyfile(trained.weights, folder / name / WEIGHTS)
        yield Done(f"{name}: register", "done", why)
        yield self._step(name, State.SHADOW, (region.name,), "a night of shadow for every candidate", now)

    def _days(self, region: Region, name: str, now: datetime) -> tuple[list[Path], list[Path]]:
        """Return the days to train on and those to be held against the incumbent on."""
        if self.store.models.lives().now(name):
            raise Ended(Done(f"{name}: train", "absent", "it was made earlier today"))
        days, held = Archive(self.settings.archive_dir).days(region, now), self.settings.nightly_days
        if len(days) <= held:
            told = f"{len(days)} whole days archived, more than {held} are needed: set NOWCAST_ARCHIVE_DAYS, or wait"
            raise Ended(Done(f"{name}: train", "absent", told))
        return days[:-held][-MOST_DAYS:], days[-held:]

    def _let_prove(self, region: Region, now: datetime) -> None:
        """End where an earlier night's shadow may become a canary and has too few cycles yet to be judged."""
        # From one night to the next there are fewer than 288: superseded each night, none would ever leave the shadow.
        for shadow in self._shadows((region.name,))[-1:]:
            if region.name not in self.canaries or now - shadow.at >= timedelta(days=self.judge.days):
                return
            self._supersede(shadow.model, shadow.regions, now)
            cycles, least = self.judge.evidence(shadow.model, now).cycles, self.judge.least_cycles
            if cycles < least:
                told = f"{shadow.model} is in the shadow with {cycles} verified cycles, {least} are needed to judge it"
                raise Ended(Done(f"{region.name}: train", "absent", told))

    def _start(self, region: Region) -> "Ensemble":
        """Return the model to go on from: what serves the region where a night made it, else the family's own."""
        try:
            from nowcast.train.nightly import WEIGHTS, enter, trainable
        except ImportError as error:
            raise Ended(Done("train", "absent", f"{error}: pip install 'nowcast[reference]'")) from error
        incumbent = self.store.models.lives().incumbent(region)
        weights = self.settings.models_dir / incumbent / WEIGHTS
        if weights.is_file():
            return enter(self.family, incumbent, weights)
        model = trainable(self.family)
        if model is None:
            raise Ended(Done(f"{region.name}: train", "absent", f"there is nothing to train in {self.family}"))
        return model

    def compare(self, region: Region, name: str, plan: Plan, since: datetime, until: datetime) -> Comparison:
        """Hold a plan against what serves a region, by hindcasts of some days."""
        incumbent = self.store.models.lives().incumbent(region)
        known = with_registered(self.settings.models_dir, make_rungs())

        def rungs(model: str) -> list[Rung]:
            return [rung_of(BY_NAME["openvino"], plan)] if model == name else known(model)

        ladder = Ladder(rungs, self.settings.engine_threads)
        records: list[ScoreRecord] = []
        try:
            with tempfile.TemporaryDirectory() as folder:
                for model in (name, incumbent):
                    records += self._hindcast(replace(region, model=model), ladder, Path(folder), (since, until))
        finally:
            ladder.close()
        return compare(records, name, incumbent)

    def _hindcast(
        self, region: Region, ladder: Ladder, folder: Path, span: tuple[datetime, datetime]
    ) -> Sequence[ScoreRecord]:
        url = f"sqlite:///{folder / f'{region.model}.db'}"
        upgrade(url)
        store = Store.open(url)
        try:
            for _ in Hindcast(region, Archive(self.settings.archive_dir), store, ladder).run(*span):
                pass
            return store.verification.series(region.name, [region.model, OBSERVED], *span)
        finally:
            store.close()

    def _signed(self, name: str, plan: Plan, records: list[CheckRecord], weights: object, now: datetime) -> Done:
        """Put a plan on its shelf, signed and promoted there, where this host has a key to sign with."""
        try:
            signer = read_signer(self.settings)
        except ConfigError as error:
            return Done(f"{name}: sign", "absent", str(error))
        shelf = Shelf(self.settings.plans_dir, name, "openvino", read_keyring(self.settings))
        files = {PLAN: plan.graph(), GOLDEN: plan.golden()}
        manifest = Manifest(
            spec=plan.spec,
            version=shelf.next_version(),
            precision="fp32",
            host=host_of(BY_NAME["openvino"]),
            files={file: _digest(data) for file, data in files.items()},
            created=now,
            expires=now + LIFE,
            made_of={"graph": plan.digest, "weights": str(weights)},
            scores=worst(records),
            built_with=plan.versions,
        )
        shelf.add(manifest, files)
        signature = shelf.sign(manifest.version, signer)
        promote(shelf, manifest.version, now)
        return Done(f"{name}: sign", "done", f"version {manifest.version} by {signature.key}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def start(leader: Leader | None) -> None:
    """Start the night's work in a process of its own where this worker leads; training must not hold up a cycle."""
    try:
        if leader:
            leader.hold()
    except NowcastError as error:
        log.info("no nightly job here", reason=str(error))
        return
    subprocess.Popen([sys.executable, "-m", "jobs.cli", "model", "nightly"], start_new_session=True)
