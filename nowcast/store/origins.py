"""What stands behind one run: its frames, its plan and that plan's parity, its scores so far."""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from nowcast.run import CheckRecord, FrameRecord, PlanRecord, Run, ScoreRecord
from nowcast.store import records
from nowcast.store.connections import Connections
from nowcast.store.tables import checks, frames, plans, scores

_PLAN = select(plans).where(plans.c.digest == bindparam("plan"))
_CHECKS = (
    select(checks).where(checks.c.plan == bindparam("plan")).order_by(checks.c.checked_at.desc(), checks.c.id.desc())
)
_FRAMES = (
    select(frames)
    .where(frames.c.digest.in_(bindparam("digests", expanding=True)))
    .order_by(frames.c.valid_time, frames.c.source, frames.c.id)
)
_SCORES = (
    select(*(scores.c[name] for name in ScoreRecord.__dataclass_fields__))
    .where(scores.c.region == bindparam("in_region"), scores.c.base_time == bindparam("time"))
    .order_by(scores.c.made_by, scores.c.product, scores.c.score, scores.c.threshold, scores.c.lead_minutes)
)
MOST_CHECKS = 1000


@dataclass(frozen=True)
class Origin:
    """What stands behind a run.

    Attributes
    ----------
    plan
        None when the store does not know the run's plan (any more).
    checks
        The last result of the parity gate for each (case, product) of the plan.
    frames
        Records of the files that it was made from, as far as they are still kept, by valid time.
    scores
        Every score of the run's leads that have been verified so far, of its model and of the baselines.
    """

    run: Run
    plan: PlanRecord | None
    checks: tuple[CheckRecord, ...]
    frames: tuple[FrameRecord, ...]
    scores: tuple[ScoreRecord, ...]


class Origins:
    """Where runs come from."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def of(self, run: Run) -> Origin:
        """Return what stands behind a run, as of one moment."""

        def work(connection: Connection) -> Origin:
            plan = connection.execute(_PLAN, {"plan": run.plan}).mappings().first()
            of_run = {"in_region": run.region, "time": run.base_time}
            found = connection.execute(_CHECKS.limit(MOST_CHECKS), {"plan": run.plan}).mappings().all()
            used = connection.execute(_FRAMES, {"digests": list(run.frames)}).mappings().all()
            scored = connection.execute(_SCORES, of_run).mappings().all()
            return Origin(
                run,
                records.plan_record(plan) if plan else None,
                _last(_by(run.rung, [records.check_record(row) for row in found])),
                tuple(records.frame_record(row) for row in used),
                tuple(ScoreRecord(**row) for row in scored),
            )

        return self._connections.snapshot(work)


def _by(rung: str, found: list[CheckRecord]) -> list[CheckRecord]:
    """Return the checks of the rung's own runtime where there are any: two runtimes may run the plan that ships."""
    return [check for check in found if check.runtime == rung] or found


def _last(found: list[CheckRecord]) -> tuple[CheckRecord, ...]:
    newest: dict[tuple[str, str], CheckRecord] = {}
    for check in found:  # newest first
        newest.setdefault((check.case, check.product), check)
    return tuple(newest[key] for key in sorted(newest))
