"""A finished run with its data and its model at hand: what `tacit recommend` and `tacit export` share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from tacit.plan import Plan
    from tacit.scenarios.scenario import Prepared


def trained(name: str) -> tuple[Plan, Prepared, nn.Module]:
    """The plan, the data and the trained model of the run called `name`.

    Raises:
        UsageError: there is no such run.
        StorageError: it is not finished, or its files cannot be read.
        DataError: its data are not at hand.
    """
    from tacit.cli.plan import plan_of
    from tacit.errors import StorageError
    from tacit.record.folder import opened
    from tacit.record.run import Run
    from tacit.scenarios.scenario import scenario

    folder = opened(name)
    if not folder.finished:
        raise StorageError(f"{folder.path} is not finished and has no model yet: {folder.resuming}")
    plan, result = plan_of(folder), folder.result
    if folder.model_sha256() != result.model_sha256:
        raise StorageError(f"{folder.model} is not the model that the run ended with: its sha256 is another")
    made = scenario(plan.scenario)
    prepared = made.prepare(made.settle(plan))
    return plan, prepared, Run.load(folder.path, prepared.task.model).model
