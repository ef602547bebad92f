"""The federation of a run between machines, as both sides put it together from the same terms."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tacit.errors import IncompatibleOptions, Problems, UsageError
from tacit.federation import Federation
from tacit.fleet import PartialWork
from tacit.learning.task import Task
from tacit.network.buffering import FirstDone
from tacit.plan import build
from tacit.selection.table import CLIENT_LOSSES

if TYPE_CHECKING:
    from tacit.network.remote import Remote
    from tacit.plan import Plan

VIRTUAL = ("by_tier", "pool")
"""Sections of a plan that are about devices in virtual time; a fleet may be there, and real devices take its place."""
CLOSINGS = ("PartialWork", "FedBuff")
"""How rounds can be closed between machines; how long is waited is said in [network]."""


def deployed(plan: Plan, task: Task, population: Remote) -> Federation:
    """The federation of a plan whose clients are elsewhere.

    Raises:
        UsageError: the plan cannot be carried out between machines.
    """
    with Problems("this plan cannot be carried out between machines", IncompatibleOptions) as problems:
        problems.extend(unfit(plan))
    how = build.overlapping(plan)
    found = Federation(
        task,
        population,
        build.algorithm(plan),
        selection=build.selection(plan) if how is None else FirstDone(how.buffer),
        seed=plan.seed,
        workers=1,
        privacy=build.privacy(plan),
        record_privacy=build.record_privacy(plan),
        aggregation=build.aggregation(plan),
        robust=build.robust(plan),
        stages=build.stages(plan),
        engine=plan.run.engine,
    )
    if how is not None:
        with Problems("rounds cannot overlap here", IncompatibleOptions) as problems:
            problems.extend(apart(found))
    return found


def apart(federation: Federation) -> Iterator[str]:
    """What needs everybody to be of one round, where rounds overlap."""
    method = type(federation.algorithm).__name__
    if federation.algorithm.memory(federation.task.d):
        yield f"{method} remembers of one round what clients of another need: take FedAvg, FedProx or FedNova"
    if federation.robust is not None:
        yield f"{federation.robust!r} compares reports of one model, and those of a buffer are of several"
    chain = federation.chain
    for stage, state in zip(chain.stages, chain.init(), strict=True):
        if stage.broadcast(state):
            yield f"{stage!r} sends a key or a bound down with every round, and reports of a buffer are of several"


def unfit(plan: Plan) -> Iterator[str]:
    """What of a plan does not go between machines, with what to do."""
    for name in VIRTUAL:
        if getattr(plan, name) is not None:
            yield f"[{name}] is about devices in virtual time: leave it out, for real ones take their own"
    if plan.closing is not None and plan.closing.name not in CLOSINGS:
        known = " or ".join(CLOSINGS)
        yield f"[closing] is {plan.closing.name}: between machines take {known}, and state patience in [network]"
    yield from _unlike(plan)
    if plan.aggregation is not None and plan.aggregation.name != "SecureSum":
        yield f"[aggregation] is {plan.aggregation.name}, which has no messages between machines yet: take SecureSum"
    weights = build.algorithm(plan).weights
    weighted = plan.aggregation is not None and plan.privacy is None and weights != "uniform"
    if weighted and plan.aggregation is not None and plan.aggregation.fields.get("most_examples") is None:
        yield (
            "[aggregation] does not say for how many examples a client counts at most: state most_examples = 1000, "
            "say, for the server must not learn how many each has"
        )
    if plan.privacy is not None and plan.privacy.name == "LocalLevel":
        yield "[privacy] is LocalLevel, whose noise participants do not add between machines yet: take UserLevel"
    if CLIENT_LOSSES in getattr(build.selection(plan), "uses", ()):
        yield f"[selection] is {plan.selection.name}, which asks every client for its loss: take Uniform or Poisson"


def _unlike(plan: Plan) -> Iterator[str]:
    """Where a plan closes its rounds otherwise in virtual time than its table [network] says for real ones."""
    closing, network = build.closing(plan), build.network(plan)
    if not isinstance(closing, PartialWork):
        return
    if closing.seconds is not None and closing.seconds != network.patience:
        yield (
            f"[closing] gives a round {closing.seconds:g} seconds, and between machines a training is waited for "
            f"{network.patience:g}: state the same as seconds in [closing] and as patience in [network]"
        )
    if not network.partial:
        yield (
            "[closing] is PartialWork, and partial = false in [network] leaves out who is slow: leave one of them out"
        )


def task_digest(task: Task) -> str:
    """Of the names, shapes and types of a model's parameters and buffers, of those that are never trained also their
    values, and of the loss by its name: what two sides must share for their reports to be of one model. 64 digits.
    """
    digest = sha256()
    model, trained = task.model, set(task.layout.names) | set(task.buffer_layout.names)
    named: list[tuple[str, Any]] = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in named:
        digest.update(f"{name}\x1f{tuple(tensor.shape)}\x1f{tensor.dtype}\x1f{name in trained}\x1e".encode())
        if name not in trained:
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    digest.update(_named(task.loss).encode())
    return digest.hexdigest()


def _named(loss: Any) -> str:
    inner = getattr(loss, "func", loss)
    return str(getattr(inner, "__name__", type(inner).__name__))


def task_of(plan: Plan, schema: Any, given: Task | None = None) -> Task:
    """The task that is installed here under the plan's scenario.

    Args:
        plan: of the run.
        schema: of the examples.
        given: where the task is one's own, and no scenario's.

    Raises:
        UsageError: there is none.
    """
    from tacit.scenarios.scenario import Deployable, scenario

    if given is not None:
        return given
    found = scenario(plan.scenario)
    if not isinstance(found, Deployable):
        raise UsageError(
            f"the scenario {plan.scenario!r} has no task of its own: give yours, tacit.Participant(..., task=...)"
        )
    return found.task(plan, schema)
