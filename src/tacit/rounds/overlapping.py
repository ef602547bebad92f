"""What does not go together with rounds that overlap, as those of `FedBuff` do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tacit.fleet import FedAsync, FedBuff
from tacit.selection.cohort import Separated
from tacit.selection.power_of_choice import to_evaluate
from tacit.selection.table import ClientTable

if TYPE_CHECKING:
    from tacit.federation import Federation


def clashes(federation: Federation, clients: int) -> Iterator[str]:
    """Every reason why a federation cannot train asynchronously; none where it does not want to.

    Args:
        federation: whose parts are sound, each alone.
        clients: N.
    """
    how, algorithm = federation.closing, federation.algorithm
    if not isinstance(how, FedBuff):
        return
    method, name = type(algorithm).__name__, type(how).__name__
    if how.buffer > clients:
        yield f"{how!r} takes {how.buffer} different clients to a buffer, and the population has {clients}"
    if isinstance(federation.selection, Separated):
        yield f"{federation.selection!r} gives turns by rounds, and {name} starts clients at any time: take Spaced"
    if len(to_evaluate(federation.selection, ClientTable.of(clients), 0, 0)):
        yield (
            f"{federation.selection!r} asks candidates how well the model of a round fits, and clients of {name} start "
            "at any time: take stale=True"
        )
    if algorithm.memory(federation.task.d):
        yield (
            f"{method} keeps on the server what its clients remember, as of one round, and in a buffer of {name} every "
            "client is of another: take FedAvg, FedProx, FedNova or a server optimiser"
        )
    if federation.robust is not None:
        yield f"{federation.robust!r} compares reports of one model, and those in a buffer of {name} are of several"
    if federation.device != "cpu":
        yield f"device is {federation.device!r}: {name} trains few clients at a time, on the CPU"
    if isinstance(how, FedAsync):
        yield from _alone(federation)


def _alone(federation: Federation) -> Iterator[str]:
    for option in ("aggregation", "privacy"):
        if getattr(federation, option) is not None:
            yield (
                f"{option}={type(getattr(federation, option)).__name__} protects a client among others, and FedAsync "
                "takes every report by itself: take FedBuff"
            )
    if federation.algorithm.parts(federation.task.d).names != ("update",):
        yield f"FedAsync mixes models, and {type(federation.algorithm).__name__} sends more than one: take FedAvg"


def clashes_of_stages(federation: Federation) -> Iterator[str]:
    """Stages that the models of several rounds cannot share: what they need on the clients changes with every round."""
    if not isinstance(federation.closing, FedBuff):
        return
    chain = federation.chain
    for stage, state in zip(chain.stages, chain.init(), strict=True):
        if stage.broadcast(state):
            yield (
                f"{stage!r} sends a key or a bound down with every round, and a buffer holds reports of several "
                "rounds: leave it out, or wait for rounds to end (closing=PartialWork())"
            )
    if isinstance(federation.closing, FedAsync) and chain.stages:
        yield "FedAsync mixes whole models, and stages change what is sent of them: leave them out, or take FedBuff"
