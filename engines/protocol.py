"""What an engine is: a plan bound to a runtime, shapes and memory. It is built once and then only called."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from nowcast.models.spec import Inputs, ModelSpec, Outputs

if TYPE_CHECKING:
    from engines.shared import Shared


class Engine(Protocol):
    """A loaded plan for one batch size and one shape.

    Attributes
    ----------
    spec
        What the model takes and gives.
    runtime
        The rung it serves: `openvino`, `torch`, …
    versions
        Library versions that its numbers depend on.
    """

    spec: ModelSpec
    runtime: str
    versions: dict[str, str]

    def __call__(self, inputs: Inputs) -> Outputs:
        """Return the products of one batch, in model space, and their coverage; the same inputs give the same outputs.

        An engine may give the same memory at each call: use or copy the outputs before the next one.

        Raises
        ------
        EngineError
            When the runtime fails or the shape is not the one prepared.
        """
        ...

    def close(self) -> None:
        """Give back what the engine holds."""
        ...


@runtime_checkable
class Replays(Protocol):
    """An engine that can work on host memory given to it once: nothing is copied on the host per call."""

    def bind(self, shared: "Shared") -> None:
        """Read inputs from and write outputs to `shared` from now on."""
        ...

    def replay(self) -> None:
        """Run on what lies in the inputs."""
        ...
