"""Which engine gives the first members of an ensemble: a plan that has them as products, else the reference."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace

from engines.ladder import Rung
from engines.plan import SHIPPED, Plan, shipped_plan
from engines.runtimes import BY_NAME
from nowcast.errors import ConfigError, RuntimeMissing
from nowcast.models.spec import member_products, shown_members


def rungs_with_members(rungs: Callable[[str], list[Rung]], members: int) -> Callable[[str], list[Rung]]:
    """Return what gives the rungs of a model on which its first `members` are products.

    The rungs of a model's plan that shows them, its own or that of `<model>-members`; where none does, the reference,
    held against the golden cases of the model's plan like any other. Never extrapolation, which has no members.

    Raises
    ------
    ConfigError
        When the model has no or fewer members.
    RuntimeMissing
        When it would take the reference, and torch is not installed.
    """

    def showing(model: str) -> list[Rung]:
        plan = shipped_plan(model)
        require_members(plan, members)
        for name in (model, f"{model}-members"):
            if (SHIPPED / name).is_dir() and shown_members(shipped_plan(name).spec.products) >= members:
                return [rung for rung in rungs(name) if rung.plan.spec.name == name]
        return [reference(plan, members)]

    return showing


def require_members(plan: Plan, members: int) -> None:
    """Raise `ConfigError` unless the plan's ensemble has that many members."""
    name, there = plan.spec.name, plan.spec.members
    if there == 1:
        raise ConfigError(f"--members {members}: model {name!r} has none; take --model standard (24) or edge (8)")
    if not 1 <= members <= there:
        more = "" if there >= 24 else ", or take --model standard (24)"
        raise ConfigError(f"--members {members}: model {name!r} has {there}; ask for 1 to {there}{more}")


def reference(plan: Plan, members: int) -> Rung:
    """Return the rung of the reference with the members as products."""
    if importlib.util.find_spec("torch") is None:
        raise RuntimeMissing(
            f"members of model {plan.spec.name!r} come from PyTorch, which is not installed:"
            " pip install 'nowcast[reference]', or take --model edge, whose 8 members need none"
        )
    spec = replace(plan.spec, products=plan.spec.products + member_products(members))
    factory, limits = "engines.reference:ByLead", BY_NAME["torch"].limits
    return Rung("reference", factory, replace(plan, spec=spec), limits, by_lead=True)
