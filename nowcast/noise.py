"""Noise as an input: standard normal, seeded from (region, base time, member), so a forecast can be made again."""

import hashlib
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from nowcast.models.spec import ModelSpec, NoiseSpec


def noise_for(spec: ModelSpec, region: str, base_time: datetime, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Return (1, M, C, H/d, W/d) for a region of padded `shape` (H, W), or None for a deterministic model."""
    if spec.noise is None:
        return None
    members, *rest = spec.noise.shape(*shape)
    return np.stack([_member(region, base_time, number, tuple(rest)) for number in range(members)])[None]


class Noise:
    """The noise of one forecast: made once for each kind of ensemble that asks, ahead of an engine's turn or in it."""

    def __init__(self, region: str, base_time: datetime, shape: tuple[int, ...]) -> None:
        self._of = region, base_time, shape
        self._made: dict[NoiseSpec | None, NDArray[np.float32] | None] = {}

    def __call__(self, spec: ModelSpec) -> NDArray[np.float32] | None:
        """Return what `noise_for` makes for the spec."""
        if spec.noise not in self._made:
            self._made[spec.noise] = noise_for(spec, *self._of)
        return self._made[spec.noise]


def _member(region: str, base_time: datetime, member: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    key = hashlib.sha256(f"{region}|{base_time.isoformat()}|{member}".encode()).digest()
    rng = np.random.Generator(np.random.SFC64(int.from_bytes(key[:16], "big")))
    return rng.standard_normal(shape, np.float32)
