"""From the parts of a plan to tacit's objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tacit.plan.field import unlimited
from tacit.plan.parts import SCHEDULES, STOPS, part_class

if TYPE_CHECKING:
    from tacit.aggregation.homomorphic import SharedKeySum
    from tacit.aggregation.robust import Robust
    from tacit.aggregation.secure_sum import SecureSum
    from tacit.aggregation.stage import Stage
    from tacit.algorithms.base import Algorithm
    from tacit.fleet import ByTier, Closing, FedBuff, Fleet
    from tacit.fleet.recipe import Recipe
    from tacit.learning.solver import Solver
    from tacit.plan.network import Network
    from tacit.plan.plan import Part, Plan
    from tacit.privacy.record_level import RecordLevel
    from tacit.privacy.user_level import UserLevel
    from tacit.record.stopping import Stopping
    from tacit.selection.cohort import Selection


def value(entry: Any) -> Any:
    """An entry of a plan as an argument: a table that names a schedule becomes that schedule."""
    if isinstance(entry, Mapping) and "schedule" in entry:
        fields = {name: value(inner) for name, inner in entry.items() if name != "schedule"}
        return part_class(SCHEDULES[entry["schedule"]])(**fields)
    return entry


def made(part: Part, *arguments: Any) -> Any:
    """The object that a part names.

    Raises:
        UsageError: the class refuses the fields.
    """
    kind = part_class(part.name)
    given = {n: value(entry) for n, entry in part.fields.items() if entry is not None or n not in unlimited(kind)}
    return kind(*arguments, **given)


def solver(plan: Plan) -> Solver:
    """The local solver."""
    built: Solver = made(plan.solver)
    return built


def algorithm(plan: Plan) -> Algorithm:
    """The federated method, with its local solver."""
    built: Algorithm = made(plan.algorithm, solver(plan))
    return built


def selection(plan: Plan) -> Selection:
    """Who takes part."""
    built: Selection = made(plan.selection)
    return built if plan.pool is None else made(plan.pool).around(built)


def privacy(plan: Plan) -> UserLevel | None:
    """What the run promises; None where it is not private."""
    return None if plan.privacy is None else made(plan.privacy)


def record_privacy(plan: Plan) -> RecordLevel | None:
    """What the run promises of every record; None where it promises nothing."""
    return None if plan.record_privacy is None else made(plan.record_privacy)


def aggregation(plan: Plan) -> SecureSum | SharedKeySum | None:
    """How reports are summed; None where the server adds them itself."""
    return None if plan.aggregation is None else made(plan.aggregation)


def robust(plan: Plan) -> Robust | None:
    """What takes the place of the mean; None where it is the mean."""
    return None if plan.robust is None else made(plan.robust)


def fleet(plan: Plan, clients: Sequence[str]) -> Fleet | None:
    """The devices of `clients`; None where everybody is always there and no time is kept.

    Raises:
        DataError: the files of a trace cannot be read, or are not those that they were.
    """
    if plan.fleet is None:
        return None
    recipe: Recipe = made(plan.fleet)
    return recipe.made(clients, plan.seed)


def settle(plan: Plan) -> Plan:
    """The plan with the content of its fleet's files, if it has any, written into it.

    Raises:
        DataError: the files cannot be read, or are not those that the plan was made with.
    """
    recipe = None if plan.fleet is None else made(plan.fleet)
    if plan.fleet is None or not isinstance(recipe, part_class("Trace")):
        return plan
    return plan.model_copy(update={"fleet": plan.fleet.model_copy(update={"fields": plan.frozen(recipe.settled())})})


def closing(plan: Plan) -> Closing | FedBuff | None:
    """When rounds on a fleet are closed; None without one."""
    return None if plan.closing is None else made(plan.closing)


def overlapping(plan: Plan) -> FedBuff | None:
    """How rounds overlap; None where they do not."""
    from tacit.fleet import FedBuff

    found = closing(plan)
    return found if isinstance(found, FedBuff) else None


def stale_scale(plan: Plan, stale: int) -> float:
    """By what an update is multiplied that is so many versions old."""
    how = overlapping(plan)
    return 1.0 if how is None else how.scale(stale)


def stages(plan: Plan) -> list[Stage]:
    """What stands around the sum: a rotation, and what makes reports shorter."""
    return [made(part) for part in (plan.rotation, plan.compression) if part is not None]


def by_tier(plan: Plan) -> ByTier | None:
    """What devices of each tier are asked to do; None where all do the same."""
    return None if plan.by_tier is None else made(plan.by_tier)


def network(plan: Plan) -> Network:
    """How the run takes place between machines."""
    built: Network = part_class("Network")() if plan.network is None else made(plan.network)
    return built


def stopping(plan: Plan) -> list[Stopping]:
    """The rules that end the run early."""
    rules = ((name, getattr(plan.stop, name)) for name in STOPS)
    return [part_class(STOPS[name])(**fields) for name, fields in rules if fields is not None]
