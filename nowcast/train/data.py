"""Training samples: crops of whole sequences, on the training device, in the codes that they are stored in.

A sample answers like the region stack of the product (`nowcast.models.spec`): four frames up to a base time, motion,
and the observed rates of the leads. Frames that the sequence lacks have mask 0; leads that it lacks have NaN.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nowcast.frame import grid_of
from nowcast.models.spec import FRAMES, LEADS
from nowcast.motion import motion as motion_of
from nowcast.space import to_model

MISSING = 255
STEP = 5
"""Minutes."""


@dataclass(frozen=True)
class Sequence:
    """One event: codes (T, H, W), minutes of each frame, motion at 1/8 of the resolution per base frame, km a pixel."""

    name: str
    codes: NDArray[np.uint8]
    minutes: NDArray[np.int64]
    motions: dict[int, NDArray[np.float32]]
    pixel: float = 1.0

    @cached_property
    def rain(self) -> float:
        """Mean of what was seen of it, mm/h."""
        counts = np.bincount(self.codes[::2, ::4, ::4].ravel(), minlength=256)[:MISSING]
        return float(counts @ decode(np.arange(MISSING, dtype=np.uint8)) / max(counts.sum(), 1))

    def near(self, minute: float, slack: int = 1) -> int | None:
        """Return the index of the frame within `slack` minutes, or None."""
        index = int(np.abs(self.minutes - minute).argmin())
        return index if abs(self.minutes[index] - minute) <= slack else None


@dataclass
class Batch:
    """B samples: stack, mask (B, 4, H, W), motion (B, 2, H/4, W/4), truth (B, K, H, W) mm/h, NaN where unknown.

    `rain` (B,) is the mean of the event that each is of, in mm/h; `pixel` (B, 1, 1, 1) the size of its pixels in km.
    """

    stack: Tensor
    mask: Tensor
    motion: Tensor
    truth: Tensor
    rain: Tensor
    pixel: Tensor


def decode(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return mm/h of sequence codes, NaN where not seen."""
    rate = 10 ** ((-10 + (codes.astype(np.float32) - 1) * 0.15) / 10)
    return np.where(codes == MISSING, np.nan, np.where(codes == 0, 0, rate)).astype(np.float32)


def encode(rate: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the nearest codes of mm/h, `MISSING` where NaN."""
    wet = np.clip(np.rint((10 * np.log10(np.maximum(rate, 0.1)) + 10) / 0.15) + 1, 1, 254)
    return np.where(np.isnan(rate), MISSING, np.where(np.nan_to_num(rate) < 0.1, 0, wet)).astype(np.uint8)


def read_npz(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64], float]:
    """Return codes, minutes since the first frame and km a pixel (1 where not told) of an npz sequence."""
    with np.load(path) as data:
        times = data["times"].astype("datetime64[s]")
        pixel = float(data["pixel_km"]) if "pixel_km" in data else 1.0
        return data["frames"], ((times - times[0]).astype(np.int64) // 60), pixel


def read_archive(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64], float]:
    """Return codes, minutes and km a pixel (1 without `crs`) of `rain_rate` (time, y, x) in a Zarr or NetCDF archive.

    Of a day that the cycle archived (`nowcast.archive`) only the times that have a frame; there may be none.
    """
    import xarray as xr

    how: dict[str, Any] = {"engine": "zarr", "consolidated": False, "chunks": None} if path.suffix == ".zarr" else {}
    with xr.open_dataset(path, **how) as archive:
        if "digest" in archive:
            archive = archive.isel(time=np.flatnonzero(archive["digest"].values.any(axis=1)))  # noqa: PLW2901
        times = archive["time"].values.astype("datetime64[s]")
        minutes = (times - times[:1]).astype(np.int64) // 60
        pixel = grid_of(archive).pixel_km if "crs" in archive else 1.0
        return encode(archive["rain_rate"].values), minutes, pixel


def read(path: Path, cache: Path | None = None) -> Sequence:
    """Return a sequence with the motion of every base time that has a frame before it.

    Parameters
    ----------
    cache
        Where motion is kept between runs.
    """
    codes, minutes, pixel = read_npz(path) if path.suffix == ".npz" else read_archive(path)
    height, width = (s // 32 * 32 for s in codes.shape[1:])
    codes = np.ascontiguousarray(codes[:, :height, :width])
    kept = cache / f"motion_{path.stem}.npz" if cache else None
    if kept is not None and kept.exists():
        with np.load(kept) as data:
            motions = dict(zip(data["base"].tolist(), data["motion"].astype(np.float32), strict=True))
    else:
        motions = dict(_motions(codes, minutes))
        if kept is not None and motions:
            np.savez_compressed(kept, base=list(motions), motion=np.stack(list(motions.values())).astype(np.float16))
    return Sequence(path.stem, codes, minutes, motions, pixel)


def _motions(codes: NDArray[np.uint8], minutes: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (base, (2, H/8, W/8)) for frames that follow others evenly, at least five minutes apart."""
    if len(minutes) < 2:
        return
    native = int(np.median(np.diff(minutes)))
    stride = max(1, -(-STEP // native))
    for base in range(stride, len(codes) - 1):
        chain = [base - stride * back for back in range(FRAMES) if base - stride * back >= 0]
        even = [i for n, i in enumerate(chain) if minutes[base] - minutes[i] == n * native * stride]
        if len(even) < 2:
            continue
        values, masks = zip(*(to_model(decode(codes[i])) for i in even[::-1]), strict=True)
        flow = torch.from_numpy(motion_of(np.stack(values), np.stack(masks)) * (STEP / (native * stride)))
        yield base, F.avg_pool2d(flow[None], 2)[0].numpy()


@dataclass(frozen=True)
class Augment:
    """How far samples are varied. Probabilities 0 … 1.

    Attributes
    ----------
    stride
        Chance that frames and leads are taken at twice the step, as if ten minutes were five: motion and change are
        then twice as fast. Off: at 0.2 the tables' CRPS at 60 min rose by 2.2 % on one event left out and by 0.2 to
        0.5 % on another, and no weights in the repository were made with it.
    """

    flip: bool = True
    intensity_db: float = 2.0
    shift_px: int = 6
    shift: float = 0.3
    drop_frame: float = 0.3
    stride: float = 0.0


@dataclass(frozen=True)
class Cut:
    """Codes of the frames (4, …) and leads (K, …) of a sample.

    Attributes
    ----------
    speed
        Pixels (y, x) that the window travels per step.
    stride
        Steps of five minutes between two frames.
    """

    frames: Tensor
    leads: Tensor
    speed: tuple[int, int]
    stride: int


@dataclass
class Sampler:
    """Random batches from sequences, on `device`, repeatable from its seed and resumable from its state."""

    sequences: list[Sequence]
    size: int
    device: torch.device
    seed: int = 0
    augment: Augment = field(default_factory=Augment)
    leads: int = LEADS

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self._codes = [torch.from_numpy(s.codes).to(self.device) for s in self.sequences]
        self._rate = torch.from_numpy(decode(np.arange(256, dtype=np.uint8))).to(self.device)
        value, mask = to_model(decode(np.arange(256, dtype=np.uint8)))
        self._value, self._mask = torch.from_numpy(value).to(self.device), torch.from_numpy(mask).to(self.device)
        wet = np.array(
            [max(float(((s.codes > 0) & (s.codes < MISSING))[::4, ::4, ::4].mean()), 0.005) for s in self.sequences]
        )
        amount = np.array([len(s.motions) * s.codes[0].size for s in self.sequences]) * wet
        self._chance = amount**0.35 / (amount**0.35).sum()

    def state(self) -> str:
        """Return what `restore` takes."""
        return json.dumps(self.rng.bit_generator.state)

    def restore(self, state: str) -> None:
        """Go on where `state` was taken."""
        self.rng.bit_generator.state = json.loads(state)

    def batch(self, count: int) -> Batch:
        """Return `count` samples."""
        samples = [self._sample() for _ in range(count)]
        return Batch(*(torch.cat([getattr(s, part.name) for s in samples]) for part in fields(Batch)))

    def _sample(self) -> Batch:
        for _ in range(20):
            which = int(self.rng.choice(len(self.sequences), p=self._chance))
            sequence = self.sequences[which]
            base = int(self.rng.choice(list(sequence.motions)))
            y, x = (int(self.rng.integers(0, max(s - self.size, 0) // 8 + 1)) * 8 for s in sequence.codes.shape[1:])
            sample = sequence.codes[base, y : y + self.size : 4, x : x + self.size : 4]
            if (sample != MISSING).mean() > 0.3 and ((sample > 0) & (sample < MISSING)).mean() > 0.01:
                break
        eighth = sequence.motions[base][:, y // 8 : (y + self.size) // 8, x // 8 : (x + self.size) // 8]
        return self._vary(self._cut(which, base, y, x), eighth, sequence)

    def _window(self, which: int, index: int | None, y: int, x: int) -> Tensor:
        """Return codes (size, size) of a frame; `MISSING` outside it and where there is none."""
        out = torch.full((self.size, self.size), MISSING, dtype=torch.uint8, device=self.device)
        if index is not None:
            height, width = self._codes[which].shape[1:]
            y0, y1, x0, x1 = max(y, 0), min(y + self.size, height), max(x, 0), min(x + self.size, width)
            if y1 > y0 and x1 > x0:
                out[y0 - y : y1 - y, x0 - x : x1 - x] = self._codes[which][index, y0:y1, x0:x1]
        return out

    def _cut(self, which: int, base: int, y: int, x: int) -> Cut:
        """Return a sample's codes in a window that itself may travel."""
        sequence, speed, stride = self.sequences[which], (0, 0), 1
        if self.rng.random() < self.augment.shift:
            a, b = self.rng.integers(-self.augment.shift_px, self.augment.shift_px + 1, 2)
            speed = int(a), int(b)
        if self.augment.stride and self.rng.random() < self.augment.stride:  # without, older runs go on as they were
            stride = 2
        now, step = int(sequence.minutes[base]), STEP * stride
        frames = [
            self._window(which, sequence.near(now - step * n), y - speed[0] * n, x - speed[1] * n)
            for n in range(FRAMES)[::-1]
        ]
        leads = [
            self._window(which, sequence.near(now + step * n, 0), y + speed[0] * n, x + speed[1] * n)
            for n in range(1, self.leads + 1)
        ]
        return Cut(torch.stack(frames), torch.stack(leads), speed, stride)

    def _vary(self, cut: Cut, eighth: NDArray[np.float32], of: Sequence) -> Batch:
        flow = F.interpolate(torch.from_numpy(eighth)[None].to(self.device), scale_factor=2.0, mode="bilinear")
        flow = flow * cut.stride - torch.tensor(cut.speed[::-1], device=self.device)[None, :, None, None]
        frames, leads = cut.frames.long(), cut.leads.long()
        stack, mask, truth = self._value[frames], self._mask[frames], self._rate[leads]
        if self.rng.random() < self.augment.drop_frame:
            first, last = np.sort(self.rng.integers(0, FRAMES, 2))
            stack[first:last], mask[first:last] = 0, 0
        decibel = float(self.rng.uniform(-1, 1)) * self.augment.intensity_db
        stack, truth = self._louder(stack, truth, decibel)
        mean = torch.full((1,), of.rain * 10 ** (decibel / 10), device=self.device)
        pixel = torch.full((1, 1, 1, 1), of.pixel, device=self.device)
        parts = [stack[None], mask[None], flow, truth[None]]
        seen, known, flow, then = self._turn(parts, *self.rng.random(3)) if self.augment.flip else parts
        return Batch(seen, known, flow, then, mean, pixel)

    @staticmethod
    def _louder(stack: Tensor, truth: Tensor, decibel: float) -> tuple[Tensor, Tensor]:
        """Return both with rain stronger by some dB; what falls under 0.1 mm/h is dry."""
        louder = torch.where(stack > 0, stack + decibel / 38.1, stack)
        rate = truth * 10 ** (decibel / 10)
        return torch.where(louder >= 0.0039, louder, torch.zeros_like(louder)).clamp(max=1), torch.where(
            rate < 0.1, rate * 0, rate
        )

    @staticmethod
    def _turn(parts: list[Tensor], mirror: float, flip: float, transpose: float) -> list[Tensor]:
        stack, mask, flow, truth = parts
        sign = torch.tensor([-1.0 if mirror < 0.5 else 1.0, -1.0 if flip < 0.5 else 1.0], device=flow.device)[
            None, :, None, None
        ]
        axes = [a for a, chance in ((-1, mirror), (-2, flip)) if chance < 0.5]
        turned = [t.flip(axes) if axes else t for t in (stack, mask, flow * sign, truth)]
        if transpose < 0.5:
            turned = [t.transpose(-1, -2) for t in turned]
            turned[2] = turned[2].flip(1)
        return [t.contiguous() for t in turned]
