"""A plan on disk: a folder with the exported graph, its golden cases and `plan.json`, which says what they are.

The folders under `engines/plans/` ship with the project, made by `nowcast engine export` from the PyTorch reference, so
that a machine without torch can still serve and still prove what it serves.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from nowcast.disk import make_folder, writing
from nowcast.errors import EngineError
from nowcast.models.spec import ModelSpec

SHIPPED = Path(__file__).parent / "plans"
GRAPH, GOLDEN, ABOUT = "model.onnx", "golden.npz", "plan.json"


@dataclass(frozen=True)
class Plan:
    """An exported model.

    Attributes
    ----------
    digest
        SHA-256 of the file's bytes.
    golden_digest
        SHA-256 of the golden cases' bytes.
    versions
        What it was exported with.
    file
        Name of the file that a runtime loads: the graph, or what a runtime compiled of it.
    """

    folder: Path
    spec: ModelSpec
    digest: str
    golden_digest: str
    versions: dict[str, str]
    file: str = GRAPH

    def graph(self) -> bytes:
        """Return the bytes that a runtime loads, verified to be those that the plan states."""
        return _verified(self.folder / self.file, self.digest)

    def golden(self) -> bytes:
        """Return the golden cases' bytes, verified likewise."""
        return _verified(self.folder / GOLDEN, self.golden_digest)


def _verified(path: Path, digest: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror}; install again or run `nowcast engine export`") from error
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise EngineError(
            f"{path}: digest {found[:12]} is not the plan's {digest[:12]}; export or fetch the plan again"
        )
    return data


def read_plan(folder: Path) -> Plan:
    """Return the plan in `folder`.

    Raises
    ------
    EngineError
        When there is none or its statement cannot be read.
    """
    try:
        about = json.loads((folder / ABOUT).read_text("utf-8"))
        return Plan(folder, ModelSpec.from_json(about["spec"]), about["digest"], about["golden"], about["versions"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(f"{folder}: no usable plan ({error}); run `nowcast engine export`") from error


def shipped_plan(model: str) -> Plan:
    """Return the plan of a model that ships with the project."""
    folder = SHIPPED / model
    if not (folder / ABOUT).exists():
        there = ", ".join(sorted(p.parent.name for p in SHIPPED.glob(f"*/{ABOUT}")))
        raise EngineError(f"no plan for model {model!r}; there are: {there}, and those of `nowcast model list`")
    return read_plan(folder)


def write_plan(folder: Path, spec: ModelSpec, graph: bytes, golden: bytes, versions: dict[str, str]) -> Plan:
    """Write a plan's three files and return it."""
    make_folder(folder)
    digests = {"digest": hashlib.sha256(graph).hexdigest(), "golden": hashlib.sha256(golden).hexdigest()}
    about = {"spec": spec.to_json(), **digests, "versions": versions}
    with writing(folder):
        (folder / GRAPH).write_bytes(graph)
        (folder / GOLDEN).write_bytes(golden)
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    return read_plan(folder)
