"""What the images hold beyond their base (python:3.11-slim; CUDA's driver is the host's): bytes of what pip installs.

    python -m benchmarks.image_size

Installs what each target of the Dockerfile does into an empty environment and adds up the files; no image is built.
"""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.report import save, show

ROOT = Path(__file__).parents[1]


def installs():
    """Arguments of `pip install` of each target, with those of the targets that it is made from."""
    found, parent, target = {}, {}, ""
    for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines():
        if match := re.match(r"FROM (\S+) AS (\S+)", line):
            target = match[2]
            parent[target], found[target] = match[1], []
        elif match := re.match(r"RUN pip install --no-cache-dir (.*)", line):
            found[target].append(match[1])
    return {name: found.get(parent[name], []) + lines for name, lines in found.items() if lines}


def size(commands):
    """Bytes of an environment after these installations."""
    with TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for arguments in commands:
            subprocess.run(f"{folder}/bin/pip install -q --no-cache-dir {arguments}", shell=True, cwd=ROOT, check=True)
        return sum(p.lstat().st_size for p in Path(folder).rglob("*"))


def main():
    found = {name: size(commands) for name, commands in installs().items()}
    save("image-size", {"bytes": found}, ())
    show("beyond the base image", ("target", "MB"), [(name, taken / 1e6) for name, taken in found.items()])


if __name__ == "__main__":
    main()
