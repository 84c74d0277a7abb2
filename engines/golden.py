"""Golden cases: fixed inputs that cover the regimes, and what the PyTorch reference (FP32) makes of them.

Inputs are quantised before the reference sees them and outputs to 1/4095 after (83 dB, far above any gate), so that the
file that ships is small. `psnr ≥ 40 dB` on a mostly dry field would prove nothing: each regime is a case
of its own, and the gate looks at wet pixels besides all pixels.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nowcast.models.spec import FRAMES, Inputs, ModelSpec, Outputs, pixel_sizes

HEIGHT, WIDTH = 64, 96
LEVELS = 4095
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Golden:
    """One case: inputs (a batch of one) and the reference's outputs."""

    name: str
    inputs: Inputs
    expected: Outputs


def make_cases(spec: ModelSpec, reference: Callable[[Inputs], Outputs]) -> Iterator[Golden]:
    """Yield every case, with what `reference` makes of it."""
    for number, (name, level, scale, wind, kilometres) in enumerate(REGIMES):
        rng = np.random.default_rng((2026, number))
        stack, mask = _rain(rng, level, scale, wind), np.ones((FRAMES, HEIGHT, WIDTH), np.float32)
        if name == "radar-edge":
            row, column = np.ogrid[:HEIGHT, :WIDTH]
            mask[:] = np.hypot(row - 26, column - 22) < 40
            mask[0] = 0
        noise = None
        if spec.noise:
            noise = _quantised(rng.standard_normal((1, *spec.noise.shape(HEIGHT, WIDTH))), 4096)
        pixel = pixel_sizes(kilometres, HEIGHT, WIDTH) if spec.pixel else None
        inputs = Inputs((stack * mask)[None], mask[None], _wind(rng, wind)[None], noise, pixel)
        yield Golden(name, inputs, reference(inputs))


REGIMES = (  # name, model-space level of the rain's top, scale in px, wind (dx, dy) in px per 5 min, pixels in km
    ("dry", 0.0, 8.0, (2.0, 1.0), 1.0),
    ("convective", 0.75, 3.0, (1.5, -2.5), 1.0),
    ("stratiform", 0.4, 14.0, (4.0, 1.0), 2.0),
    ("radar-edge", 0.5, 7.0, (-3.0, 2.0), 0.5),
    ("extreme", 1.0, 5.0, (6.5, -6.0), 1.0),
)


def _rain(rng: np.random.Generator, level: float, scale: float, wind: tuple[float, float]) -> Array:
    """Return (T, H, W) of rain that moves with the wind and changes a little from frame to frame."""
    pattern, change = (cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)), (0, 0), scale) for _ in range(2))
    frames = []
    for age in range(FRAMES - 1, -1, -1):
        shift = np.array([[1, 0, -age * wind[0]], [0, 1, -age * wind[1]]], np.float64)
        moved = cv2.warpAffine(pattern + 0.1 * age * change, shift, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        frames.append(np.clip(moved / (2.5 * pattern.std()), 0, 1) * level)
    return _quantised(np.stack(frames), LEVELS)


def _wind(rng: np.random.Generator, wind: tuple[float, float]) -> Array:
    """Return (2, H/4, W/4): the mean wind, a shear and some turbulence."""
    rough = rng.standard_normal((2, HEIGHT // 4, WIDTH // 4))
    rough = np.stack([cv2.GaussianBlur(r, (0, 0), 4.0) for r in rough])
    shear = np.linspace(-0.5, 0.5, HEIGHT // 4)[None, :, None]
    return _quantised(np.array(wind)[:, None, None] + shear + rough, 1024)


def _quantised(values: NDArray[np.floating], levels: int) -> Array:
    return (np.rint(values * levels) / levels).astype(np.float32)


def pack(cases: Iterator[Golden]) -> bytes:
    """Return the cases as the bytes of an npz file."""
    arrays: dict[str, NDArray] = {}
    for case in cases:
        arrays |= {f"{case.name}/in/{name}": values for name, values in case.inputs.named().items()}
        arrays |= {
            f"{case.name}/out/{name}": np.rint(values * LEVELS).astype(np.uint16)
            for name, values in case.expected.items()
        }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(data: bytes) -> list[Golden]:
    """Return the cases that `pack` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        names = dict.fromkeys(key.split("/")[0] for key in arrays.files)
        everything = {key: arrays[key] for key in arrays.files}
    return [Golden(name, Inputs(**_part(everything, f"{name}/in/")), _outputs(everything, name)) for name in names]


def _part(arrays: dict[str, NDArray], prefix: str) -> dict[str, NDArray]:
    return {key.removeprefix(prefix): values for key, values in arrays.items() if key.startswith(prefix)}


def _outputs(arrays: dict[str, NDArray], name: str) -> Outputs:
    return {key: codes.astype(np.float32) / np.float32(LEVELS) for key, codes in _part(arrays, f"{name}/out/").items()}
