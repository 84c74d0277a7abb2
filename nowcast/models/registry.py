"""The models by name: adding one is one class beside this and one line here."""

from collections.abc import Callable

from torch import nn

from nowcast.errors import UnknownModel
from nowcast.models.advection import Advection
from nowcast.models.ensemble import Edge, EdgeMembers, Standard
from nowcast.models.persistence import Persistence

MODELS: dict[str, Callable[[], nn.Module]] = {
    "standard": Standard,
    "edge": Edge,
    "edge-members": EdgeMembers,
    "advection": Advection,
    "persistence": Persistence,
}


def create(name: str) -> nn.Module:
    """Return the model with the weights of the repository, for inference."""
    if name not in MODELS:
        raise UnknownModel(f"no model is called {name!r}; there are {', '.join(MODELS)}")
    return MODELS[name]().eval()
