"""Which NVIDIA GPU this machine has, asked of the driver's own tool: no CUDA context is made in this process."""

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Gpu:
    """A GPU and its driver.

    Attributes
    ----------
    capability
        Compute capability, as in `9.0`.
    memory
        Bytes in all.
    """

    name: str
    capability: str
    driver: str
    memory: int

    @property
    def sm(self) -> str:
        """Architecture, as in `sm90`."""
        return "sm" + self.capability.replace(".", "")


@cache
def find_gpu() -> Gpu | None:
    """Return the first GPU, None when there is none or the driver does not answer."""
    command = shutil.which("nvidia-smi")
    if not command:
        return None
    query = [command, "--query-gpu=name,compute_cap,driver_version,memory.total", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
        name, capability, driver, mebibytes = (part.strip() for part in found.stdout.splitlines()[0].split(","))
        return Gpu(name, capability, driver, int(mebibytes) * 2**20)
    except (subprocess.SubprocessError, OSError, IndexError, ValueError):
        return None
