"""Training: the tables and the network of a cascade, fitted together under the score. Resumable and seeded.

A checkpoint holds all that the next step depends on (weights, averages, optimizer, both random states), so a run that
was stopped and resumed takes the steps that it would have taken. The averaged weights are what training gives.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from nowcast.errors import ConfigError
from nowcast.models.cascade import Cascade
from nowcast.models.levels import DRY, latent_to_rate
from nowcast.train.data import Augment, Batch, Sampler, Sequence, read
from nowcast.train.losses import ALPHA, loss_of_lead, spectrum_gap
from nowcast.train.peers import Peers

Log = Callable[[int, dict[str, float]], None]
ALONE = Peers()
APART = 1_000
"""Between the seeds of two workers' samples."""
SMOOTH_BEFORE = 6
"""Lead, in steps, from which the spectral term counts in full; before, by its square: there it costs weak rain."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run. docs/model-card.md has those of the weights in the repository.

    Attributes
    ----------
    data, exclude
        Folder of sequences (npz, NetCDF, Zarr) and the names not to be used: validation, tests, an event left out.
    width
        Channels of the context network; 0 fits the tables alone.
    start
        Weights (safetensors) to start from, those that ship or of another run: fine-tuning on a region's own archive.
    steps, seconds
        End of the run, whichever comes first; the learning rate falls along a cosine to it.
    together
        Steps after which workers that `torchrun` started take the mean of all of them (`nowcast.train.peers`).
    spectrum, spectrum_bands
        Weight of the spectral term and the number of bands in it, from the finest: 2 to 4 pixels, 4 to 8, …
    far
        Share, 0 … 1, by which the chance of the leads, which falls with them, is mixed with an even one.
    fair
        How fair the CRPS is to the number of members, 0 … 1. The fair form takes members for independent; since the
        compass spreads them evenly it rewards too much spread, and 0 is the score that the skill table has.
    relative
        Errors in units of the sample's mean rain; otherwise of the event's, as the skill table adds them up.
    mixed
        Convolutions in BF16; leads, members and losses stay in FP32.
    """

    data: str
    out: str
    exclude: tuple[str, ...] = ()
    width: int = 24
    residual: bool = False
    start: str | None = None
    steps: int = 3000
    seconds: float | None = None
    together: int = 10
    size: int = 512
    batch: int = 1
    members: int = 8
    leads: int = 3
    table_rate: float = 2e-2
    network_rate: float = 1.5e-3
    spectrum: float = 1.0
    spectrum_bands: int = 5
    far: float = 0.3
    fair: float = ALPHA
    relative: bool = False
    average: float = 0.99
    mixed: bool = False
    every: int = 200
    seed: int = 0
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    augment: Augment = field(default_factory=Augment)

    @classmethod
    def from_json(cls, path: Path) -> "TrainConfig":
        """Read a configuration file: the attributes as JSON; what is not there keeps its default."""
        values = json.loads(path.read_text())
        augment = Augment(**values.pop("augment", {}))
        return cls(**{**values, "exclude": tuple(values.get("exclude", ()))}, augment=augment)


class Trainer:
    """A run: `step()`, and with peers `meet()`, until `progress` is 1; `save()` at any time."""

    def __init__(self, config: TrainConfig, sequences: list[Sequence], peers: Peers = ALONE) -> None:
        torch.manual_seed(config.seed)
        self.config, self.done_steps, self.spent, self.peers = config, 0, 0.0, peers
        self.device = peers.device(torch.device(config.device))
        seed = config.seed + APART * peers.rank
        self.sampler = Sampler(sequences, config.size, self.device, seed, config.augment)
        self.model = Cascade(config.members, width=config.width, residual=config.residual).to(self.device)
        if config.start:
            take(self.model, load_file(config.start), config.start)
        self.noise = torch.Generator(device=self.device).manual_seed(seed)
        self.optimizer = torch.optim.AdamW(self._groups(), weight_decay=0.0)
        self.averaged = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def _groups(self) -> list[dict[str, Any]]:
        named = list(self.model.named_parameters())
        tables = [p for n, p in named if not n.startswith("context")]
        network = [p for n, p in named if n.startswith("context")]
        groups: list[dict[str, Any]] = [{"params": tables, "lr": 0.0, "peak": self.config.table_rate}]
        if network:
            groups.append({"params": network, "lr": 0.0, "peak": self.config.network_rate, "weight_decay": 1e-2})
        return groups

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 … 1."""
        timed = self.spent / self.config.seconds if self.config.seconds else 0.0
        return min(1.0, max(timed, self.done_steps / self.config.steps))

    def step(self) -> dict[str, float]:
        """Take one step; return its losses."""
        began = time.perf_counter()
        rate = min(1.0, (self.done_steps + 1) / 30) * (0.49 * (1 + math.cos(math.pi * self.progress)) + 0.02)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        self.model.train()
        losses = self._losses(self.sampler.batch(self.config.batch))
        total = losses["crps"] + self.config.spectrum * losses["spectrum"]
        self.optimizer.zero_grad()
        if total.requires_grad and bool(torch.isfinite(total)):
            total.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
        self._average()
        self.done_steps += 1
        self.spent += time.perf_counter() - began
        return {name: float(value.detach()) for name, value in losses.items()}

    def meet(self) -> None:
        """Take the mean of all workers' weights and averages; the time spent is the longest of theirs."""
        self.spent = self.peers.average([*self.model.parameters(), *self.averaged.values()], self.spent)

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean losses over a few random leads, near ones more often as far as `far` leaves it so."""
        usable = [
            k for k in range(batch.truth.shape[1]) if bool(torch.isfinite(batch.truth[:, k]).float().mean() > 0.1)
        ]
        count, _, height, width = batch.stack.shape
        noise = torch.randn(count, *self.model.noise.shape(height, width), generator=self.noise, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.mixed):
            ready = self.model.prepare(batch.stack, batch.mask, batch.motion, noise, batch.pixel)
        found = {"crps": torch.zeros((), device=self.device), "spectrum": torch.zeros((), device=self.device)}
        rng, bands = self.sampler.rng, self.config.spectrum_bands
        chosen: list[int] = []
        if usable:
            shares = chances(usable, self.config.far)
            chosen = rng.choice(usable, min(self.config.leads, len(usable)), replace=False, p=shares).tolist()
        for lead in chosen:
            truth = batch.truth[:, int(lead)]
            level = self.model.member_levels(ready, int(lead))
            scale = 0.1 + (torch.nan_to_num(truth).mean((1, 2)) if self.config.relative else batch.rain)
            score = loss_of_lead(latent_to_rate(level), truth, scale, self.config.fair)
            found["crps"] = found["crps"] + score / len(chosen)
            told, was = _comparable(level, truth)
            gap = spectrum_gap(told[:, ::3], was, bands) * min(1.0, (lead + 1) / SMOOTH_BEFORE) ** 2
            found["spectrum"] = found["spectrum"] + gap / len(chosen)
        return found

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.config.average, (self.done_steps + 1) / (self.done_steps + 10))
        for name, value in self.model.state_dict().items():
            if value.dtype.is_floating_point:
                self.averaged[name].mul_(keep).add_(value, alpha=1 - keep)

    def save(self, path: Path) -> None:
        """Write all that the next step depends on: tensors, and the rest as JSON in the file's metadata; no pickle."""
        optimizer = self.optimizer.state_dict()
        moments = {f"{number}.{name}": v for number, kept in optimizer["state"].items() for name, v in kept.items()}
        parts = {"model": self.model.state_dict(), "averaged": self.averaged, "optimizer": moments}
        tensors = {f"{part}.{name}": v for part, values in parts.items() for name, v in values.items()}
        tensors["noise"] = self.noise.get_state()
        groups, sampler = optimizer["param_groups"], self.sampler.state()
        about = {"groups": groups, "sampler": sampler, "steps": self.done_steps, "spent": self.spent}
        whole = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
        save_file(whole, path, metadata={"about": json.dumps(about)})

    def resume(self, path: Path) -> None:
        """Go on where `save` was called."""
        with safe_open(path, "pt", device=str(self.device)) as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping

        def part(of: str) -> dict[str, Tensor]:
            return {name.removeprefix(of): value for name, value in tensors.items() if name.startswith(of)}

        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in part("optimizer.").items():
            number, _, name = key.partition(".")
            moments.setdefault(int(number), {})[name] = value
        groups = [{**group, "betas": tuple(group["betas"])} for group in about["groups"]]
        take(self.model, part("model."), str(path))
        averaged = part("averaged.")
        self.averaged = {name: averaged[name] for name in self.averaged}  # in the model's order, the file has its own
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.noise.set_state(tensors["noise"].cpu())
        self.sampler.restore(about["sampler"])
        self.done_steps, self.spent = about["steps"], about["spent"]

    def weights(self) -> dict[str, Tensor]:
        """Return the averaged weights, on the CPU."""
        return {k: v.detach().cpu().contiguous() for k, v in self.averaged.items()}


def take(model: Cascade, weights: dict[str, Tensor], name: str) -> None:
    """Load weights, of a cascade or of an ensemble as they ship.

    Raises
    ------
    ConfigError
        When they are of another size or of another version's model.
    """
    try:
        model.load_state_dict({key.removeprefix("cascade."): value for key, value in weights.items()})
    except RuntimeError as error:
        told = str(error).splitlines()[1].strip()
        raise ConfigError(f"{name}: of another model or version ({told}); take its width, or start anew") from error


def chances(leads: list[int], far: float) -> list[float]:
    """Return the chance of each lead: 1 / (lead + 3) in sum 1, mixed with an even one by the share `far`."""
    near = [1 / (lead + 3) for lead in leads]
    return [(1 - far) * c / sum(near) + far / len(leads) for c in near]


def _comparable(level: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return latent members and truth, 0 where not seen."""
    seen = torch.isfinite(truth)[:, None]
    rate = torch.nan_to_num(truth)[:, None]
    was = torch.where(rate >= 0.1, 1 + torch.log10(rate.clamp(min=0.1)), torch.full_like(rate, DRY))
    return level.clamp(min=DRY) * seen, was * seen


def sequences_of(config: TrainConfig) -> list[Sequence]:
    """Read the archive; motion is kept in the run's folder."""
    folder = Path(config.data)
    paths = sorted(
        p for p in folder.iterdir() if p.suffix in {".npz", ".nc", ".zarr"} and not p.name.startswith("motion_")
    )
    return [read(p, Path(config.out)) for p in paths if p.stem not in config.exclude]


def tensorboard(folder: Path) -> Log:
    """Return a log that writes TensorBoard events where that package is there, else nothing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return lambda _step, _losses: None
    writer = SummaryWriter(folder)

    def write(step: int, losses: dict[str, float]) -> None:
        for name, value in losses.items():
            writer.add_scalar(name, value, step)

    return write


def train(config: TrainConfig, log: Log | None = None, sequences: list[Sequence] | None = None) -> Path:
    """Train, or go on training where `config.out` has a checkpoint; return the path of the weights."""
    peers, out = Peers.join(), Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, sequences if sequences is not None else sequences_of(config), peers)
    own = f"-{peers.rank}" if peers.rank else ""
    checkpoint, weights = out / f"checkpoint{own}.safetensors", out / "weights.safetensors"
    if checkpoint.exists():
        trainer.resume(checkpoint)
    peers.require_same(trainer.done_steps)
    writers = [] if own else [w for w in (log, tensorboard(out / "tensorboard")) if w]
    recent: list[dict[str, float]] = []
    while trainer.progress < 1:
        before = trainer.done_steps // config.every
        recent += [trainer.step() for _ in range(config.together if peers.count > 1 else 1)]
        trainer.meet()
        if trainer.done_steps // config.every > before or trainer.progress >= 1:
            means = {k: sum(r[k] for r in recent) / len(recent) for k in recent[0]}
            for write in writers:
                write(trainer.done_steps, means)
            recent = []
            trainer.save(checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
    if own:
        return weights
    save_file(trainer.weights(), weights)
    (out / "config.json").write_text(json.dumps(asdict(replace(config, start=config.start)), indent=1))
    return weights
