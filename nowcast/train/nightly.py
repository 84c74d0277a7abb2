"""A night's training: a model fitted a little further on one region's own archive, for a bounded time, on the CPU.

Needs the extras `reference` (torch) and `archive` (zarr).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from nowcast.errors import ArchiveError, EngineError
from nowcast.models import registry
from nowcast.models.ensemble import Ensemble, load
from nowcast.train.data import read
from nowcast.train.loop import TrainConfig, train

SIZE, LEAST_SIZE, MULTIPLE = 256, 64, 32
"""Side of the crops in pixels, at most and at least; a multiple of what the model halves."""
TABLE_RATE, NETWORK_RATE = 4e-3, 3e-4
"""A fifth of the rates of training from scratch."""
STEPS = 4000
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Trained:
    """What a night's training came to: the weights (safetensors, of an `Ensemble`), and on how much they rest."""

    weights: Path
    steps: int
    days: int
    frames: int


def trainable(family: str) -> Ensemble | None:
    """Return the model of a family, with the weights of the repository; None when there is nothing to train in it."""
    if family not in registry.MODELS:
        return None
    model = registry.create(family)
    return model if isinstance(model, Ensemble) else None


def train_on_archive(model: Ensemble, days: Sequence[Path], work: Path, motions: Path, seconds: float) -> Trained:
    """Fit a model further on days of an archive (`nowcast.archive`).

    Parameters
    ----------
    model
        What to start from; it is not changed.
    work
        Folder for the weights.
    motions
        Folder in which the motion of each day is kept for the next night.
    seconds
        End of the training, besides reading the days.

    Raises
    ------
    ArchiveError
        When the days are too few frames, or too small.
    """
    for folder in (work, motions):
        folder.mkdir(parents=True, exist_ok=True)
    sequences = [s for s in (read(day, motions) for day in days) if s.motions]
    size = min((side for s in sequences for side in s.codes.shape[1:]), default=0)
    size = min(size // MULTIPLE * MULTIPLE, SIZE)
    if size < LEAST_SIZE:
        raise ArchiveError(
            f"{len(sequences)} of {len(days)} archived days can be trained on, with a side of {size} cells;"
            f" it takes one with two frames in turn and {LEAST_SIZE} cells: archive longer, or a larger region"
        )
    save_file(model.cascade.state_dict(), work / "start.safetensors")
    config = TrainConfig(
        data="",
        out=str(work / "run"),
        width=_width(model),
        start=str(work / "start.safetensors"),
        steps=STEPS,
        seconds=seconds,
        size=size,
        members=model.cascade.members,
        table_rate=TABLE_RATE,
        network_rate=NETWORK_RATE,
        device="cpu",
    )
    steps: list[int] = []
    fitted = train(config, lambda step, _: steps.append(step), sequences)
    weights = work / WEIGHTS
    save_file({f"cascade.{name}": value for name, value in load_file(fitted).items()}, weights)
    about = {"days": [day.name for day in days], "steps": steps[-1]}
    (work / "trained.json").write_text(json.dumps(about), "utf-8")
    return Trained(weights, steps[-1], len(sequences), sum(len(s.codes) for s in sequences))


def enter(family: str, name: str, weights: Path) -> Ensemble:
    """Make a family's model with other weights known under a name, in this process: to be exported, or trained further.

    Raises
    ------
    EngineError
        When the weights are not those of such a model.
    """
    like = trainable(family)
    if like is None:
        raise EngineError(f"model {family!r} has nothing to train; give its regions another `model`, as edge")
    members, width, leads, shown = like.cascade.members, _width(like), like.cascade.leads, like.shown

    def make() -> Ensemble:
        made = Ensemble(name, members, width, leads, shown)
        load(made, weights)
        return made

    try:
        made = make()
    except (OSError, RuntimeError, SafetensorError) as error:
        raise EngineError(f"{weights}: not the weights of a {family} ({error}); train again") from error
    registry.MODELS[name] = make
    return made


def _width(model: Ensemble) -> int:
    context = model.cascade.context
    return int(context.read.in_channels) // 2 if context is not None else 0
