"""Registered models: plans beside those that ship, each under a name of its own, from which its life is told.

A registered plan is a folder of the data folder's `models/`, with the three files of every plan. Its name is in its
spec, so that a run says which of two trainings of one architecture made it. Promoted TensorRT plans of the same model
come first, as for shipped ones; what is registered runs on every machine.
"""

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from engines.keys import read_keyring
from engines.ladder import Rung
from engines.lifecycle import PromotedPlans
from engines.plan import ABOUT, SHIPPED, Plan, read_plan, write_plan
from engines.runtimes import BY_NAME, Promoted, extrapolation, make_rungs, no_plans, rung_of
from nowcast.config import Settings
from nowcast.disk import make_folder, writing
from nowcast.errors import LifeError, NowcastError
from nowcast.life import State, Transition
from nowcast.store.store import Store

NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


def with_registered(
    folder: Path, rungs: Callable[[str], list[Rung]], promoted: Promoted = no_plans
) -> Callable[[str], list[Rung]]:
    """Return what gives the rungs of registered models too: their promoted (signed) plans, then what was registered.

    A refused plan's rung has the registered plan: the first rung says what the model takes and gives.
    """

    def found(model: str) -> list[Rung]:
        if not (folder / model / ABOUT).is_file():
            return rungs(model)
        plan = read_plan(folder / model)
        signed = [replace(rung, plan=plan) if rung.refused else rung for rung in promoted(model)]
        return [*signed, rung_of(BY_NAME["openvino"], plan), extrapolation()]

    return found


def configured_rungs(settings: Settings, now: Callable[[], datetime]) -> Callable[[str], list[Rung]]:
    """Return what gives the rungs of a model on this machine: promoted plans, what ships, what was registered."""
    promoted = PromotedPlans(settings.plans_dir, read_keyring(settings), now)
    return with_registered(settings.models_dir, make_rungs(promoted), promoted)


def register(
    store: Store,
    folder: Path,
    plan: Plan,
    name: str,
    family: str,
    who: str,
    why: str,
    now: datetime,
    regions: tuple[str, ...] = (),
    numbers: Mapping[str, object] = MappingProxyType({}),
) -> Transition:
    """Copy a plan under a name of its own and make it a candidate, for some regions of its family or for all.

    Raises
    ------
    LifeError
        When the name is taken or not usable; of any error nothing is left.
    """
    place = folder / name
    if not NAME.fullmatch(name):
        raise LifeError(f"model name {name!r}: lower-case letters, digits, '.' and '-', at most 63")
    if (SHIPPED / name / ABOUT).exists() or place.exists() or store.models.lives().now(name):
        raise LifeError(f"model name {name!r} is taken; give it another, as {name}-2")
    _put(folder, plan, name)
    about = {"digest": plan.digest, **plan.versions, **numbers}
    step = Transition(name, family, State.CANDIDATE, regions, who, now, why, about)
    try:
        store.models.step(step)
    except NowcastError:  # or its name would be taken by a model that nobody knows of
        shutil.rmtree(place)
        raise
    return step


def _put(folder: Path, plan: Plan, name: str) -> None:
    """Write a plan under a name of its own, whole or not at all."""
    make_folder(folder)
    with writing(folder), TemporaryDirectory(prefix=".", dir=folder) as part:
        made = write_plan(Path(part) / name, replace(plan.spec, name=name), plan.graph(), plan.golden(), plan.versions)
        try:
            made.folder.rename(folder / name)
        except OSError as error:
            raise LifeError(f"{folder / name}: {error.strerror}; give another name") from error
