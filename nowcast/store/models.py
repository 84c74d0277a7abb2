"""The repository of models' lives: transitions, checked and added one after another."""

from dataclasses import asdict

from sqlalchemy import Connection, Select, insert, select

from nowcast.life import Lives, State, Transition, superseded
from nowcast.store.connections import Connections
from nowcast.store.leases import Lease, require_lease
from nowcast.store.life_tables import transitions

_ALL = select(transitions).order_by(transitions.c.id)
_INSERT = insert(transitions)
_NEWEST = select(transitions).order_by(transitions.c.id.desc())


class ModelLives:
    """What happened to models, and what may happen next."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def history(self, model: str | None = None) -> list[Transition]:
        """Return all steps, or those of one model, oldest first."""
        return [step for step in self._connections.read(_transitions) if model in (None, step.model)]

    def newest(self, model: str | None = None, before: int | None = None, limit: int = 100) -> list[Transition]:
        """Return at most `limit` steps, of one model or of all, newest first; `before` an id, for paging."""
        statement = _NEWEST.limit(limit)
        if model is not None:
            statement = statement.where(transitions.c.model == model)
        if before is not None:
            statement = statement.where(transitions.c.id < before)
        return self._connections.read(lambda c: _transitions(c, statement))

    def lives(self) -> Lives:
        """Return the state of every model."""
        return Lives(self.history())

    def step(self, step: Transition, lease: Lease | None = None) -> None:
        """Add a step, and retire what a promotion leaves without a region.

        Raises
        ------
        LifeError
            When the model may not come into that state from where it is; looked at in the same transaction.
        """

        def work(connection: Connection) -> None:
            require_lease(connection, lease)
            lives = Lives(_transitions(connection))
            lives.require(step.model, step.state)
            old = superseded(lives, step) if step.state is State.PROMOTED else ()
            _add(connection, step)
            for done in old:
                why = f"{step.model} was promoted, the one before it is kept to go back to"
                _add(connection, Transition(done.model, done.family, State.RETIRED, (), step.who, step.at, why))

        self._connections.write(work)


def _add(connection: Connection, step: Transition) -> None:
    values = {**asdict(step), "regions": list(step.regions), "state": str(step.state)}
    del values["id"]
    connection.execute(_INSERT, values)


def _transitions(connection: Connection, statement: Select = _ALL) -> list[Transition]:
    rows = connection.execute(statement).mappings().all()
    return [Transition(**{**r, "regions": tuple(r["regions"]), "state": State(r["state"])}) for r in rows]
